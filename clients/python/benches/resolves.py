"""Resolves for each second of the client's CPU time: this client beside redis-py, each with and without
batches.

    resolves.py --jeton target/release/jeton [--callers 1000] [--rounds 5] [--seconds 2]

Needs `pip install redis hiredis` and redis-server for the other side. Every answer is checked. Reports
medians over the rounds, in which the sides take turns; CPU time is that of this process alone, so
other work on the machine changes it little, and a Python process uses one core. Does not show latency
under load, nor a network.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from typing import Any

from jeton_client import AsyncClient

PAYLOAD = (
    b'{"order":"A-17","pay":"139.10","shop":"example","lines":[{"sku":"8441","n":2},{"sku":"1017","n":1}]}'
)


async def cpu_per_resolve(one: Callable[[int], Awaitable[bytes]], callers: int, seconds: float) -> float:
    """Microseconds of CPU time for each resolve, with so many callers at once."""
    done, ends_at = 0, time.monotonic() + seconds

    async def caller(number: int) -> None:
        nonlocal done
        while time.monotonic() < ends_at:
            assert await one(number) == PAYLOAD
            done += 1

    began = time.process_time()
    await asyncio.gather(*map(caller, range(callers)))
    return (time.process_time() - began) / done * 1e6


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jeton", required=True)
    parser.add_argument("--callers", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    args = parser.parse_args()
    folder = tempfile.mkdtemp()
    flags = "--memory-only --workers 1 --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0"
    command = [args.jeton, "serve", *flags.split()]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder)
    assert server.stdout is not None
    found = re.search(r"data=(http://\S+)", server.stdout.readline().decode())
    assert found is not None
    sides: dict[str, tuple[Callable[[int], Awaitable[bytes]], int]] = {}
    coalescing = AsyncClient(found[1])
    single = AsyncClient(found[1], coalesce=False)
    tokens = [(await coalescing.issue(PAYLOAD, ttl="1h")).token for _ in range(1000)]

    def resolves(client: AsyncClient) -> Callable[[int], Awaitable[bytes]]:
        async def one(number: int) -> bytes:
            return (await client.resolve(tokens[number % 1000])).raw

        return one

    sides["jeton-client"] = resolves(coalescing), args.callers
    sides["jeton-client, coalesce=False"] = resolves(single), args.callers
    sides["jeton-client, one caller"] = resolves(coalescing), 1
    sides["jeton-client, one caller, coalesce=False"] = resolves(single), 1
    other = await redis_sides(sides, tokens, args.callers, folder)
    results: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(args.rounds):
        for name, (one, callers) in sides.items():
            results[name].append(await cpu_per_resolve(one, callers, args.seconds))
    print("| side | resolves for each second of CPU | µs of CPU each | ÷ redis-py |\n|---|---|---|---|")
    for name, values in results.items():
        median, ratio = statistics.median(values), "–"
        if "redis-py" in results:
            # Of the same round: what slows the machine down slows both.
            ratios = [one / of for one, of in zip(values, results["redis-py"], strict=True)]
            ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}..{max(ratios):.2f})"
        spread = f"{median:.1f} ({min(values):.1f}..{max(values):.1f})"
        print(f"| {name} | {1e6 / median:,.0f} | {spread} | {ratio} |")
    for process in (server, other):
        if process is not None:
            process.terminate()


async def redis_sides(sides: dict[str, Any], tokens: list[str], callers: int, folder: str) -> Any:
    """Adds redis-py over asyncio, plain and in pipelines of 100, if it is there."""
    try:
        import redis.asyncio as redis

        command = ["redis-server", "--port", "7390", "--bind", "127.0.0.1", "--save", ""]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder)
    except (ImportError, OSError) as error:
        print(f"NOT RUN: redis-py: {error}")
        return None
    await asyncio.sleep(1)
    pool = redis.BlockingConnectionPool(host="127.0.0.1", port=7390, max_connections=100)
    client = redis.Redis(connection_pool=pool)
    await client.mset(dict.fromkeys(tokens, PAYLOAD))

    async def plain(number: int) -> bytes:
        value: bytes = await client.get(tokens[number % 1000])
        return value

    # Pipelining with redis-py is the caller's work: here 100 callers' questions go together.
    waiting: list[tuple[str, asyncio.Future[bytes]]] = []

    async def flush(batch: list[tuple[str, asyncio.Future[bytes]]]) -> None:
        pipeline = client.pipeline(transaction=False)
        for token, _ in batch:
            pipeline.get(token)
        for (_, future), value in zip(batch, await pipeline.execute(), strict=True):
            future.set_result(value)

    tasks: set[asyncio.Task[None]] = set()

    async def pipelined(number: int) -> bytes:
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        waiting.append((tokens[number % 1000], future))
        if len(waiting) == 1:
            await asyncio.sleep(0)  # what the other callers of this turn add goes along
            while waiting:
                batch = waiting[:100]
                del waiting[:100]
                task = asyncio.create_task(flush(batch))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        return await future

    sides["redis-py"] = plain, callers
    sides["redis-py, pipelines of up to 100"] = pipelined, callers
    return process


if __name__ == "__main__":
    asyncio.run(main())
