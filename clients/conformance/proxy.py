"""A proxy that misbehaves by rules: see "Rules of the proxy" in README.md."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Any

HEAD_MAX = 64 * 1024


@dataclass
class Message:
    """A request or an answer, whole."""

    first_line: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    def encode(self, body: bytes | None = None) -> bytes:
        lines = [self.first_line] + [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (self.body if body is None else body)


@dataclass
class Arrived:
    """A request as the proxy saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    at: float

    def json(self) -> Any:
        return json.loads(self.body)


async def read_message(reader: asyncio.StreamReader) -> Message | None:
    """The next message; None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *rest = head.decode("latin-1").split("\r\n")[:-2]
    pairs = [line.partition(":") for line in rest]
    message = Message(first, [(name, value.strip()) for name, _, value in pairs], b"")
    length = message.header("content-length")
    if length is not None:
        message.body = await reader.readexactly(int(length))
    elif "chunked" in (message.header("transfer-encoding") or ""):
        message.body = await _read_chunks(reader)
        kept = [pair for pair in message.headers if pair[0].lower() != "transfer-encoding"]
        message.headers = [*kept, ("Content-Length", str(len(message.body)))]
    return message


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body


@dataclass
class Proxy:
    """Listens on a port of 127.0.0.1, and passes requests on to `upstream`."""

    upstream: tuple[str, int] | None
    rules: list[dict[str, Any]] = field(default_factory=list)
    arrived: list[Arrived] = field(default_factory=list)
    port: int = 0
    _server: asyncio.Server | None = None
    _connections: int = 0
    _used: dict[int, int] = field(default_factory=dict)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _release: asyncio.Event = field(default_factory=asyncio.Event)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    async def start(self) -> None:
        """Opens the listener; the port stays the same."""
        if self._server is None:
            self._server = await asyncio.start_server(
                self._serve, "127.0.0.1", self.port, limit=HEAD_MAX, backlog=4096
            )
            self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Closes the listener and all connections."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()

    async def set_rules(self, rules: list[dict[str, Any]]) -> None:
        """Replaces the rules and forgets the requests."""
        self.rules, self.arrived, self._used = rules, [], {}
        self._release.set()
        self._release = asyncio.Event()
        if any(rule["do"] == "refuse_connections" for rule in rules):
            await self.stop()
        else:
            await self.start()

    def release(self) -> None:
        """Lets the kept answers go."""
        self._release.set()

    async def wait_for(self, count: int) -> None:
        """Until so many requests have arrived."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.arrived) >= count)

    def _rule(self, nth: int, path: str) -> dict[str, Any]:
        for at, rule in enumerate(self.rules):
            wanted = rule.get("nth", nth)
            is_nth = nth in wanted if isinstance(wanted, list) else nth == wanted
            is_every = nth % rule.get("every", 1) == 0
            is_path = rule.get("path", path) == path
            is_left = self._used.get(at, 0) < rule.get("answers", 1 << 60)
            if is_nth and is_every and is_path and is_left:
                self._used[at] = self._used.get(at, 0) + 1
                return rule
        return {"do": "pass"}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        number = self._connections
        self._writers.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        up: list[Any] = []
        try:
            while (request := await read_message(reader)) is not None:
                method, path, _ = request.first_line.split(" ", 2)
                headers = {name.lower(): value for name, value in request.headers}
                self.arrived.append(Arrived(method, path, headers, request.body, number, time.monotonic()))
                rule = self._rule(len(self.arrived), path)
                async with self._changed:
                    self._changed.notify_all()
                if not await self._act(rule, request, up, writer):
                    return
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            for stream in (writer, *up[1:]):
                stream.close()

    async def _pass(self, request: Message, up: list[Any]) -> Message:
        """The server's answer. A kept connection to it may have died."""
        assert self.upstream is not None
        for _ in range(2):
            is_kept = bool(up)
            if not up:
                up.extend(await asyncio.open_connection(*self.upstream))
            try:
                up[1].write(request.encode())
                answer = await read_message(up[0])
            except ConnectionError:
                answer = None
            if answer is not None:
                if (answer.header("connection") or "").lower() == "close":
                    up[1].close()
                    up.clear()
                return answer
            up[1].close()
            up.clear()
            if not is_kept:
                break
        raise ConnectionError("the server gave no answer")

    async def _act(
        self, rule: dict[str, Any], request: Message, up: list[Any], writer: asyncio.StreamWriter
    ) -> bool:
        """Does what the rule says; whether the connection is kept."""
        match rule["do"]:
            case "close":
                return False
            case "reset":
                _reset(writer)
                return False
            case "hang":
                await asyncio.sleep(3600)
            case "answer":
                return await self._answer(rule, request, up, writer)
            case "flood":
                return await _flood(rule["bytes"], writer)
            case "delay":
                await asyncio.sleep(rule["ms"] / 1000)
        release = self._release
        answer = await self._pass(request, up)
        match rule["do"]:
            case "drop":
                return False
            case "cut":
                whole = answer.encode()
                writer.write(whole[: len(whole) - max(1, len(answer.body) // 2)])
                await writer.drain()
                return False
            case "hold":
                await release.wait()
            case "trickle":
                for byte in answer.encode():
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(rule["ms"] / 1000)
                return True
        writer.write(answer.encode())
        await writer.drain()
        return rule["do"] != "close_idle"

    async def _answer(
        self, rule: dict[str, Any], request: Message, up: list[Any], writer: asyncio.StreamWriter
    ) -> bool:
        if rule.get("pass_first"):
            await self._pass(request, up)
        body = rule.get("body", "")
        text = body if isinstance(body, str) else json.dumps(body)
        headers = list(rule.get("headers", {}).items())
        if rule["status"] != 204:
            headers.append(("Content-Length", str(len(text.encode()))))
        message = Message(f"HTTP/1.1 {rule['status']} Answer", headers, text.encode())
        writer.write(message.encode())
        await writer.drain()
        return True


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _flood(count: int, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    for _ in range(count // 0x10000):
        writer.write(chunk)
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    return False
