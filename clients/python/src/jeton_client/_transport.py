"""What both shells need of connections: which one a try uses, and when one is too old."""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

import httpx2

from ._config import Config

IDLE_MAX: Final = 60.0
"""Seconds for which a kept connection may be idle."""

T = TypeVar("T")


@dataclass(slots=True)
class Connection(Generic[T]):
    """A transport of the HTTP library that holds one connection at most.

    The library's pool looks at all of its connections for each request, and knows no age."""

    origin: str
    transport: T
    born: float = field(default_factory=time.monotonic)


class Idle(Generic[T]):
    """The connections that nobody uses. The one that was used last goes first."""

    def __init__(self, config: Config) -> None:
        # A last try still ends in time.
        self._usable = max(config.connection_age - config.try_timeout, config.connection_age / 2)
        self._of: defaultdict[str, list[Connection[T]]] = defaultdict(list)

    def take(self, origin: str) -> Connection[T] | None:
        """One that is young enough; older ones wait for `expired`."""
        idle = self._of[origin]
        if idle and time.monotonic() - idle[-1].born < self._usable:
            return idle.pop()
        return None

    def put(self, connection: Connection[T]) -> bool:
        """Whether the connection is kept; else the caller closes it."""
        is_young = time.monotonic() - connection.born < self._usable
        if is_young:
            self._of[connection.origin].append(connection)
        return is_young

    def expired(self) -> list[T]:
        """Removes those that are too old for another try; the caller closes them."""
        oldest = time.monotonic() - self._usable
        gone = [one for idle in self._of.values() for one in idle if one.born <= oldest]
        for idle in self._of.values():
            idle[:] = [one for one in idle if one.born > oldest]
        return [one.transport for one in gone]

    def all(self) -> list[T]:
        """Removes all of them; the caller closes them."""
        gone = [one.transport for idle in self._of.values() for one in idle]
        self._of.clear()
        return gone

    def next_sweep(self) -> float | None:
        """Seconds until one of them is too old; None without any."""
        born = [one.born for idle in self._of.values() for one in idle]
        return max(0.01, min(born) + self._usable - time.monotonic()) if born else None


@functools.lru_cache(maxsize=64)
def parsed(url: str) -> httpx2.URL:
    """The URL as the HTTP library has it. Parsing it for each request costs more than all else here."""
    return httpx2.URL(url)


def timeouts(seconds: float) -> dict[str, float]:
    """The limits of the single steps of a try."""
    return dict.fromkeys(("connect", "read", "write", "pool"), seconds)
