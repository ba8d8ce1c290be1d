"""Coalescing: which resolves go together. Decides only; the shells send and wait.

A resolve goes at once while fewer than `BATCHES_OUT_MAX` batches of its lane are out. Later ones
gather and go when a batch comes back. Nothing waits for a timer, nothing is cached, and nobody joins
a batch that was sent."""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from typing import Any, Final, Generic, TypeAlias, TypeVar

from ._errors import BadRequest, ContentTooLarge, JetonError, OutOfLimits
from ._types import Read

BATCH_LEN_MAX: Final = 100
BATCHES_OUT_MAX: Final = 4

Checked: TypeAlias = str | dict[str, Any]


class Waiter:
    """Somebody who waits for a target. The shells add how they are woken."""

    __slots__ = ("batch", "place")

    batch: Batch[Any]
    place: Hashable


W = TypeVar("W", bound=Waiter)


class Batch(Generic[W]):
    """Resolves that are sent together: distinct targets, and who waits for each."""

    def __init__(self, lane: Lane[W], read: Read | None) -> None:
        self.lane = lane
        self.read = read
        self.places: dict[Hashable, tuple[Checked, list[W]]] = {}

    def is_full(self) -> bool:
        return len(self.places) >= BATCH_LEN_MAX

    def add(self, place: Hashable, target: Checked, waiter: W) -> None:
        self.places.setdefault(place, (target, []))[1].append(waiter)
        waiter.batch, waiter.place = self, place

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

    def halves(self) -> Iterator[Batch[W]]:
        """The batch as two of half its length."""
        items = list(self.places.items())
        middle = (len(items) + 1) // 2
        for part in (items[:middle], items[middle:]):
            half = Batch(self.lane, self.read)
            half.places = dict(part)
            yield half


class Lane(Generic[W]):
    """What may go together: one key, one read level, and either references or tokens and names."""

    def __init__(self, id: Hashable) -> None:
        self.id = id
        self.out = 0
        self.gathering: deque[Batch[W]] = deque()


class Lanes(Generic[W]):
    """All lanes of a client. Not safe for threads: the caller locks."""

    def __init__(self) -> None:
        self._lanes: dict[Hashable, Lane[W]] = {}

    def add(self, key: str | None, read: Read | None, items: Iterable[tuple[Checked, W]]) -> list[Batch[W]]:
        """Takes checked targets with their waiters. Returns the batches that go now."""
        touched: dict[Hashable, Lane[W]] = {}
        for target, waiter in items:
            is_reference = isinstance(target, dict) and "reference" in target
            id = (key, read, is_reference)
            lane = touched.setdefault(id, self._lanes.setdefault(id, Lane(id)))
            self._gather(lane, read, target, waiter)
        return [batch for lane in touched.values() for batch in self._departures(lane)]

    def _gather(self, lane: Lane[W], read: Read | None, target: Checked, waiter: W) -> None:
        place = target if isinstance(target, str) else json.dumps(target, sort_keys=True)
        # Only the last one can have room.
        for batch in lane.gathering:
            if place in batch.places:
                batch.add(place, target, waiter)
                return
        if not lane.gathering or lane.gathering[-1].is_full():
            lane.gathering.append(Batch(lane, read))
        lane.gathering[-1].add(place, target, waiter)

    def _departures(self, lane: Lane[W]) -> Iterator[Batch[W]]:
        while lane.gathering and lane.out < BATCHES_OUT_MAX:
            batch = lane.gathering.popleft()
            batch.prune()
            if batch.places:
                lane.out += 1
                yield batch

    def returned(self, batch: Batch[W]) -> list[Batch[W]]:
        """A batch that went has ended. Returns the batches that go now."""
        lane = batch.lane
        lane.out -= 1
        departures = list(self._departures(lane))
        if lane.out == 0 and self._lanes.get(lane.id) is lane:
            del self._lanes[lane.id]
        return departures

    def clear(self) -> list[Batch[W]]:
        """Removes and returns the batches that gather: none of them will go."""
        gathered = [batch for lane in self._lanes.values() for batch in lane.gathering]
        for lane in self._lanes.values():
            lane.gathering.clear()
        return gathered


def is_halved(error: JetonError) -> bool:
    """Whether one target may be to blame for the error of a batch."""
    return isinstance(error, (BadRequest, ContentTooLarge, OutOfLimits))


def new_traceparent() -> str:
    """A trace context of its own (W3C Trace Context): a batch belongs to many callers."""
    # Not secret, so the generator without a system call is enough; it is seeded anew after a fork.
    return f"00-{random.getrandbits(128) | 1:032x}-{random.getrandbits(64) | 1:016x}-01"
