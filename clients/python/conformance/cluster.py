"""The client on the nodes of a cluster, of which the one that it uses is killed: `cluster.py URL URL URL`.

Prints `begun` and the URL of this node after the first tokens, and `ok` at the end: each token was consumed
once, and its payload came back."""

from __future__ import annotations

import asyncio
import sys

from jeton_client import AsyncClient, AtLeast, NotFound, OutcomeUnknown

TOKENS = 300
ALREADY_BEGUN = 50


async def consume(client: AsyncClient, token: str) -> bytes:
    """Until the outcome is known."""
    key = None
    while True:
        try:
            return (await client.consume(token, key=key)).raw
        except OutcomeUnknown as unknown:
            assert unknown.key is not None
            key = unknown.key


async def one(client: AsyncClient, number: int) -> None:
    """Issues, reads its own change, and consumes."""
    issued = await client.issue(number)
    assert client.position is not None
    payload = await client.resolve(issued.token, read=AtLeast(client.position))
    assert payload.json() == number
    assert await consume(client, issued.token) == str(number).encode()
    try:
        await client.consume(issued.token)
        raise AssertionError("a token was consumed twice")
    except NotFound:
        pass


async def main() -> None:
    # An election of the servers takes longer than the calls of a healthy cluster.
    async with AsyncClient(sys.argv[1:], deadline=60.0) as client:
        for number in range(TOKENS):
            await one(client, number)
            if number == ALREADY_BEGUN:
                print(f"begun {client._core.nodes.current}", flush=True)
    print("ok")


if __name__ == "__main__":
    asyncio.run(main())
