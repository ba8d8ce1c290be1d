"""The operations: what each sends, and how its answer is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from ._errors import (
    ApiError,
    InvalidArgument,
    JetonError,
    NotFound,
    OutcomeUnknown,
    UnexpectedAnswer,
    copied,
    is_perhaps_done,
    problem_error,
)
from ._json import dumps, payload_text, split_array
from ._types import (
    Issued,
    Item,
    Name,
    Payload,
    Read,
    Status,
    Target,
    Ttl,
    check_target,
    member,
    read_headers,
)

T = TypeVar("T")

KEY_MAX = 255


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """One call, ready to be sent."""

    name: str
    """As messages have it."""
    path: str
    body: bytes = field(repr=False)
    read: Callable[[bytes], T]
    """Reads the body of a success. Raises `ValueError` if it is not what the operation returns."""
    is_change: bool
    is_keyed: bool = False
    """Carries an Idempotency-Key."""
    key: str | None = field(default=None, repr=False)
    """The caller's Idempotency-Key."""
    is_repeatable: bool = True
    """Whether it may be sent again although an earlier try may have reached the server."""
    headers: tuple[tuple[str, str], ...] = ()
    doubt: Callable[[T], JetonError | None] = lambda _value: None
    """The error of an item whose change may have happened all the same."""
    unsettled: Callable[[T], OutcomeUnknown | None] = lambda _value: None
    """After a lost answer: the error if this answer does not settle what happened."""


def read_answer(operation: Operation[T], body: bytes) -> T:
    """The result in a successful answer. Raises `UnexpectedAnswer`."""
    try:
        return operation.read(body)
    except (ValueError, RecursionError):
        # Not chained: the original error may contain a part of the answer.
        message = f"the answer to the {operation.name} is not one of jeton"
        raise UnexpectedAnswer(message) from None


def _key(key: str | None) -> str | None:
    if key is None:
        return None
    if not (1 <= len(key) <= KEY_MAX and key.isascii() and key.isprintable() and key == key.strip()):
        raise InvalidArgument(f"key: must have 1 to {KEY_MAX} printable ASCII characters")
    return key


def _ttl(ttl: Ttl) -> bytes:
    if isinstance(ttl, bool) or not isinstance(ttl, (str, int, float)):
        raise InvalidArgument("ttl: must be a duration such as '15m', or a number of seconds")
    return dumps("ttl", ttl)


def _issue_body(item: Item) -> bytes:
    parts = [b'"payload":' + payload_text(item.payload)]
    if item.ttl is not None:
        parts.append(b'"ttl":' + _ttl(item.ttl))
    if item.uses is not None:
        parts.append(b'"uses":' + dumps("uses", item.uses))
    if item.peek is not None:
        parts.append(b'"peek":' + dumps("peek", item.peek))
    if item.reference is not None:
        parts.append(b'"reference":' + dumps("reference", item.reference.to_json()))
    return b"{" + b",".join(parts) + b"}"


def issue(item: Item, key: str | None) -> Operation[Issued]:
    """`POST /v1/tokens`. A reference is itself the key."""
    if item.reference is not None and key is not None:
        raise InvalidArgument("key: a token with a reference has no key; the reference is the key")
    return Operation(
        name="issue",
        path="/v1/tokens",
        body=_issue_body(item),
        read=lambda body: _issued(json.loads(body)),
        is_change=True,
        is_keyed=item.reference is None,
        key=_key(key),
    )


def issue_batch(items: Sequence[Item], key: str | None) -> Operation[list[Issued | ApiError]]:
    """`POST /v1/tokens/batch`."""
    has_reference = any(item.reference is not None for item in items)
    if has_reference and key is not None:
        raise InvalidArgument("key: a token with a reference has no key; the reference is the key")
    if has_reference and not all(item.reference is not None for item in items):
        raise InvalidArgument("items: all with a reference or all without one; send two batches")

    def doubt(results: list[Issued | ApiError]) -> ApiError | None:
        errors = (result for result in results if isinstance(result, ApiError))
        return next(filter(is_perhaps_done, errors), None)

    def read(body: bytes) -> list[Issued | ApiError]:
        results = member(json.loads(body), "results", list)
        if len(results) != len(items):
            raise ValueError("results are missing")
        return [_issued_or_error(result) for result in results]

    return Operation(
        name="issue batch",
        path="/v1/tokens/batch",
        body=b'{"tokens":[' + b",".join(map(_issue_body, items)) + b"]}",
        read=read,
        is_change=True,
        is_keyed=not has_reference,
        key=_key(key),
        doubt=doubt,
    )


def _time(value: Any) -> datetime:
    return datetime.fromisoformat(member(value, "expires_at", str))


def _issued(value: Any) -> Issued:
    return Issued(token=member(value, "token", str), expires_at=_time(value))


def _issued_or_error(value: Any) -> Issued | ApiError:
    if isinstance(value, dict) and "error" in value:
        problem = member(value, "error", dict)
        error = problem_error(member(problem, "status", int), problem, None)
        if error is None:
            raise ValueError("not a problem")
        return error
    return _issued(value)


def put(name: Name | str, item: Item, if_absent: bool) -> Operation[datetime]:
    """`POST /v1/names`. Never sent twice: the second one could bring back what was consumed after the
    first."""
    checked = check_target(name if isinstance(name, Name) else Name(name))
    assert isinstance(checked, dict)
    return Operation(
        name="put",
        path="/v1/names",
        body=b'{"name":' + dumps("name", checked["name"]) + b"," + _issue_body(item)[1:],
        read=lambda body: _time(json.loads(body)),
        is_change=True,
        is_repeatable=False,
        headers=(("If-None-Match", "*"),) if if_absent else (),
    )


def list_body(targets: Sequence[str | dict[str, Any]], ttl: Ttl | None = None) -> bytes:
    """The body of an operation on a list."""
    body = b'{"tokens":' + dumps("tokens", list(targets))
    return body + (b"}" if ttl is None else b',"ttl":' + _ttl(ttl) + b"}")


def _payloads(body: bytes, count: int) -> list[Payload | None]:
    texts = split_array(body)
    if len(texts) != count:
        raise ValueError("items are missing")
    return [None if text == b"null" else Payload(text) for text in texts]


def resolve(targets: Sequence[str | dict[str, Any]], read: Read | None) -> Operation[list[Payload | None]]:
    """`POST /v1/resolve`, of checked targets."""
    count = len(targets)
    return Operation(
        name="resolve",
        path="/v1/resolve",
        body=list_body(targets),
        read=lambda body: _payloads(body, count),
        is_change=False,
        headers=read_headers(read),
    )


def consume(targets: Sequence[Target], key: str | None) -> Operation[list[Payload | None]]:
    """`POST /v1/consume`."""
    checked = list(map(check_target, targets))

    def unsettled(payloads: list[Payload | None]) -> OutcomeUnknown | None:
        if None not in payloads:
            return None
        message = "an answer was lost, and a later try did not find the token: it may be consumed"
        return OutcomeUnknown(message, results=payloads)

    return Operation(
        name="consume",
        path="/v1/consume",
        body=list_body(checked),
        read=lambda body: _payloads(body, len(checked)),
        is_change=True,
        is_keyed=True,
        key=_key(key),
        unsettled=unsettled,
    )


def _optionals(body: bytes, count: int, read: Callable[[Any], T]) -> list[T | None]:
    values = json.loads(body)
    if not isinstance(values, list) or len(values) != count:
        raise ValueError("items are missing")
    return [None if value is None else read(value) for value in values]


def status(targets: Sequence[Target], read: Read | None) -> Operation[list[Status | None]]:
    """`POST /v1/status`."""
    checked = list(map(check_target, targets))

    def one(value: Any) -> Status:
        uses_left, size = member(value, "uses_left", int), member(value, "size", int)
        return Status(expires_at=_time(value), uses_left=uses_left, size=size)

    return Operation(
        name="status",
        path="/v1/status",
        body=list_body(checked),
        read=lambda body: _optionals(body, len(checked), one),
        is_change=False,
        headers=read_headers(read),
    )


def extend(targets: Sequence[Target], ttl: Ttl) -> Operation[list[datetime | None]]:
    """`POST /v1/extend`."""
    checked = list(map(check_target, targets))

    return Operation(
        name="extend",
        path="/v1/extend",
        body=list_body(checked, ttl),
        read=lambda body: _optionals(body, len(checked), _time),
        is_change=True,
    )


def revoke(targets: Sequence[Target]) -> Operation[None]:
    """`POST /v1/revoke`."""

    def read(body: bytes) -> None:
        if body:
            raise ValueError("a body was not expected")

    checked = list(map(check_target, targets))
    return Operation(name="revoke", path="/v1/revoke", body=list_body(checked), read=read, is_change=True)


def found(payload: Payload | None) -> Payload:
    """The payload. Raises `NotFound`."""
    if payload is None:
        raise NotFound()
    return payload


def settled(outcome: Payload | JetonError | None) -> Payload | None:
    """What came of one target of a batch. Raises its error."""
    if isinstance(outcome, JetonError):
        raise copied(outcome)
    return outcome
