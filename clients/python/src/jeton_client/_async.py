"""The client for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

from . import _ops as ops
from ._async_connections import Connections
from ._call import Core, Send, Steps
from ._config import configure
from ._errors import (
    ApiError,
    ClientClosed,
    DeadlineExceeded,
    JetonError,
    WrongEventLoop,
)
from ._http import TryEnd
from ._lanes import Batch, Caller, Lanes, Waiter, is_halved, new_traceparent
from ._types import (
    Issued,
    Item,
    Name,
    Payload,
    Read,
    Reference,
    Status,
    Target,
    Ttl,
    check_target,
    read_headers,
)

T = TypeVar("T")


class _Waiter(Waiter):
    __slots__ = ("future",)

    def __init__(self, future: asyncio.Future[Payload | JetonError | None]) -> None:
        # Errors are results: a future that nobody asks any more must not complain.
        self.future = future

    def settle(self, outcome: Payload | JetonError | None) -> None:
        if not self.future.done():
            self.future.set_result(outcome)


_Batch: TypeAlias = Batch[_Waiter, Caller]


class _Deadlines:
    """Ends the waits of callers at their deadlines: one timer for all, which all have the same time."""

    def __init__(self, abandon: Callable[[list[_Waiter]], None]) -> None:
        self._abandon = abandon
        # In the order of their deadlines.
        self._waits: OrderedDict[Caller, list[_Waiter]] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, caller: Caller, waiters: list[_Waiter]) -> None:
        """Abandons those that still wait when their time is up."""
        self._waits[caller] = waiters
        self._plan()

    def forget(self, caller: Caller) -> None:
        """The call is over."""
        self._waits.pop(caller, None)

    def _plan(self) -> None:
        if self._timer is None and self._waits:
            seconds = next(iter(self._waits)).ends_at - time.monotonic()
            self._timer = asyncio.get_running_loop().call_later(max(0.0, seconds), self._ring)

    def _ring(self) -> None:
        self._timer = None
        while self._waits and next(iter(self._waits)).ends_at <= time.monotonic():
            self._abandon(self._waits.popitem(last=False)[1])
        self._plan()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class AsyncClient:
    """A client of jeton for asyncio. Belongs to one event loop and one process.

    `urls` is the URL of a server, or those of several nodes of one cluster. The API key is `key`, or
    the content of `key_file`, which is read again after a 401. Times are seconds: a call ends within
    `deadline`, and each of its at most three tries within `try_timeout`. With `coalesce`, concurrent
    resolves share requests. No connection lives longer than `connection_age`. `tls` is the
    context of https URLs (default: the authorities of the system), with a client certificate if one
    is needed. `traceparent` returns the trace context of the caller, sent with each of its calls but
    coalesced resolves, which have one for each batch.

    ```python
    async with AsyncClient("http://127.0.0.1:7450") as jeton:
        issued = await jeton.issue({"order": "A-17", "pay": "139.10"}, ttl="15m")
        payload = await jeton.consume(issued.token)
    ```
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        *,
        key: str | None = None,
        key_file: str | Path | None = None,
        deadline: float = 10.0,
        try_timeout: float = 2.0,
        coalesce: bool = True,
        answer_max_bytes: int = 32 * 1024 * 1024,
        connections_max: int = 100,
        connection_age: float = 300.0,
        tls: ssl.SSLContext | None = None,
        traceparent: Callable[[], str | None] | None = None,
    ) -> None:
        self._config = configure(
            urls,
            key=key,
            key_file=key_file,
            deadline=deadline,
            try_timeout=try_timeout,
            coalesce=coalesce,
            answer_max_bytes=answer_max_bytes,
            connections_max=connections_max,
            connection_age=connection_age,
            tls=tls,
            traceparent=traceparent,
        )
        self._core = Core(self._config)
        self._lanes: Lanes[_Waiter, Caller] = Lanes()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connections = Connections(self._config)
        self._deadlines = _Deadlines(self._abandon)
        self._task_of: dict[_Batch, asyncio.Task[None]] = {}
        self._closed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<AsyncClient of {', '.join(self._config.urls)}>"

    async def __aenter__(self) -> Self:
        self._check()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes all connections. Calls that are under way end with `ClientClosed`, changes that were
        sent with `OutcomeUnknown`; calls after this raise `ClientClosed`. May be called twice."""
        if self._closed.is_set():
            return
        self._check()
        self._closed.set()
        for batch in self._lanes.clear():
            _settle(batch, ClientClosed("the client was closed"))
        for task in list(self._task_of.values()):
            task.cancel()
        self._deadlines.stop()
        await self._connections.close()

    # --- Operations

    async def issue(
        self,
        payload: Any,
        *,
        ttl: Ttl | None = None,
        uses: int | None = None,
        peek: bool | None = None,
        reference: Reference | None = None,
        key: str | None = None,
    ) -> Issued:
        """Issues a token for `payload`: any value of JSON but None, or its text as `bytes`.

        `key` is the Idempotency-Key; without one the client makes one for the tries of this call. A
        `reference` is itself the key. Raises `Conflict` if the reference or key was issued with other
        content or its token was consumed, and `OutcomeUnknown`."""
        item = Item(payload, ttl=ttl, uses=uses, peek=peek, reference=reference)
        return await self._perform(ops.issue(item, key))

    async def issue_batch(self, items: Sequence[Item], *, key: str | None = None) -> list[Issued | ApiError]:
        """Issues many tokens, each by itself: a token or the error of each, in their order."""
        return await self._perform(ops.issue_batch(items, key))

    async def put(
        self,
        name: Name | str,
        payload: Any,
        *,
        ttl: Ttl | None = None,
        uses: int | None = None,
        peek: bool | None = None,
        if_absent: bool = False,
    ) -> datetime:
        """Issues a token under a name that the caller chose, in the place of what is there. Returns its
        deadline. Needs the scope `import`.

        With `if_absent` a token that is there stays, and the error is `PreconditionFailed`. It is
        `Conflict` if that token was issued by a reference or key. Is not sent again after a lost answer:
        what was consumed meanwhile would live again. So the key of its `OutcomeUnknown` is None, and
        `status` shows what has that name now."""
        item = Item(payload, ttl=ttl, uses=uses, peek=peek)
        return await self._perform(ops.put(name, item, if_absent))

    async def resolve(self, target: Target, *, read: Read | None = None) -> Payload:
        """The payload of a token; takes no use. Raises `NotFound`."""
        [payload] = await self._resolve([target], read)
        return ops.found(payload)

    async def resolve_many(
        self, targets: Sequence[Target], *, read: Read | None = None
    ) -> list[Payload | None]:
        """The payloads of many tokens in their order, None for one that is not found."""
        return await self._resolve(targets, read)

    async def consume(self, target: Target, *, key: str | None = None) -> Payload:
        """Takes one use of a token and returns its payload. Raises `NotFound` and `OutcomeUnknown`,
        whose `key` makes it safe to call this again."""
        [payload] = await self._perform(ops.consume([target], key))
        return ops.found(payload)

    async def consume_many(
        self, targets: Sequence[Target], *, key: str | None = None
    ) -> list[Payload | None]:
        """Takes one use of each token, each by itself. No transaction, and never coalesced."""
        return await self._perform(ops.consume(targets, key))

    async def status(self, targets: Sequence[Target], *, read: Read | None = None) -> list[Status | None]:
        """Deadline, uses left and size of each token; None for one that is not found."""
        return await self._perform(ops.status(targets, read))

    async def extend(self, targets: Sequence[Target], ttl: Ttl) -> list[datetime | None]:
        """Moves the deadline of each token to now plus `ttl`, never earlier than it is. Returns the
        new deadlines, None for a token that is not found."""
        return await self._perform(ops.extend(targets, ttl))

    async def revoke(self, targets: Sequence[Target]) -> None:
        """Ends each token, known or unknown."""
        await self._perform(ops.revoke(targets))

    @property
    def position(self) -> str | None:
        """In a cluster, where the last change of this client can be read: `AtLeast(position)`."""
        return self._core.position

    # --- Calls

    def _check(self) -> None:
        self._core.check_process()
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop:
            raise WrongEventLoop("the client belongs to another event loop: make one for each loop")
        if self._closed.is_set():
            raise ClientClosed("the client was closed")

    async def _perform(self, operation: ops.Operation[T]) -> T:
        self._check()
        provider = self._config.traceparent
        return await self._drive(self._core.perform(operation, provider and provider()))

    async def _drive(self, steps: Steps[T]) -> T:
        end: TryEnd | None = None
        while True:
            try:
                step = steps.send(end)
            except StopIteration as returned:
                result: T = returned.value
                return result
            if isinstance(step, Send):
                end = await self._connections.send(step.request)
            else:
                end = None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(step.seconds):
                        await self._closed.wait()

    # --- Coalescing

    async def _resolve(self, targets: Sequence[Target], read: Read | None) -> list[Payload | None]:
        self._check()
        checked = list(map(check_target, targets))
        read_headers(read)
        if not self._config.coalesce or not checked:
            return await self._perform(ops.resolve(checked, read))
        loop, caller = asyncio.get_running_loop(), Caller(time.monotonic() + self._config.deadline)
        waiters = [_Waiter(loop.create_future()) for _ in checked]
        batches = self._lanes.add(self._core.keys.key, read, caller, zip(checked, waiters, strict=True))
        # What goes now has only this call's targets. If that is all of them, nobody else depends on
        # this task: without another one, a caller alone is as fast as without coalescing.
        is_alone = len(batches) == 1 and all(waiter.batch is batches[0] for waiter in waiters)
        try:
            if is_alone:
                await self._run_here(batches[0])
            else:
                self._start(batches)
                self._deadlines.watch(caller, waiters)
            outcomes = [await waiter.future for waiter in waiters]
        except BaseException:
            self._abandon(waiters)
            raise
        finally:
            self._deadlines.forget(caller)
        return [ops.settled(outcome) for outcome in outcomes]

    def _abandon(self, waiters: list[_Waiter]) -> None:
        for waiter in waiters:
            waiter.settle(DeadlineExceeded("the deadline of the call has passed"))
            waiter.batch.drop(waiter)
            task = self._task_of.get(waiter.batch)
            if task is not None and waiter.batch.is_abandoned():
                task.cancel()

    def _start(self, batches: list[_Batch]) -> None:
        for batch in batches:
            task = asyncio.get_running_loop().create_task(self._run(batch))
            self._task_of[batch] = task
            # A task that is cancelled before its first step runs nothing of its own.
            task.add_done_callback(functools.partial(self._ended, batch))

    async def _run_here(self, batch: _Batch) -> None:
        """Sends a batch in the task of its only caller."""
        try:
            await self._run(batch)
        finally:
            self._ended(batch)

    def _ended(self, batch: _Batch, _task: asyncio.Task[None] | None = None) -> None:
        """A batch that had left its lane is over: lets the next ones go."""
        # After a cancellation: nobody may wait for ever.
        _settle(batch, ClientClosed("the client was closed"))
        self._task_of.pop(batch, None)
        self._start(self._lanes.returned(batch))

    async def _run(self, batch: _Batch) -> None:
        operation = ops.resolve(batch.targets(), batch.read)
        try:
            steps = self._core.perform(operation, new_traceparent(), batch.ends_at())
            payloads = await self._drive(steps)
        except JetonError as error:
            if is_halved(error) and len(batch.places) > 1:
                for half in batch.halves():
                    await self._run(half)
            else:
                _settle(batch, error)
            return
        for payload, waiters in zip(payloads, batch.waiters(), strict=True):
            for waiter in waiters:
                waiter.settle(payload)


def _settle(batch: _Batch, error: JetonError) -> None:
    for waiters in batch.waiters():
        for waiter in waiters:
            waiter.settle(error)
