"""Connections for asyncio: one try on one of them, and the end of those that are too old."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any, TypeAlias

import httpx2

from ._config import Config
from ._http import Closed, HttpAnswer, HttpRequest, Lost, NotSent, Progress, TryEnd
from ._transport import IDLE_MAX, Connection, Idle, parsed, timeouts

Transport: TypeAlias = httpx2.AsyncHTTPTransport


class Connections:
    """All connections of a client. The library's transport follows no redirect and keeps no cookie."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._tls = config.tls
        self._idle: Idle[Transport] = Idle(config)
        self._used: set[Transport] = set()
        self._limits: set[asyncio.Timeout] = set()
        self._room = asyncio.Semaphore(config.connections_max)
        self._timer: asyncio.TimerHandle | None = None
        self._sweep: asyncio.Task[None] | None = None
        self._is_closed = False

    async def send(self, request: HttpRequest) -> TryEnd:
        """One try."""
        try:
            async with asyncio.timeout(request.left()):
                await self._room.acquire()
        except TimeoutError:
            return NotSent("all connections are in use")
        try:
            return await self._with_connection(request)
        finally:
            self._room.release()

    async def _with_connection(self, request: HttpRequest) -> TryEnd:
        if self._is_closed:
            return Closed(is_sent=False)
        connection = self._idle.take(request.origin)
        crowded_out = [] if connection else self._idle.crowded_out(len(self._used))
        connection = connection or self._connect(request.origin)
        transport, is_kept = connection.transport, False
        self._used.add(transport)
        try:
            await _close(crowded_out)
            end = await self._try(transport, request)
            # A try that failed has closed it, and one that was cut short must.
            is_kept = isinstance(end, HttpAnswer) and not self._is_closed and self._idle.put(connection)
            if is_kept:
                self._plan_sweep()
            return end
        finally:
            self._used.discard(transport)
            if not is_kept:
                await transport.aclose()

    def _connect(self, origin: str) -> Connection[Transport]:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        limits = httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=IDLE_MAX)
        return Connection(origin, Transport(verify=self._tls, trust_env=False, limits=limits))

    async def _try(self, transport: Transport, request: HttpRequest) -> TryEnd:
        progress, seconds = Progress(), request.try_seconds()

        async def trace(event: str, _info: Any) -> None:
            progress.note(event)

        extensions = {"trace": trace, "timeout": timeouts(seconds)}
        sent = httpx2.Request(
            "POST", parsed(request.url), headers=request.headers, content=request.body, extensions=extensions
        )
        end: TryEnd
        try:
            async with asyncio.timeout(seconds) as limit:
                self._limits.add(limit)
                try:
                    response = await transport.handle_async_request(sent)
                    try:
                        return await _collect(response, request.answer_max_bytes)
                    finally:
                        await response.aclose()
                finally:
                    self._limits.discard(limit)
        except (TimeoutError, httpx2.TimeoutException) as error:
            end = progress.lost(error, is_timeout=True)
        except (httpx2.TransportError, httpx2.StreamError) as error:
            end = progress.lost(error, is_timeout=False)
        return Closed(progress.is_sent) if self._is_closed else end

    def _plan_sweep(self) -> None:
        """Idle connections end in time too."""
        seconds, loop = self._idle.plan_sweep(), asyncio.get_running_loop()

        def sweep() -> None:
            self._sweep = loop.create_task(_close(self._idle.expired()))
            self._plan_sweep()

        if seconds is not None:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_later(seconds, sweep)

    async def close(self) -> None:
        """Closes all of them, those in use included."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._sweep is not None:
            await self._sweep
        # The time of all tries is over, and each closes its connection. A connection that another task
        # closes does not always wake the one that reads.
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(0.0)
        await _close(self._idle.all())


async def _close(transports: Iterable[Transport]) -> None:
    for transport in transports:
        await transport.aclose()


async def _collect(response: httpx2.Response, maximum: int) -> TryEnd:
    parts, length = [], 0
    async for part in response.aiter_raw():
        length += len(part)
        if length > maximum:
            return Lost.TOO_LARGE
        parts.append(part)
    headers = {name.lower(): value for name, value in response.headers.items()}
    return HttpAnswer(response.status_code, headers, b"".join(parts))
