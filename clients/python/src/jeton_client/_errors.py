"""The errors of the client. No message contains a token, a payload or a key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._types import Payload


class JetonError(Exception):
    """Any error of this package."""


class InvalidArgument(JetonError, ValueError):
    """An argument is out of its limits. Nothing was sent."""


class MalformedToken(InvalidArgument):
    """A token, reference or name has a form that no token can have. Nothing was sent."""


class MisuseError(JetonError, RuntimeError):
    """The client is used in another process or event loop than its own, or after it was closed."""


class WrongProcess(MisuseError):
    """The client was made in another process. Make a new one after a fork."""


class WrongEventLoop(MisuseError):
    """The client belongs to another event loop. Make one client for each loop."""


class ClientClosed(MisuseError):
    """The client was closed."""


class NotOneCluster(JetonError):
    """Several URLs were given, and the servers are not nodes of one cluster.

    Servers that share nothing would consume a token once each."""


class NoConnection(JetonError):
    """No connection could be opened. Nothing was sent."""


class NoAnswer(JetonError):
    """A request was sent, and no complete answer came. Of a read only: it changed nothing."""


class DeadlineExceeded(JetonError, TimeoutError):
    """The deadline of the call has passed. Of a read, or before anything was sent."""


class AnswerTooLarge(JetonError):
    """The answer is longer than `answer_max_bytes`."""


class UnexpectedAnswer(JetonError):
    """The answer is a success, but not what the operation returns. Is this URL a jeton server?"""


class OutcomeUnknown(JetonError):
    """A change may have happened: an answer was lost, and no later try settled the question.

    Repeat the call with the same `key`: a change that happened is not made again, and its answer
    is returned. The payload of a consume is kept under its key until the token's deadline. A refusal
    of the repeated call, such as `read-only`, settles nothing: the key stays the one to use.

    `__cause__` is the last error, without later refusals: they say only that they changed nothing
    themselves."""

    key: str | None
    """The Idempotency-Key of the call. None for a call that may be repeated without one (an issue
    with a reference, which is itself the key; extend; revoke), and for a put, whose repetition could
    bring back what was consumed meanwhile."""

    results: Sequence[Payload | None] | None
    """Of `consume_many`: the payloads that are known, in the order of the call."""

    def __init__(
        self,
        message: str,
        *,
        key: str | None = None,
        results: Sequence[Payload | None] | None = None,
    ) -> None:
        super().__init__(message)
        self.key = key
        self.results = results


class AnswerError(JetonError):
    """The server, or something in between, answered with a failure."""

    status: int
    """Status of the answer."""

    retry_after: float | None
    """Seconds to wait before a retry, if the answer states them."""

    def __init__(self, message: str, *, status: int, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class GatewayError(AnswerError):
    """An answer that is no problem document of jeton: a gateway's HTML, or a redirect, which is
    never followed."""


class ApiError(AnswerError):
    """A problem document (RFC 9457) of the server."""

    title: str
    detail: str
    field: str | None
    """The field of the request that the problem concerns."""

    def __init__(
        self,
        *,
        status: int,
        title: str,
        detail: str,
        field: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{status} {title}: {detail}", status=status, retry_after=retry_after)
        self.title = title
        self.detail = detail
        self.field = field


class NotFound(ApiError):
    """The token is unknown, expired, consumed, revoked, somebody else's, or cannot be resolved."""

    def __init__(
        self,
        *,
        status: int = 404,
        title: str = "Not Found",
        detail: str = "unknown token",
        field: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(status=status, title=title, detail=detail, field=field, retry_after=retry_after)


class BadRequest(ApiError):
    """400: the request is malformed."""


class Unauthorized(ApiError):
    """401: the key is missing, unknown, expired or revoked."""


class Forbidden(ApiError):
    """403: the key lacks the scope."""


class MethodNotAllowed(ApiError):
    """405: the path does not have this method. Is the server older than the client?"""


class RequestTimeout(ApiError):
    """408: head or body took too long."""


class Conflict(ApiError):
    """409: the reference or key was issued with other content, or its token was consumed."""


class PreconditionFailed(ApiError):
    """412: a token is under the name of a put with `if_absent`, or the position of `AtLeast` is of an
    earlier stream of the cluster."""


class ContentTooLarge(ApiError):
    """413: the body or a payload is too long."""


class UnsupportedMediaType(ApiError):
    """415: the content type is not accepted."""


class OutOfLimits(ApiError):
    """422: a value is out of its limits. `field` names it."""


class TooManyRequests(ApiError):
    """429: too many issues of the namespace, or too many misses of the client."""


class HeadTooLong(ApiError):
    """431: the head of the request is too long."""


class InternalError(ApiError):
    """500: an internal error of the server. Nothing was changed."""


class Unavailable(ApiError):
    """503: recovering, read-only, stopping or overloaded. In a cluster `reason` says more."""

    @property
    def reason(self) -> str | None:
        """`stale`, `no-quorum`, `stream-full`, `unknown` or `behind`, in a cluster."""
        word = self.detail.split(":", 1)[0].split(" ", 1)[0]
        return word if word in _REASONS else None


class StorageFull(ApiError):
    """507: memory, quota or disk is full."""


_REASONS = frozenset({"stale", "no-quorum", "stream-full", "unknown", "behind"})

_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    408: RequestTimeout,
    409: Conflict,
    412: PreconditionFailed,
    413: ContentTooLarge,
    415: UnsupportedMediaType,
    422: OutOfLimits,
    429: TooManyRequests,
    431: HeadTooLong,
    500: InternalError,
    503: Unavailable,
    507: StorageFull,
}


def problem_error(status: int, problem: Any, retry_after: float | None) -> ApiError | None:
    """The error of a problem document; None if `problem` is none."""
    if not isinstance(problem, dict) or problem.get("status") != status:
        return None
    title, detail, field = (problem.get(name) for name in ("title", "detail", "field"))
    if not isinstance(title, str) or not isinstance(detail, str):
        return None
    return _BY_STATUS.get(status, ApiError)(
        status=status,
        title=title,
        detail=detail,
        field=field if isinstance(field, str) else None,
        retry_after=retry_after,
    )


def is_perhaps_done(error: JetonError) -> bool:
    """Whether the change that got this answer may have happened: a request that passed a gateway may have
    reached the server, a failed sync may have written the change, and of a list a part may be done."""
    if isinstance(error, GatewayError):
        return error.status >= 500 or error.status == 408
    if not isinstance(error, ApiError) or error.status not in (503, 507):
        return False
    return error.detail.startswith("unknown:") or "others may have been" in error.detail


def copied(error: JetonError) -> JetonError:
    """The same error for another caller: one instance raised twice would collect both tracebacks."""
    other = type(error).__new__(type(error), *error.args)
    other.__dict__.update(error.__dict__)
    other.__cause__ = error.__cause__
    return other
