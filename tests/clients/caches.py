"""The Redis caches of Django and of Flask-Caching.

caches.py HOST PORT [KEY [CA]]
"""

import sys

import django
import redis
from django.conf import settings
from flask import Flask
from flask_caching import Cache

host, port = sys.argv[1], int(sys.argv[2])
password = sys.argv[3] if len(sys.argv) > 3 else None
ca = sys.argv[4] if len(sys.argv) > 4 else None
login = f":{password}@" if password else ""
scheme, query = ("rediss", f"?ssl_ca_certs={ca}") if ca else ("redis", "")

settings.configure(
    CACHES={
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": f"{scheme}://{login}{host}:{port}{query}",
        }
    }
)
django.setup()
from django.core.cache import cache  # noqa: E402

cache.set("session", {"user": 7}, 100)
assert cache.get("session") == {"user": 7}
assert cache.add("session", 8, 100) is False and cache.add("other", 8, 100) is True
assert cache.touch("session", 200) is True and cache.touch("none", 200) is False
assert cache.has_key("session") and not cache.has_key("none")
cache.set_many({"one": 1, "two": 2}, 100)
assert cache.get_many(["one", "two", "none"]) == {"one": 1, "two": 2}
cache.delete_many(["one", "two"])
assert cache.get("one") is None
assert cache.delete("session") is True and cache.delete("session") is False
assert cache.get_or_set("once", lambda: 5, 100) == 5
assert cache.get("once") == 5

# What the book says that does not work.
for fails in (
    lambda: cache.incr("once"),
    lambda: cache.touch("once", None),
    lambda: cache.clear(),
):
    try:
        fails()
        raise SystemExit("it works: tell so in the book")
    except redis.ResponseError as error:
        assert "unknown command" in str(error), error

app = Flask("shop")
flask_cache = Cache(
    app,
    config={
        "CACHE_TYPE": "RedisCache",
        "CACHE_REDIS_HOST": host,
        "CACHE_REDIS_PORT": port,
        "CACHE_REDIS_PASSWORD": password,
        "CACHE_OPTIONS": {"ssl": True, "ssl_ca_certs": ca} if ca else {},
    },
)
with app.app_context():
    assert flask_cache.set("page", "text", timeout=100)
    assert flask_cache.get("page") == "text"
    assert not flask_cache.add("page", "other", timeout=100)
    assert flask_cache.set_many({"a": 1, "b": 2}, timeout=100)
    assert flask_cache.get_many("a", "b", "none") == [1, 2, None]
    assert flask_cache.has("a")
    flask_cache.delete_many("a", "b")
    assert flask_cache.get("a") is None
    assert flask_cache.delete("page")
    calls = []

    @flask_cache.memoize(timeout=100)
    def slow(n):
        calls.append(n)
        return n + 1

    assert [slow(1), slow(1), slow(2)] == [2, 2, 3] and calls == [1, 2]
print("ok")
