"""redis-py as programs use it: both protocols, pipelines, transactions, pools, asyncio.

redis_py.py HOST PORT [KEY [CA]]; the variable WITHOUT_HIREDIS leaves the parser to Python
"""

import asyncio
import os
import sys

if os.environ.get("WITHOUT_HIREDIS"):
    sys.modules["hiredis"] = None

import redis
import redis.asyncio

host, port = sys.argv[1], int(sys.argv[2])
password = sys.argv[3] if len(sys.argv) > 3 else None
tls = {"ssl": True, "ssl_ca_certs": sys.argv[4]} if len(sys.argv) > 4 else {}


def connect(**options):
    return redis.Redis(host=host, port=port, password=password, **tls, **options)


def values(r, name):
    key = f"py:{name}"
    assert r.ping() is True
    assert r.set(key, b"\x00\r\n\xff", ex=100) is True
    assert r.get(key) == b"\x00\r\n\xff"
    assert r.set(key, "other", nx=True) is None
    assert r.set(key, "other", xx=True, get=True, keepttl=True) == b"\x00\r\n\xff"
    assert 90 <= r.ttl(key) <= 100
    assert r.strlen(key) == 5
    assert r.type(key) == b"string"
    assert r.exists(key, key, f"{key}:no") == 2
    assert r.expire(key, 200, gt=True) and not r.expire(key, 100, gt=True)
    assert r.expire(key, 50)
    assert r.getex(key, ex=70) == b"other" and 60 <= r.ttl(key) <= 70
    assert r.getdel(key) == b"other" and r.get(key) is None and r.ttl(key) == -2
    assert r.set(key, "", px=100_000) and r.get(key) == b""
    assert r.mset({key: "1", f"{key}:2": "2"})
    assert r.mget(key, f"{key}:2", f"{key}:no") == [b"1", b"2", None]
    assert r.delete(key, f"{key}:2", f"{key}:no") == 2
    assert r.setnx(key, "1") and not r.setnx(key, "2")
    assert r.unlink(key) == 1


def pipelines(r, name):
    for transaction in (True, False):
        with r.pipeline(transaction=transaction) as pipe:
            for n in range(500):
                pipe.set(f"py:{name}:{n}", n, ex=100)
                pipe.get(f"py:{name}:{n}")
            answers = pipe.execute()
        assert answers == [x for n in range(500) for x in (True, str(n).encode())]
    with r.pipeline(transaction=False) as pipe:
        for _ in range(100):
            pipe.mget([f"py:{name}:{n}" for n in range(500)])
        assert all(len(answer) == 500 for answer in pipe.execute())
    with r.pipeline() as pipe:
        pipe.set(f"py:{name}:bad", 1, ex=100).set(f"py:{name}:bad", 2, px=0).get(f"py:{name}:bad")
        answers = pipe.execute(raise_on_error=False)
    assert answers[0] is True and isinstance(answers[1], redis.ResponseError), answers
    assert answers[2] == b"1", answers


def pools():
    kind = {"connection_class": redis.SSLConnection, "ssl_ca_certs": sys.argv[4]} if tls else {}
    pool = redis.ConnectionPool(
        host=host, port=port, password=password, max_connections=8, **kind
    )
    clients = [redis.Redis(connection_pool=pool) for _ in range(8)]
    for n, client in enumerate(clients):
        assert client.set(f"py:pool:{n}", n, ex=100)
    assert [client.get(f"py:pool:{n}") for n, client in enumerate(clients)] == [
        str(n).encode() for n in range(8)
    ]
    pool.disconnect()
    assert clients[0].get("py:pool:0") == b"0", "it connects again"
    pool.disconnect()


async def asynchronous():
    async with redis.asyncio.Redis(host=host, port=port, password=password, **tls) as r:
        await asyncio.gather(*(r.set(f"py:async:{n}", n, ex=100) for n in range(100)))
        found = await asyncio.gather(*(r.get(f"py:async:{n}") for n in range(100)))
        assert found == [str(n).encode() for n in range(100)]
        async with r.pipeline(transaction=True) as pipe:
            answers = await pipe.set("py:async", 1, ex=100).get("py:async").execute()
        assert answers == [True, b"1"]


for protocol in (2, 3):
    with connect(protocol=protocol, client_name="shop") as r:
        values(r, protocol)
        pipelines(r, protocol)
with connect() as r:
    values(r, "default")
pools()
asyncio.run(asynchronous())
if password is not None:
    try:
        redis.Redis(host=host, port=port, password="wrong", **tls).ping()
        raise SystemExit("a wrong key is accepted")
    except redis.AuthenticationError:
        pass
print("ok")
