"""Coalescing: which resolves go together. Decides only; the shells send and wait.

A resolve goes at once while fewer than `BATCHES_OUT_MAX` batches of its lane are out. Later ones
gather and go when a batch comes back. Nothing waits for a timer, nothing is cached, and nobody joins
a batch that was sent."""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, Final, Generic, TypeAlias, TypeVar

from ._errors import AnswerTooLarge, BadRequest, ContentTooLarge, JetonError, OutOfLimits
from ._types import Read

BATCH_LEN_MAX: Final = 100
BATCHES_OUT_MAX: Final = 4

Checked: TypeAlias = str | dict[str, Any]


class Caller:
    """A call that waits for some targets, until `ends_at` of the monotonic clock."""

    def __init__(self, ends_at: float) -> None:
        self.ends_at = ends_at
        self.lanes: list[Lane[Any, Any]] = []
        """Those of its targets."""


class Waiter:
    """Somebody who waits for a target. The shells add how they are woken."""

    __slots__ = ("batch", "place")

    batch: Batch[Any, Any]
    place: Hashable


W = TypeVar("W", bound=Waiter)
C = TypeVar("C", bound=Caller)


class Batch(Generic[W, C]):
    """Resolves that are sent together: distinct targets, and who waits for each."""

    def __init__(self, lane: Lane[W, C], read: Read | None) -> None:
        self.lane = lane
        self.read = read
        self.places: dict[Hashable, tuple[Checked, list[W]]] = {}
        self.callers: list[C] = []

    def is_full(self) -> bool:
        return len(self.places) >= BATCH_LEN_MAX

    def add(self, place: Hashable, target: Checked, waiter: W, caller: C) -> None:
        self.places.setdefault(place, (target, []))[1].append(waiter)
        waiter.batch, waiter.place = self, place
        if not self.callers or self.callers[-1] is not caller:
            self.callers.append(caller)

    def ends_at(self) -> float:
        """When its last caller stops waiting."""
        return max(caller.ends_at for caller in self.callers)

    def targets(self) -> list[Checked]:
        return [target for target, _ in self.places.values()]

    def waiters(self) -> list[list[W]]:
        """Who waits, in the order of the targets."""
        return [waiters for _, waiters in self.places.values()]

    def is_abandoned(self) -> bool:
        return not any(waiters for _, waiters in self.places.values())

    def drop(self, waiter: W) -> None:
        """Forgets a waiter that was cancelled."""
        waiters = self.places[waiter.place][1] if waiter.place in self.places else []
        if waiter in waiters:
            waiters.remove(waiter)

    def prune(self) -> None:
        """Forgets the targets for which nobody waits any more. Before it is sent only."""
        self.places = {place: entry for place, entry in self.places.items() if entry[1]}

    def halves(self) -> Iterator[Batch[W, C]]:
        """The batch as two of half its length. They have the time of the whole one."""
        items = list(self.places.items())
        middle = (len(items) + 1) // 2
        for part in (items[:middle], items[middle:]):
            half: Batch[W, C] = Batch(self.lane, self.read)
            half.places, half.callers = dict(part), self.callers
            yield half


class Lane(Generic[W, C]):
    """What may go together: one key, one read level, and either references or tokens and names."""

    def __init__(self, id: Hashable) -> None:
        self.id = id
        self.out = 0
        self.gathering: deque[Batch[W, C]] = deque()
        self.batch_of: dict[Hashable, Batch[W, C]] = {}
        """The gathering batch that has a place."""

    def gather(self, read: Read | None, target: Checked, waiter: W, caller: C) -> None:
        place = target if isinstance(target, str) else json.dumps(target, sort_keys=True)
        batch = self.batch_of.get(place)
        if batch is None:
            # Only the last one can have room.
            if not self.gathering or self.gathering[-1].is_full():
                self.gathering.append(Batch(self, read))
            batch = self.batch_of[place] = self.gathering[-1]
        batch.add(place, target, waiter, caller)

    def departures(self, may_go: Callable[[Batch[W, C]], bool]) -> list[Batch[W, C]]:
        """The batches that go now. One that may not go yet stays, and the next one is looked at."""
        gone, kept = [], []
        while self.gathering and self.out < BATCHES_OUT_MAX:
            batch = self.gathering.popleft()
            if not batch.is_abandoned() and not may_go(batch):
                kept.append(batch)
                continue
            for place in batch.places:
                del self.batch_of[place]
            batch.prune()
            if batch.places:
                self.out += 1
                gone.append(batch)
        self.gathering.extendleft(reversed(kept))
        return gone


def _always(_batch: Batch[Any, Any]) -> bool:
    return True


class Lanes(Generic[W, C]):
    """All lanes of a client. Not safe for threads: the caller locks.

    `may_go` decides whether a batch can be sent at the moment. Without it every batch can."""

    def __init__(self, may_go: Callable[[Batch[W, C]], bool] = _always) -> None:
        self._lanes: dict[Hashable, Lane[W, C]] = {}
        self._may_go = may_go

    def add(
        self, key: str | None, read: Read | None, caller: C, items: Iterable[tuple[Checked, W]]
    ) -> list[Batch[W, C]]:
        """Takes checked targets with their waiters. Returns the batches that go now."""
        touched: dict[Hashable, Lane[W, C]] = {}
        for target, waiter in items:
            is_reference = isinstance(target, dict) and "reference" in target
            id = (key, read, is_reference)
            lane = touched.get(id)
            if lane is None:
                lane = touched[id] = self._lanes.setdefault(id, Lane(id))
            lane.gather(read, target, waiter, caller)
        caller.lanes = list(touched.values())
        return [batch for lane in caller.lanes for batch in lane.departures(self._may_go)]

    def returned(self, batch: Batch[W, C], caller: C | None = None) -> list[Batch[W, C]]:
        """A batch that went has ended. Returns the batches that go now: of its lane, and those that
        may go because `caller` has nothing to send any more."""
        batch.lane.out -= 1
        lanes = [batch.lane, *(lane for lane in (caller.lanes if caller else ()) if lane is not batch.lane)]
        gone = [batch for lane in lanes for batch in lane.departures(self._may_go)]
        for lane in lanes:
            if lane.out == 0 and not lane.gathering and self._lanes.get(lane.id) is lane:
                del self._lanes[lane.id]
        return gone

    def put_back(self, batch: Batch[W, C]) -> list[Batch[W, C]]:
        """A batch that went was not sent, and goes later. Returns the batches that go now."""
        lane = batch.lane
        for place, (_, waiters) in list(batch.places.items()):
            joined = lane.batch_of.setdefault(place, batch)
            if joined is not batch:
                # Somebody asks the same meanwhile.
                del batch.places[place]
                joined.places[place][1].extend(waiters)
                joined.callers.extend(batch.callers)
                for waiter in waiters:
                    waiter.batch = joined
        lane.gathering.appendleft(batch)
        return self.returned(batch)

    def clear(self) -> list[Batch[W, C]]:
        """Removes and returns the batches that gather: none of them will go."""
        gathered = [batch for lane in self._lanes.values() for batch in lane.gathering]
        for lane in self._lanes.values():
            lane.gathering.clear()
            lane.batch_of.clear()
        return gathered


def is_halved(error: JetonError) -> bool:
    """Whether one target may be to blame for the error of a batch."""
    return isinstance(error, (AnswerTooLarge, BadRequest, ContentTooLarge, OutOfLimits))


def new_traceparent() -> str:
    """A trace context of its own (W3C Trace Context): a batch belongs to many callers."""
    # Not secret, so the generator without a system call is enough; it is seeded anew after a fork.
    return f"00-{random.getrandbits(128) | 1:032x}-{random.getrandbits(64) | 1:016x}-01"
