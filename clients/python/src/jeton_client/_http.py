"""Requests and answers, without a connection: what a shell sends, and what it brings back."""

from __future__ import annotations

import enum
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from ._errors import ApiError, GatewayError, problem_error


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One try."""

    origin: str
    """`http://HOST:PORT`."""
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    timeout: float
    """Seconds for the whole try, once there is room for another connection."""
    ends_at: float
    """When the call ends, of the monotonic clock. A wait for room ends then too."""
    answer_max_bytes: int

    @property
    def url(self) -> str:
        """Where it goes."""
        return self.origin + self.path

    def left(self) -> float:
        """Seconds that are left of the call."""
        return max(0.0, self.ends_at - time.monotonic())

    def try_seconds(self) -> float:
        """Seconds for a try that begins now: at least a moment, to end as a try does."""
        return max(0.001, min(self.timeout, self.left()))


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A complete answer."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""
    body: bytes = field(repr=False)


class Lost(enum.Enum):
    """How a try ended without a complete answer."""

    KEPT_DIED = "the connection ended before an answer"
    """A kept connection, before a byte of the answer: the server may have closed it long ago."""
    NO_ANSWER = "the connection ended before the answer was complete"
    TIMEOUT = "no answer came in time"
    TOO_LARGE = "the answer is too long"


@dataclass(frozen=True, slots=True)
class NotSent:
    """A try that ended before anything was sent."""

    reason: str


@dataclass(frozen=True, slots=True)
class Closed:
    """A try that ended because the client was closed."""

    is_sent: bool
    """Whether a part of the request was sent: the server may perform it."""


TryEnd = HttpAnswer | Lost | NotSent | Closed


@dataclass(slots=True)
class Progress:
    """What the trace of a try has shown."""

    is_connected_anew: bool = False
    is_sent: bool = False
    is_answered: bool = False

    def note(self, event: str) -> None:
        """Takes an event of the HTTP library's trace."""
        match event:
            case "connection.connect_tcp.started" | "connection.connect_unix_socket.started":
                self.is_connected_anew = True
            case "http11.send_request_headers.started":
                self.is_sent = True
            case "http11.receive_response_headers.complete":
                self.is_answered = True

    def lost(self, error: Exception, *, is_timeout: bool) -> Lost | NotSent:
        """What a failure means after this progress."""
        if not self.is_sent:
            return NotSent("it took too long" if is_timeout else str(error) or type(error).__name__)
        if is_timeout:
            return Lost.TIMEOUT
        if self.is_connected_anew or self.is_answered:
            return Lost.NO_ANSWER
        return Lost.KEPT_DIED


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds of `Retry-After`: a number of seconds or an HTTP date. None without a valid one."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())
    except (ValueError, OverflowError):
        return None


def failure(answer: HttpAnswer) -> ApiError | GatewayError | None:
    """The error of an answer; None for a success."""
    if 200 <= answer.status < 300:
        return None
    wait = retry_after(answer.headers)
    if answer.headers.get("content-type", "").split(";")[0].strip() == "application/problem+json":
        error = problem_error(answer.status, _json(answer.body), wait)
        if error is not None:
            return error
    if 300 <= answer.status < 400:
        message = f"{answer.status}: a redirect, which is not followed"
    else:
        message = f"{answer.status}: the answer is not from jeton; something in between answered"
    return GatewayError(message, status=answer.status, retry_after=wait)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
