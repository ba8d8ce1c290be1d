"""Connections for threads: one try on one of them, and the end of those that are too old."""

from __future__ import annotations

import ssl
import threading
import weakref
from collections.abc import Iterable
from typing import Any

import httpx2

from ._config import Config
from ._errors import ClientClosed
from ._http import HttpAnswer, HttpRequest, Lost, NotSent, Progress, TryEnd
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
        """One try. Raises `ClientClosed` if the client was closed meanwhile."""
        if not self._room.acquire(timeout=request.left()):
            return NotSent("all connections are in use")
        try:
            return self._with_connection(request)
        finally:
            self._room.release()

    def _with_connection(self, request: HttpRequest) -> TryEnd:
        with self._lock:
            if self._is_closed:
                raise ClientClosed("the client was closed")
            connection = self._idle.take(request.origin) or self._connect(request.origin)
            transport, is_kept = connection.transport, False
            self._used.add(transport)
        try:
            end = self._try(transport, request)
            with self._lock:
                # A try that failed has closed it, and one that was cut short must.
                is_kept = isinstance(end, HttpAnswer) and not self._is_closed and self._idle.put(connection)
                if is_kept and self._timer is None:
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
        try:
            response = transport.handle_request(sent)
            try:
                return _collect(response, request.answer_max_bytes)
            finally:
                response.close()
        except httpx2.TimeoutException as error:
            return progress.lost(error, is_timeout=True)
        except (httpx2.TransportError, httpx2.StreamError) as error:
            if self._is_closed:
                raise ClientClosed("the client was closed") from None
            return progress.lost(error, is_timeout=False)

    def _plan_sweep(self) -> None:
        """Idle connections end in time too: a thread sleeps until then. With the lock."""
        seconds = self._idle.next_sweep()
        if seconds is None:
            return
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
            self._timer = None
            expired = self._idle.expired()
            if not self._is_closed:
                self._plan_sweep()
        _close(expired)

    def close(self) -> None:
        """Closes all of them, those in use included."""
        with self._lock:
            self._is_closed = True
            open_ones = [*self._idle.all(), *self._used]
            if self._timer is not None:
                self._timer.cancel()
        _close(open_ones)


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
