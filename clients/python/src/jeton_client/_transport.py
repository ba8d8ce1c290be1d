"""What both shells need of connections: which one a try uses, and when one is too old."""

from __future__ import annotations

import functools
import math
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

import httpx2

from ._config import Config

IDLE_MAX: Final = 60.0
"""Seconds for which a kept connection may be idle."""

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Connection(Generic[T]):
    """A transport of the HTTP library that holds one connection at most.

    The library's pool looks at all of its connections for each request, and knows no age."""

    origin: str
    transport: T
    born: float = field(default_factory=time.monotonic)
    idle_since: float = 0.0


class Idle(Generic[T]):
    """The connections that nobody uses. The one that was used last goes first."""

    def __init__(self, config: Config) -> None:
        # A last try still ends in time.
        self._usable = max(config.connection_age - config.try_timeout, config.connection_age / 2)
        self._connections_max = config.connections_max
        self._of: defaultdict[str, list[Connection[T]]] = defaultdict(list)
        self._first_end = self._sweep_at = math.inf

    def take(self, origin: str) -> Connection[T] | None:
        """One that is young enough; older ones wait for `expired`."""
        idle = self._of[origin]
        if idle and time.monotonic() < self._end_of(idle[-1]):
            return idle.pop()
        return None

    def put(self, connection: Connection[T]) -> bool:
        """Whether the connection is kept; else the caller closes it."""
        connection.idle_since = time.monotonic()
        end = self._end_of(connection)
        is_young = connection.idle_since < end
        if is_young:
            self._of[connection.origin].append(connection)
            self._first_end = min(self._first_end, end)
        return is_young

    def crowded_out(self, used: int) -> list[T]:
        """Makes room for another connection beside those in use: removes the ones that were idle
        longest, of any origin. The caller closes them."""
        idle = sorted(self._all(), key=lambda one: one.idle_since)
        return self._remove(idle[: max(0, used + 1 + len(idle) - self._connections_max)])

    def expired(self) -> list[T]:
        """Removes those that are too old or too long idle for another try; the caller closes them."""
        now, self._sweep_at = time.monotonic(), math.inf
        gone = self._remove([one for one in self._all() if self._end_of(one) <= now])
        self._first_end = min(map(self._end_of, self._all()), default=math.inf)
        return gone

    def all(self) -> list[T]:
        """Removes all of them; the caller closes them."""
        return self._remove(list(self._all()))

    def plan_sweep(self) -> float | None:
        """Seconds until the next sweep, if none was planned that is early enough for all of them."""
        if self._first_end >= self._sweep_at:
            return None
        self._sweep_at = self._first_end
        return max(0.01, self._sweep_at - time.monotonic())

    def _end_of(self, connection: Connection[T]) -> float:
        return min(connection.born + self._usable, connection.idle_since + IDLE_MAX)

    def _all(self) -> Iterator[Connection[T]]:
        return (one for idle in self._of.values() for one in idle)

    def _remove(self, gone: list[Connection[T]]) -> list[T]:
        for one in gone:
            self._of[one.origin].remove(one)
        return [one.transport for one in gone]


@functools.lru_cache(maxsize=64)
def parsed(url: str) -> httpx2.URL:
    """The URL as the HTTP library has it. Parsing it for each request costs more than all else here."""
    return httpx2.URL(url)


def timeouts(seconds: float) -> dict[str, float]:
    """The limits of the single steps of a try."""
    return dict.fromkeys(("connect", "read", "write", "pool"), seconds)
