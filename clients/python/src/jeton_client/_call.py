"""One call with its tries, as a generator: it yields what to do and takes what came of it.

The shells (`_async.py`, `_sync.py`) do the waiting. No code here waits, opens a connection or
knows threads, but for what calls share: locks, and the one that reads the key file again."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import threading
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias, TypeVar

from ._config import Config, read_key_file
from ._errors import (
    AnswerError,
    AnswerTooLarge,
    BadRequest,
    ClientClosed,
    DeadlineExceeded,
    InvalidArgument,
    JetonError,
    NoAnswer,
    NoConnection,
    NotOneCluster,
    OutcomeUnknown,
    UnexpectedAnswer,
    WrongProcess,
    is_perhaps_done,
)
from ._http import Closed, HttpAnswer, HttpRequest, Lost, NotSent, TryEnd, failure
from ._ops import Operation, read_answer

T = TypeVar("T")

RETRIES_MAX: Final = 2
RETRIED: Final = frozenset({408, 429, 502, 503, 504})
BACKOFF_FIRST: Final = 0.05
BACKOFF_MAX: Final = 2.0

BUDGET_FIRST: Final = 10.0
BUDGET_PER_CALL: Final = 0.2
BUDGET_MAX: Final = 1000.0

KEY_LOOK_FIRST: Final = 0.001
KEY_LOOK_MAX: Final = 0.05
"""How often a call looks whether the key file was read."""

POSITION_MAX: Final = 64
"""Characters of a position."""

_PROBES: Final = (
    ("/v1/resolve", b'{"tokens":[]}'),
    ("/v1/consume", b'{"tokens":[]}'),
    ("/v1/revoke", b'{"tokens":[]}'),
    ("/v1/extend", b'{"tokens":[],"ttl":1}'),
    # Incomplete: nothing is put.
    ("/v1/names", b"{}"),
)
_NOT_ALONE: Final = (
    "several URLs are nodes of one cluster, and a server here is none: servers that share nothing "
    "would consume a token once each"
)
_NOT_STATED: Final = (
    "several URLs are nodes of one cluster, and one states no cluster: it is older than this client, or "
    "something in between removes the header Jeton-Cluster"
)
_NOT_ONE: Final = "several URLs are nodes of one cluster, and these are of different ones"


@dataclass(frozen=True, slots=True)
class Send:
    """Send this; the answer to the yield is a `TryEnd`, also after the client was closed: the call
    knows whether it then has to tell its key."""

    request: HttpRequest


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait for so many seconds."""

    seconds: float


Steps: TypeAlias = Generator[Send | Sleep, TryEnd | None, T]


class Budget:
    """Bounds retries to a fifth of the calls."""

    def __init__(self) -> None:
        self._left = BUDGET_FIRST
        self._lock = threading.Lock()

    def add_call(self) -> None:
        with self._lock:
            self._left = min(BUDGET_MAX, self._left + BUDGET_PER_CALL)

    def take_retry(self) -> bool:
        """Whether a retry is allowed; it is then counted."""
        with self._lock:
            # The sum of fifths is not exact.
            if self._left < 1.0 - 1e-6:
                return False
            self._left -= 1.0
            return True


class Keys:
    """The API key, and the file that it comes from."""

    def __init__(self, config: Config) -> None:
        self._path = config.key_file
        self._key = config.key if self._path is None else read_key_file(self._path)
        self._lock = threading.Lock()
        self._reader: threading.Thread | None = None

    @property
    def key(self) -> str | None:
        return self._key

    def read_again(self, refused: str | None) -> threading.Thread | None:
        """After a 401 for the key `refused`: the thread that reads the file again, one for all calls.
        None if there is no file, or another key already."""
        with self._lock:
            if self._path is None or self._key != refused:
                return None
            if self._reader is None or not self._reader.is_alive():
                self._reader = threading.Thread(target=self._read, args=(self._path,), daemon=True)
                self._reader.start()
            return self._reader

    def _read(self, path: Path) -> None:
        # Unreadable: somebody is about to write it. The old key was refused, and that is the error.
        with contextlib.suppress(InvalidArgument):
            self._key = read_key_file(path)


class Nodes:
    """The servers, one of which is asked until it fails, and the clusters that they are of."""

    def __init__(self, urls: tuple[str, ...]) -> None:
        self._urls = urls
        self._at = random.randrange(len(urls))
        self._lock = threading.Lock()
        self._cluster_of: dict[str, str] = {}
        # One server alone need not be a node.
        self._has_asked_all = len(urls) == 1
        self.mistakes = 0

    @property
    def current(self) -> str:
        return self._urls[self._at]

    def leave(self, url: str) -> None:
        """Goes to the next one, unless another call already has."""
        if self.current == url:
            self._at = (self._at + 1) % len(self._urls)

    def is_known(self, url: str) -> bool:
        """Whether it has said that it is a node of the same cluster as the others."""
        return len(self._urls) == 1 or url in self._cluster_of

    def learn(self, url: str, cluster: str) -> bool:
        """A node has stated its cluster. Whether it is that of the others."""
        with self._lock:
            self._cluster_of[url] = cluster
            return set(self._cluster_of.values()) == {cluster}

    def others(self, url: str) -> list[str]:
        """Those that are to be asked beside `url` for their cluster."""
        with self._lock:
            if self._has_asked_all:
                return []
            return [other for other in self._urls if other != url and other not in self._cluster_of]

    def end(self, mistakes: int) -> bool:
        """Notes that all were asked. False if a mistake was found since there were `mistakes`."""
        with self._lock:
            self._has_asked_all |= mistakes == self.mistakes
            return mistakes == self.mistakes

    def has_asked_all(self) -> bool:
        """Whether each was asked once. Some may not have answered."""
        return self._has_asked_all

    def forget(self) -> None:
        """They are not of one cluster, and nobody knows which of them is right."""
        with self._lock:
            self.mistakes += 1
            self._cluster_of.clear()
            self._has_asked_all = False


class Core:
    """What the calls of a client share."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.budget = Budget()
        self.keys = Keys(config)
        self.nodes = Nodes(config.urls)
        self.position: str | None = None
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def check_process(self) -> None:
        """Raises `WrongProcess` after a fork: two processes must not share a connection."""
        if os.getpid() != self._pid:
            raise WrongProcess("the client was made in another process: make one after the fork")

    def perform(
        self, operation: Operation[T], traceparent: str | None = None, ends_at: float | None = None
    ) -> Steps[T]:
        """The steps of a call. Returns its result, or raises its error. It ends at `ends_at` of the
        monotonic clock, or one deadline from now."""
        return _Call(self, operation, traceparent, ends_at).steps()

    def note_position(self, text: str) -> None:
        """A change can be read at this position. Answers come in any order: the last one is kept."""
        with self._lock:
            if self.position is None or _order(text) >= _order(self.position):
                self.position = text

    def request(
        self,
        url: str,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        ends_at: float,
    ) -> HttpRequest:
        """A try with this client's key, which ends at `ends_at` of the monotonic clock."""
        every = {"Content-Type": "application/json", "Accept-Encoding": "identity", **headers}
        if self.keys.key is not None:
            every["Authorization"] = f"Bearer {self.keys.key}"
        timeout, maximum = self.config.try_timeout, self.config.answer_max_bytes
        return HttpRequest(url, path, every, body, timeout, ends_at, maximum)


def _order(position: str) -> tuple[int, ...]:
    """Era and sequence number of `ERA.SEQ`. A text of another form goes first, and one that is too long:
    `int` raises an error for thousands of digits."""
    era, _, seq = position.partition(".")
    is_position = len(position) <= POSITION_MAX and f"{era}{seq}".isdecimal() and era and seq
    return (int(era), int(seq)) if is_position else ()


class _Call:
    """The state of a call between its tries."""

    def __init__(
        self, core: Core, operation: Operation[Any], traceparent: str | None, ends_at: float | None
    ) -> None:
        self.core = core
        self.operation = operation
        self.ends_at = time.monotonic() + core.config.deadline if ends_at is None else ends_at
        self.key = operation.key
        if operation.is_keyed and self.key is None:
            self.key = secrets.token_urlsafe(24)
        self.headers = dict(operation.headers)
        if operation.is_keyed and self.key is not None:
            self.headers["Idempotency-Key"] = self.key
        if traceparent is not None:
            self.headers["traceparent"] = traceparent
        self.doubt: JetonError | None = None
        """The last error after which the change may have happened."""
        self.has_read_key = False

    def left(self) -> float:
        return self.ends_at - time.monotonic()

    def steps(self) -> Steps[Any]:
        self.core.budget.add_call()
        retries = 0
        while True:
            url = self.core.nodes.current
            asked_with = self.core.keys.key
            end, is_own = yield from self._try(url)
            if isinstance(end, HttpAnswer) and is_own:
                self._note_position(end)
                if end.status < 300:
                    return self._success(end)
            error = self._error(end, is_own)
            if (yield from self._finds_new_key(error, asked_with)):
                continue
            if _is_of_node(end, error):
                self.core.nodes.leave(url)
            wait = self._wait(error, end, retries)
            if wait is None or not self.core.budget.take_retry():
                self._fail(error)
            retries += 1
            if wait > 0:
                yield Sleep(wait)

    def _try(self, url: str) -> Generator[Send, TryEnd | None, tuple[TryEnd, bool]]:
        """How the try ended, and whether the operation itself was sent."""
        refused = yield from self._meet(url)
        if refused is not None:
            return refused, False
        end = yield self._send(url, self.operation.path, self.operation.body, self.headers, self.ends_at)
        assert end is not None
        return end, True

    def _meet(self, url: str) -> Generator[Send, TryEnd | None, TryEnd | None]:
        """Finds out whether the servers are nodes of one cluster, before one is used. Returns the end of
        the try if `url` has not answered; raises `NotOneCluster`."""
        nodes = self.core.nodes
        while not (nodes.is_known(url) and nodes.has_asked_all()):
            mistakes = nodes.mistakes
            if not nodes.is_known(url):
                refused = yield from self._probe(url, self.ends_at)
                if refused is not None:
                    return refused
            others = nodes.others(url)
            # All of them together leave half of the time for the call itself.
            seconds = self.left() / (2 * len(others) or 1)
            for other in others:
                # One that is down is asked again before it is used.
                yield from self._probe(other, time.monotonic() + seconds)
            if nodes.end(mistakes):
                break
        return None

    def _send(self, url: str, path: str, body: bytes, headers: Mapping[str, str], ends_at: float) -> Send:
        return Send(self.core.request(url, path, body, headers, ends_at))

    def _probe(self, url: str, ends_at: float) -> Generator[Send, TryEnd | None, TryEnd | None]:
        """Asks a server for its cluster: only a node knows the header. Returns the end of the try if it
        failed; raises `NotOneCluster`."""
        for path, body in _PROBES:
            end = yield self._send(url, path, body, {"Jeton-Read": "probe"}, ends_at)
            if not isinstance(end, HttpAnswer):
                return end
            error = failure(end)
            field = error.field if isinstance(error, BadRequest) else None
            if field == "Jeton-Read":
                cluster = end.headers.get("jeton-cluster")
                if cluster is None:
                    self._refuse(_NOT_STATED)
                if not self.core.nodes.learn(url, cluster):
                    self._refuse(_NOT_ONE)
                return None
            if end.status < 300 or field == "name":
                self._refuse(_NOT_ALONE)
            if end.status == 403:
                continue  # The key lacks this scope; it may have that of another operation.
            return end
        return None  # The key may do nothing, which the operation itself will say.

    def _refuse(self, message: str) -> NoReturn:
        self.core.nodes.forget()
        self._fail(NotOneCluster(message))

    def _note_position(self, answer: HttpAnswer) -> None:
        if self.operation.is_change and "jeton-position" in answer.headers:
            self.core.note_position(answer.headers["jeton-position"])

    def _success(self, answer: HttpAnswer) -> Any:
        try:
            value = read_answer(self.operation, answer.body)
        except UnexpectedAnswer as error:
            self._note(self.operation.is_change, error)
            self._fail(error)
        doubt = self.operation.doubt(value)
        if doubt is not None:
            self._note(True, doubt)
            self._fail(doubt)
        if self.doubt is not None:
            unknown = self.operation.unsettled(value)
            if unknown is not None:
                unknown.key = self.key
                raise unknown
        return value

    def _error(self, end: TryEnd, is_own: bool) -> JetonError:
        is_change = self.operation.is_change and is_own
        if isinstance(end, HttpAnswer):
            error = failure(end)
            assert error is not None
            self._note(is_change and is_perhaps_done(error), error)
            return error
        if isinstance(end, Closed):
            closed = ClientClosed("the client was closed")
            self._note(is_change and end.is_sent, closed)
            return closed
        failed: JetonError
        if end is Lost.TOO_LARGE:
            failed = AnswerTooLarge("the answer is longer than answer_max_bytes")
        elif self.left() <= 0:
            failed = DeadlineExceeded("the deadline of the call has passed")
        elif isinstance(end, NotSent):
            failed = NoConnection(f"no connection could be opened: {end.reason}")
        else:
            failed = NoAnswer(end.value)
        self._note(is_change and not isinstance(end, NotSent), failed)
        return failed

    def _note(self, may_be_done: bool, error: JetonError) -> None:
        """Notes after which error the change may have happened."""
        if may_be_done:
            self.doubt = error

    def _finds_new_key(
        self, error: JetonError, asked_with: str | None
    ) -> Generator[Sleep, TryEnd | None, bool]:
        """After a 401: whether the key file has another key. Once for each call, and for as long as it
        lasts: a file on a mount that hangs is never read."""
        if not isinstance(error, AnswerError) or error.status != 401 or self.has_read_key:
            return False
        self.has_read_key = True
        keys = self.core.keys
        reader = keys.read_again(asked_with)
        wait = KEY_LOOK_FIRST
        while reader is not None and reader.is_alive() and self.left() > 0:
            begun = time.monotonic()
            yield Sleep(wait)
            if time.monotonic() - begun < wait / 2:
                # Only the close of the client ends a wait early, and the next try raises its error.
                return True
            wait = min(2 * wait, KEY_LOOK_MAX)
        return keys.key != asked_with

    def _wait(self, error: JetonError, end: TryEnd, retries: int) -> float | None:
        """Seconds until the next try; None if there is none."""
        is_retried = (
            error.status in RETRIED
            if isinstance(error, AnswerError)
            else isinstance(error, (NoConnection, NoAnswer))
        )
        if not is_retried or retries >= RETRIES_MAX:
            return None
        if self.doubt is not None and not self.operation.is_repeatable:
            return None
        wait = 0.0
        if end is not Lost.KEPT_DIED:
            wait = random.uniform(0.0, min(BACKOFF_MAX, BACKOFF_FIRST * 2**retries))
        if isinstance(error, AnswerError) and error.retry_after is not None:
            wait = max(wait, error.retry_after)
        return wait if wait < self.left() else None

    def _fail(self, error: JetonError) -> NoReturn:
        """Raises the error, or `OutcomeUnknown` with the key if the change may have happened."""
        if self.doubt is None:
            raise error from None
        # A later refusal says only that it changed nothing itself.
        cause = self.doubt if isinstance(error, AnswerError) else error
        message = f"the outcome of the {self.operation.name} is unknown: {cause}"
        raise OutcomeUnknown(message, key=self.key) from cause


def _is_of_node(end: TryEnd, error: JetonError) -> bool:
    """Whether another node may do better: the next call asks that one, whatever becomes of this call."""
    if isinstance(error, AnswerError):
        return error.status in RETRIED
    return isinstance(end, NotSent) or (isinstance(end, Lost) and end is not Lost.TOO_LARGE)
