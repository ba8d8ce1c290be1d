"""Connections for threads, whose every wait ends at the deadline of a try.

The HTTP library limits each single read. A server that sends one byte now and then would keep a
thread for as long as it likes, so these streams limit the sum."""

from __future__ import annotations

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


class _Stream(httpcore2.NetworkStream):
    def __init__(self, inner: httpcore2.NetworkStream) -> None:
        self._inner = inner

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
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore2.SyncBackend):
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        inner = super().connect_tcp(host, port, _left(timeout), local_address, socket_options)
        return _Stream(inner)


class Transport(httpx2.HTTPTransport):
    """The HTTP library's transport over these streams, with one connection at most."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__(verify=tls, trust_env=False)
        self._pool.close()
        self._pool = httpcore2.ConnectionPool(
            ssl_context=tls,
            max_connections=1,
            max_keepalive_connections=1,
            keepalive_expiry=IDLE_MAX,
            network_backend=_Backend(),
        )
