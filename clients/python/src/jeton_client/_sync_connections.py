"""Connections for threads: one try on one of them, and the end of those that are too old."""

from __future__ import annotations

import ssl
import threading
import weakref
from collections.abc import Iterable
from typing import Any

import httpx2

from ._config import Config
from ._http import Closed, HttpAnswer, HttpRequest, Lost, NotSent, Progress, TryEnd
from ._sync_transport import Transport, begin_try
from ._transport import Connection, Idle, parsed, timeouts


class Connections:
    """All connections of a client. The library's transport follows no redirect and keeps no cookie."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._tls = config.tls
        self._lock = threading.Lock()
        self._idle: Idle[Transport] = Idle(config)
        self._used: set[Transport] = set()
        self._room = threading.Semaphore(config.connections_max)
        self._timer: threading.Timer | None = None
        self._is_closed = False

    def send(self, request: HttpRequest) -> TryEnd:
        """One try."""
        if not self._room.acquire(timeout=request.left()):
            return NotSent("all connections are in use")
        try:
            return self._with_connection(request)
        finally:
            self._room.release()

    def _with_connection(self, request: HttpRequest) -> TryEnd:
        with self._lock:
            if self._is_closed:
                return Closed(is_sent=False)
            connection = self._idle.take(request.origin)
            crowded_out = [] if connection else self._idle.crowded_out(len(self._used))
            connection = connection or self._connect(request.origin)
            transport, is_kept = connection.transport, False
            self._used.add(transport)
        _close(crowded_out)
        try:
            end = self._try(transport, request)
            with self._lock:
                # A try that failed has closed it, and one that was cut short must.
                is_kept = isinstance(end, HttpAnswer) and not self._is_closed and self._idle.put(connection)
                if is_kept:
                    self._plan_sweep()
            return end
        finally:
            with self._lock:
                self._used.discard(transport)
            if not is_kept:
                transport.close()

    def _connect(self, origin: str) -> Connection[Transport]:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return Connection(origin, Transport(self._tls))

    def _try(self, transport: Transport, request: HttpRequest) -> TryEnd:
        progress, seconds = Progress(), request.try_seconds()

        def trace(event: str, _info: Any) -> None:
            progress.note(event)

        extensions = {"trace": trace, "timeout": timeouts(seconds)}
        sent = httpx2.Request(
            "POST", parsed(request.url), headers=request.headers, content=request.body, extensions=extensions
        )
        begin_try(seconds)
        end: TryEnd
        try:
            response = transport.handle_request(sent)
            try:
                return _collect(response, request.answer_max_bytes)
            finally:
                response.close()
        except httpx2.TimeoutException as error:
            end = progress.lost(error, is_timeout=True)
        except (httpx2.TransportError, httpx2.StreamError) as error:
            end = progress.lost(error, is_timeout=False)
        return Closed(progress.is_sent) if self._is_closed else end

    def _plan_sweep(self) -> None:
        """Idle connections end in time too: a thread sleeps until then. With the lock."""
        seconds = self._idle.plan_sweep()
        if seconds is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        owner = weakref.ref(self)

        def sweep() -> None:
            connections = owner()
            if connections is not None:
                connections._sweep()

        self._timer = threading.Timer(seconds, sweep)
        self._timer.daemon = True
        self._timer.start()

    def _sweep(self) -> None:
        with self._lock:
            expired = self._idle.expired()
            if not self._is_closed:
                self._plan_sweep()
        _close(expired)

    def close(self) -> None:
        """Closes all of them, those in use included."""
        with self._lock:
            self._is_closed = True
            idle, used = self._idle.all(), list(self._used)
            if self._timer is not None:
                self._timer.cancel()
        _close(idle)
        # Their threads close them.
        for transport in used:
            transport.end()


def _close(transports: Iterable[Transport]) -> None:
    for transport in transports:
        transport.close()


def _collect(response: httpx2.Response, maximum: int) -> TryEnd:
    parts, length = [], 0
    for part in response.iter_raw():
        length += len(part)
        if length > maximum:
            return Lost.TOO_LARGE
        parts.append(part)
    headers = {name.lower(): value for name, value in response.headers.items()}
    return HttpAnswer(response.status_code, headers, b"".join(parts))
