"""redis-py: a pool and asyncio go on after the server was killed and started anew.

reconnect.py HOST PORT; prints "restart", and goes on at a line of standard input
"""

import asyncio
import sys

import redis
import redis.asyncio
from redis.backoff import ConstantBackoff
from redis.retry import Retry

host, port = sys.argv[1], int(sys.argv[2])


def again():
    print("restart", flush=True)
    sys.stdin.readline()


with redis.Redis(host=host, port=port, retry=Retry(ConstantBackoff(0.05), 100)) as r:
    assert r.set("py:kept", "1", ex=1000)
    again()
    assert r.get("py:kept") == b"1"


async def asynchronous():
    async with redis.asyncio.Redis(host=host, port=port) as r:
        assert await r.set("py:kept:2", "2", ex=1000)
        await asyncio.to_thread(again)
        for _ in range(200):
            try:
                assert await r.get("py:kept:2") == b"2"
                return
            except redis.ConnectionError:
                await asyncio.sleep(0.05)
        raise SystemExit("asyncio does not connect again")


asyncio.run(asynchronous())
print("ok")
