"""The driver of the Python client: see clients/conformance/README.md.

driver.py async    drives AsyncClient
driver.py sync     drives Client, each call in a thread of its own
"""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import jeton_client as j

SECONDS = ("deadline", "try", "connection_age")
KINDS = {j.GatewayError: "gateway", j.MalformedToken: "malformed", j.InvalidArgument: "malformed",
         j.ClientClosed: "closed", j.DeadlineExceeded: "deadline"}  # fmt: skip


def target(value: dict[str, Any]) -> j.Target:
    """The target of a command."""
    if "reference" in value:
        return j.Reference(**value["reference"])
    return j.Name(value["name"]) if "name" in value else value["token"]


def options(given: dict[str, Any]) -> dict[str, Any]:
    """The options of `open` as arguments of the client."""
    arguments = dict(given)
    for name in SECONDS:
        if f"{name}_ms" in arguments:
            seconds = arguments.pop(f"{name}_ms") / 1000
            arguments["try_timeout" if name == "try" else name] = seconds
    return arguments


def item(command: dict[str, Any]) -> j.Item:
    """An item of an issue."""
    reference = command.get("reference")
    return j.Item(
        command["payload"].encode(),
        ttl=command.get("ttl"),
        uses=command.get("uses"),
        peek=command.get("peek"),
        reference=None if reference is None else j.Reference(**reference),
    )


def raw(payload: j.Payload | None) -> str | None:
    return None if payload is None else base64.b64encode(payload.raw).decode()


def time(value: datetime | None) -> str | None:
    if value is None:
        return None
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def issued(value: j.Issued | j.ApiError) -> dict[str, Any]:
    if isinstance(value, j.ApiError):
        return {"error": error(value)}
    return {"token": value.token, "expires_at": time(value.expires_at)}


def kind(value: BaseException) -> str:
    if isinstance(value, asyncio.CancelledError):
        return "cancelled"
    for known, name in KINDS.items():
        if isinstance(value, known):
            return name
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(value).__name__).lower()


def error(value: BaseException) -> dict[str, Any]:
    """An error as the protocol has it."""
    described: dict[str, Any] = {"kind": kind(value), "text": str(value)}
    for name in ("status", "field", "key"):
        if getattr(value, name, None) is not None:
            described[name] = getattr(value, name)
    if getattr(value, "retry_after", None) is not None:
        described["retry_after_ms"] = round(value.retry_after * 1000)
    if getattr(value, "results", None) is not None:
        described["raws"] = [raw(payload) for payload in value.results]
    return described


class Driver:
    """Performs commands on clients of one kind."""

    def __init__(self, make: Any) -> None:
        self.make = make
        self.clients: dict[str, Any] = {}
        self.calls: dict[int, asyncio.Task[None]] = {}
        self.threads = ThreadPoolExecutor(2000)

    async def ask(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls a method, in a thread if it is not of asyncio."""
        if inspect.iscoroutinefunction(method):
            return await method(*args, **kwargs)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads, lambda: method(*args, **kwargs))

    async def perform(self, command: dict[str, Any]) -> dict[str, Any]:
        match command["do"]:
            case "describe":
                is_async = self.make is j.AsyncClient
                skip: list[str] = [] if is_async else ["cancel"]
                name = "python-async" if is_async else "python-sync"
                return {"client": name, "skip": skip, "has": ["put", "clusters"]}
            case "open":
                self.clients[command["client"]] = self.make(**options(command["options"]))
                return {}
            case "close":
                await self.ask(self.clients.pop(command["client"]).close)
                return {}
            case "cancel":
                call = self.calls.get(command["call"])
                if call is not None:
                    call.cancel()
                return {}
        client = self.clients[command["client"]]
        if command["do"] == "inspect":
            return {"text": f"{client!r} {client}"}
        return await self.operate(client, command)

    async def operate(self, client: Any, command: dict[str, Any]) -> dict[str, Any]:
        """The operations."""
        method = getattr(client, command["do"])
        key = {"key": command.get("key")}
        read = command.get("read")
        read = {"read": j.AtLeast(read["at_least"]) if isinstance(read, dict) else read}
        one = target(command["target"]) if "target" in command else None
        many = [target(value) for value in command.get("targets", [])]
        match command["do"]:
            case "issue":
                made = item(command)
                fields = {n: getattr(made, n) for n in ("ttl", "uses", "peek", "reference")}
                return issued(await self.ask(method, made.payload, **fields, **key))
            case "issue_batch":
                results = await self.ask(method, list(map(item, command["items"])), **key)
                return {"results": list(map(issued, results))}
            case "put":
                made = item(command)
                fields = {n: getattr(made, n) for n in ("ttl", "uses", "peek")}
                fields["if_absent"] = command.get("if_absent", False)
                return {"expires_at": time(await self.ask(method, command["name"], made.payload, **fields))}
            case "resolve":
                return {"raw": raw(await self.ask(method, one, **read))}
            case "resolve_many":
                return {"raws": list(map(raw, await self.ask(method, many, **read)))}
            case "consume":
                return {"raw": raw(await self.ask(method, one, **key))}
            case "consume_many":
                return {"raws": list(map(raw, await self.ask(method, many, **key)))}
            case "status":
                statuses = await self.ask(method, many, **read)
                return {"statuses": [
                    s and {"expires_at": time(s.expires_at), "uses_left": s.uses_left, "size": s.size}
                    for s in statuses
                ]}  # fmt: skip
            case "extend":
                return {"expires_at": list(map(time, await self.ask(method, many, command["ttl"])))}
            case "revoke":
                await self.ask(method, many)
                return {}
        raise ValueError("an unknown command")

    async def answer(self, command: dict[str, Any]) -> None:
        """Performs a command and writes its result."""
        try:
            result = {"ok": await self.perform(command)}
        except (asyncio.CancelledError, j.JetonError) as raised:
            result = {"error": error(raised)}
        finally:
            self.calls.pop(command["id"], None)
        sys.stdout.write(json.dumps({"id": command["id"], **result}) + "\n")
        sys.stdout.flush()

    async def run(self) -> None:
        """Reads commands until the end of the input."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=64 * 1024 * 1024)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            command = json.loads(line)
            self.calls[command["id"]] = loop.create_task(self.answer(command))
        await asyncio.gather(*self.calls.values())


if __name__ == "__main__":
    asyncio.run(Driver({"async": j.AsyncClient, "sync": j.Client}[sys.argv[1]]).run())
