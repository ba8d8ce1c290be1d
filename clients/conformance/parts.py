"""The processes that the runner starts: the server, and the driver of a client."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import subprocess
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any

NO_PROXY = "http://127.0.0.1:9"
LINE_MAX = 64 * 1024 * 1024


class Server:
    """A `jeton serve` on free ports."""

    def __init__(self, process: Process, address: tuple[str, int], keys: dict[str, str]) -> None:
        self.process, self.address, self.keys = process, address, keys

    @classmethod
    async def start(cls, jeton: Path, folder: Path, flags: list[str], scopes: dict[str, str]) -> Server:
        """Starts it, with a key for each entry of `scopes`."""
        keys_file = folder / "keys.toml"
        keys = {name: _add_key(jeton, keys_file, scope) for name, scope in scopes.items()}
        flags = [*flags, *(["--keys", str(keys_file)] if keys else [])]
        process = await asyncio.create_subprocess_exec(
            jeton, "serve", "--memory-only", "--listen", "127.0.0.1:0",
            "--admin-listen", "127.0.0.1:0", "--workers", "1", "--anonymous-miss-limit", "0", *flags,
            stdout=PIPE, stderr=DEVNULL, cwd=folder,
        )  # fmt: skip
        assert process.stdout is not None
        ready = (await process.stdout.readline()).decode()
        found = re.search(r"data=http://([0-9.]+):([0-9]+)", ready)
        if found is None:
            raise SystemExit("jeton serve did not start")
        return cls(process, (found[1], int(found[2])), keys)

    async def stop(self) -> None:
        """Ends it."""
        self.process.terminate()
        await self.process.wait()


def _add_key(jeton: Path, keys_file: Path, scope: str) -> str:
    added = subprocess.run(
        [jeton, "keys", "add", "--keys", keys_file, "--scope", scope], capture_output=True, check=True
    )
    return added.stdout.decode().split()[0]


class Driver:
    """The driver: commands go in, and results come out in any order."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.ensure_future(self._read())

    @classmethod
    async def start(cls, command: list[str]) -> Driver:
        # No case gets past a proxy that is not there: a client must not use one of the environment.
        proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"), NO_PROXY)
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, limit=LINE_MAX, env={**os.environ, **proxies}
        )
        return cls(process)

    def send(self, command: dict[str, Any]) -> tuple[int, asyncio.Future[Any]]:
        """Sends a command. Returns its id, and the result to wait for."""
        number = next(self._ids)
        future = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"id": number, **command}).encode() + b"\n")
        return number, future

    async def ask(self, command: dict[str, Any]) -> Any:
        """Sends a command and waits for its result."""
        _, future = self.send(command)
        assert self.process.stdin is not None
        await self.process.stdin.drain()
        return await future

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            result = json.loads(line)
            future = self._waiting.pop(result["id"])
            if not future.done():
                future.set_result(result)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(RuntimeError("the driver has ended"))

    async def stop(self) -> None:
        """Closes its input, which ends it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), 10)
        except TimeoutError:
            self.process.kill()
            raise SystemExit("the driver did not end at the end of its input") from None
        await self._reading
