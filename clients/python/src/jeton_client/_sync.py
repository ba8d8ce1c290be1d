"""The client for threads."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

from . import _ops as ops
from ._call import Core, Send, Steps
from ._config import configure
from ._errors import ApiError, ClientClosed, DeadlineExceeded, JetonError
from ._http import TryEnd
from ._lanes import Batch, Caller, Lanes, Waiter, is_halved, new_traceparent
from ._sync_connections import Connections
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

_UNSET = object()


class _Caller(Caller):
    """A thread that waits for some targets, and meanwhile sends one batch after the other."""

    def __init__(self, ends_at: float) -> None:
        super().__init__(ends_at)
        self.is_woken = threading.Event()
        self.to_send: _Batch | None = None
        """A batch that has left its lane, which this thread sends now or next."""
        self.left = 0
        self.is_gone = False


class _Waiter(Waiter):
    __slots__ = ("caller", "outcome")

    def __init__(self, caller: _Caller) -> None:
        self.caller = caller
        self.outcome: Any = _UNSET
        caller.left += 1


_Batch: TypeAlias = Batch[_Waiter, _Caller]


def _may_go(batch: _Batch) -> bool:
    """A batch goes if a thread that waits for it can send it: the one that can wait longest."""
    idle = [caller for caller in batch.callers if caller.to_send is None and not caller.is_gone]
    if not idle:
        return False
    sender = max(idle, key=lambda caller: caller.ends_at)
    sender.to_send = batch
    sender.is_woken.set()
    return True


class Client:
    """A client of jeton for threads, which may share it. Belongs to one process.

    `urls` is the URL of a server, or those of several nodes of one cluster. The API key is `key`, or
    the content of `key_file`, which is read again after a 401. Times are seconds: a call ends within
    `deadline`, and each of its at most three tries within `try_timeout`. With `coalesce`, concurrent
    resolves share requests. No connection lives longer than `connection_age`. `tls` is the
    context of https URLs (default: the authorities of the system), with a client certificate if one
    is needed. `traceparent` returns the trace context of the caller, sent with each of its calls but
    coalesced resolves, which have one for each batch.

    ```python
    with Client("http://127.0.0.1:7450") as jeton:
        issued = jeton.issue({"order": "A-17", "pay": "139.10"}, ttl="15m")
        payload = jeton.consume(issued.token)
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
        self._lock = threading.Lock()
        self._lanes: Lanes[_Waiter, _Caller] = Lanes(_may_go)
        self._connections = Connections(self._config)
        self._closed = threading.Event()

    def __repr__(self) -> str:
        return f"<Client of {', '.join(self._config.urls)}>"

    def __enter__(self) -> Self:
        self._check()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes all connections. Calls that are under way end with `ClientClosed`, changes that were
        sent with `OutcomeUnknown`; calls after this raise `ClientClosed`. May be called twice."""
        if self._closed.is_set():
            return
        self._check()
        self._closed.set()
        with self._lock:
            gathered = self._lanes.clear()
        for batch in gathered:
            self._settle(batch, ClientClosed("the client was closed"))
        self._connections.close()

    # --- Operations

    def issue(
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
        return self._perform(ops.issue(item, key))

    def issue_batch(self, items: Sequence[Item], *, key: str | None = None) -> list[Issued | ApiError]:
        """Issues many tokens, each by itself: a token or the error of each, in their order."""
        return self._perform(ops.issue_batch(items, key))

    def put(
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
        return self._perform(ops.put(name, item, if_absent))

    def resolve(self, target: Target, *, read: Read | None = None) -> Payload:
        """The payload of a token; takes no use. Raises `NotFound`."""
        [payload] = self._resolve([target], read)
        return ops.found(payload)

    def resolve_many(self, targets: Sequence[Target], *, read: Read | None = None) -> list[Payload | None]:
        """The payloads of many tokens in their order, None for one that is not found."""
        return self._resolve(targets, read)

    def consume(self, target: Target, *, key: str | None = None) -> Payload:
        """Takes one use of a token and returns its payload. Raises `NotFound` and `OutcomeUnknown`,
        whose `key` makes it safe to call this again."""
        [payload] = self._perform(ops.consume([target], key))
        return ops.found(payload)

    def consume_many(self, targets: Sequence[Target], *, key: str | None = None) -> list[Payload | None]:
        """Takes one use of each token, each by itself. No transaction, and never coalesced."""
        return self._perform(ops.consume(targets, key))

    def status(self, targets: Sequence[Target], *, read: Read | None = None) -> list[Status | None]:
        """Deadline, uses left and size of each token; None for one that is not found."""
        return self._perform(ops.status(targets, read))

    def extend(self, targets: Sequence[Target], ttl: Ttl) -> list[datetime | None]:
        """Moves the deadline of each token to now plus `ttl`, never earlier than it is. Returns the
        new deadlines, None for a token that is not found."""
        return self._perform(ops.extend(targets, ttl))

    def revoke(self, targets: Sequence[Target]) -> None:
        """Ends each token, known or unknown."""
        self._perform(ops.revoke(targets))

    @property
    def position(self) -> str | None:
        """In a cluster, where the last change of this client can be read: `AtLeast(position)`."""
        return self._core.position

    # --- Calls

    def _check(self) -> None:
        self._core.check_process()
        if self._closed.is_set():
            raise ClientClosed("the client was closed")

    def _perform(self, operation: ops.Operation[T]) -> T:
        self._check()
        provider = self._config.traceparent
        return self._drive(self._core.perform(operation, provider and provider()))

    def _drive(self, steps: Steps[T]) -> T:
        end: TryEnd | None = None
        while True:
            try:
                step = steps.send(end)
            except StopIteration as returned:
                result: T = returned.value
                return result
            if isinstance(step, Send):
                end = self._connections.send(step.request)
            else:
                end = None
                self._closed.wait(step.seconds)

    # --- Coalescing: no threads of its own. A batch is sent by one of the threads that wait for it,
    # and a thread that sends takes the next batch only when it has sent the last one.

    def _resolve(self, targets: Sequence[Target], read: Read | None) -> list[Payload | None]:
        self._check()
        checked = list(map(check_target, targets))
        read_headers(read)
        if not self._config.coalesce or not checked:
            return self._perform(ops.resolve(checked, read))
        caller = _Caller(time.monotonic() + self._config.deadline)
        waiters = [_Waiter(caller) for _ in checked]
        try:
            with self._lock:
                self._lanes.add(self._core.keys.key, read, caller, zip(checked, waiters, strict=True))
            self._await(caller)
        finally:
            self._leave(caller, waiters)
        return [ops.settled(waiter.outcome) for waiter in waiters]

    def _await(self, caller: _Caller) -> None:
        while True:
            with self._lock:
                batch, left = caller.to_send, caller.ends_at - time.monotonic()
                if batch is None and caller.left == 0:
                    return
                caller.is_woken.clear()
            if left <= 0:
                raise DeadlineExceeded("the deadline of the call has passed")
            if batch is None:
                caller.is_woken.wait(left)
            else:
                self._run(caller, batch)

    def _leave(self, caller: _Caller, waiters: list[_Waiter]) -> None:
        """The call is over. What it still waits for is left to the others who ask the same."""
        with self._lock:
            caller.is_gone = True
            if caller.left > 0:
                for waiter in waiters:
                    waiter.batch.drop(waiter)
            if caller.to_send is not None:
                self._lanes.put_back(caller.to_send)

    def _run(self, caller: _Caller, batch: _Batch) -> None:
        """Sends a batch that has left its lane, and lets the next ones go."""
        try:
            self._run_or_halve(batch, caller.ends_at)
        except BaseException:
            # An interrupt in this thread: the others that wait for the batch must not wait for ever.
            self._settle(batch, JetonError("the thread that sent the request was interrupted"))
            raise
        finally:
            with self._lock:
                caller.to_send = None
                self._lanes.returned(batch, caller)

    def _run_or_halve(self, batch: _Batch, ends_at: float) -> None:
        with self._lock:
            operation = ops.resolve(batch.targets(), batch.read)
        try:
            payloads = self._drive(self._core.perform(operation, new_traceparent(), ends_at))
        except JetonError as error:
            if is_halved(error) and len(batch.places) > 1:
                for half in batch.halves():
                    self._run_or_halve(half, ends_at)
            else:
                self._settle(batch, error)
            return
        with self._lock:
            for payload, waiters in zip(payloads, batch.waiters(), strict=True):
                for waiter in waiters:
                    _wake(waiter, payload)

    def _settle(self, batch: _Batch, error: JetonError) -> None:
        with self._lock:
            for waiters in batch.waiters():
                for waiter in waiters:
                    _wake(waiter, error)


def _wake(waiter: _Waiter, outcome: Payload | JetonError | None) -> None:
    if waiter.outcome is _UNSET:
        waiter.outcome = outcome
        waiter.caller.left -= 1
        if waiter.caller.left == 0:
            waiter.caller.is_woken.set()
