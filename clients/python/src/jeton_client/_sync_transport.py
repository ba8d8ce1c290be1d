"""Connections for threads, whose every wait ends at the deadline of a try.

The HTTP library limits each single read. A server that sends one byte now and then would keep a
thread for as long as it likes, so these streams limit the sum."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from typing import Any

import httpcore2
import httpx2

from ._transport import IDLE_MAX

_try = threading.local()


def begin_try(seconds: float) -> None:
    """Sets the deadline of this thread's try."""
    _try.ends_at = time.monotonic() + seconds


def _left(timeout: float | None) -> float | None:
    ends_at: float | None = getattr(_try, "ends_at", None)
    if ends_at is None:
        return timeout
    left = max(0.001, ends_at - time.monotonic())
    return left if timeout is None else min(left, timeout)


def _addresses(host: str, port: int) -> list[Any]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpcore2.ConnectError(str(error)) from error


class _Stream(httpcore2.NetworkStream):
    def __init__(self, inner: httpcore2.NetworkStream, backend: _Backend) -> None:
        self._inner, self._backend = inner, backend
        backend.note(self)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, _left(timeout)), self._backend)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    def shut_down(self) -> None:
        """Ends the connection, from any thread: one that waits for it goes on at once."""
        sock = self.get_extra_info("socket")
        # Under TLS too: closing with a message would disturb the thread that uses the connection.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _Backend(httpcore2.SyncBackend):
    """Opens the streams of one transport, and ends them from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: _Stream | None = None
        self._is_ended = False

    def note(self, stream: _Stream) -> None:
        """A stream of the transport: its connection, or later TLS over it."""
        with self._lock:
            self._last = stream
            if self._is_ended:
                stream.shut_down()

    def end(self) -> None:
        """Ends the connection, and one that is about to be opened."""
        with self._lock:
            self._is_ended = True
            if self._last is not None:
                self._last.shut_down()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        # Each address of a name gets its share of the time: one that is silent does not take that of the
        # others.
        addresses = _addresses(host, port)
        for place, (*_, address) in enumerate(addresses):
            left = _left(timeout)
            share = left if left is None else left / (len(addresses) - place)
            try:
                inner = super().connect_tcp(str(address[0]), port, share, local_address, socket_options)
                return _Stream(inner, self)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if place == len(addresses) - 1:
                    raise
        raise httpcore2.ConnectError("the name has no address")


class Transport(httpx2.HTTPTransport):
    """The HTTP library's transport over these streams, with one connection at most."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__(verify=tls, trust_env=False)
        self._pool.close()
        self._backend = _Backend()
        self._pool = httpcore2.ConnectionPool(
            ssl_context=tls,
            max_connections=1,
            max_keepalive_connections=1,
            keepalive_expiry=IDLE_MAX,
            network_backend=self._backend,
        )

    def end(self) -> None:
        """Ends the connection while another thread uses it, which then closes the transport."""
        self._backend.end()
