"""What goes in and what comes out. No `repr` shows a token or a payload."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias

from ._errors import InvalidArgument, MalformedToken

_TOKEN = re.compile(r"[A-Za-z0-9_-]{32}")
_AMOUNT = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")

ORDER_NUMBER_MAX: Final = 128
NAME_MAX: Final = 512
AMOUNT_DIGITS_MAX: Final = 38


class Payload:
    """What a token stands for, byte for byte as it was stored."""

    __slots__ = ("raw",)

    raw: Final[bytes]
    """The bytes. `json()` reads them; only they keep `1.10` apart from `1.1`."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def json(self, **options: Any) -> Any:
        """The value of the bytes as JSON; `options` are those of `json.loads`, such as
        `parse_float=decimal.Decimal`.

        Raises `ValueError` for a payload that is not JSON, which only the Redis protocol can store."""
        return json.loads(self.raw, **options)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Payload) and other.raw == self.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"<Payload of {len(self.raw)} bytes>"


@dataclass(frozen=True, slots=True)
class Issued:
    """A token that was issued."""

    token: str = field(repr=False)
    """32 characters of base64url. The server does not store it."""
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of a living token without its payload."""

    expires_at: datetime
    uses_left: int
    size: int
    """Size of the payload in bytes."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Identifies an order by one, two or three fields; it stands wherever a token can."""

    order_number: str | None = field(default=None, repr=False)
    """1 to 128 bytes, without control characters."""
    created_at: datetime | str | None = field(default=None, repr=False)
    """An aware `datetime`, or a text of RFC 3339."""
    amount: Decimal | int | str | None = field(default=None, repr=False)
    """A decimal number of at most 38 digits. Not a float: `0.1` is none."""

    def to_json(self) -> dict[str, str]:
        """The members of the reference. Raises `MalformedToken`."""
        members = {
            "order_number": self._order_number(),
            "created_at": self._created_at(),
            "amount": self._amount(),
        }
        given = {name: value for name, value in members.items() if value is not None}
        if not given:
            raise MalformedToken("reference: at least one field is needed")
        return given

    def _order_number(self) -> str | None:
        number = self.order_number
        if number is None:
            return None
        if not isinstance(number, str) or _CONTROLS.search(number):
            raise MalformedToken("order_number: must be text without control characters")
        _check_len("order_number", number, ORDER_NUMBER_MAX)
        return number

    def _created_at(self) -> str | None:
        at = self.created_at
        if isinstance(at, datetime):
            if at.utcoffset() is None:
                raise MalformedToken("created_at: must have a time zone")
            return at.isoformat()
        if at is not None and not isinstance(at, str):
            raise MalformedToken("created_at: must be a datetime or a text of RFC 3339")
        return at

    def _amount(self) -> str | None:
        amount = self.amount
        if amount is None:
            return None
        if isinstance(amount, bool) or not isinstance(amount, (Decimal, int, str)):
            raise MalformedToken("amount: must be a Decimal, an int or a text; floats are not exact")
        text = format(amount, "f") if isinstance(amount, Decimal) else str(amount)
        if not _AMOUNT.fullmatch(text) or sum(map(str.isdigit, text)) > AMOUNT_DIGITS_MAX:
            raise MalformedToken(f"amount: must be a decimal number of at most {AMOUNT_DIGITS_MAX} digits")
        return text


@dataclass(frozen=True, slots=True)
class Name:
    """A token that its issuer chose, 1 to 512 bytes; it stands wherever a token can."""

    name: str = field(repr=False)


Target: TypeAlias = str | Reference | Name
"""A token as its text, a reference, or a name."""


@dataclass(frozen=True, slots=True)
class AtLeast:
    """A read level: the answer knows everything up to a position of the cluster."""

    position: str


Read: TypeAlias = Literal["local", "linear"] | AtLeast
"""How fresh the answer of a cluster must be. A single server ignores it."""

Ttl: TypeAlias = str | int | float
"""A duration such as `"15m"`, or a number of seconds."""


@dataclass(frozen=True, slots=True)
class Item:
    """One token of `issue_batch`."""

    payload: Any = field(repr=False)
    """Any value of JSON but None, or its text as `bytes`, which is sent and stored as it stands."""
    ttl: Ttl | None = None
    uses: int | None = None
    peek: bool | None = None
    reference: Reference | None = None


def check_target(target: Target) -> str | dict[str, Any]:
    """The target as a list of the API has it. Raises `MalformedToken`."""
    match target:
        case str():
            if not _TOKEN.fullmatch(target):
                raise MalformedToken("token: must be 32 characters of base64url")
            return target
        case Reference():
            return {"reference": target.to_json()}
        case Name(name):
            if not isinstance(name, str):
                raise MalformedToken("name: must be text")
            _check_len("name", name, NAME_MAX)
            return {"name": name}
        case _:
            raise MalformedToken("token: must be a str, a Reference or a Name")


def _check_len(field_name: str, text: str, maximum: int) -> None:
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        raise MalformedToken(f"{field_name}: must not contain unpaired surrogates") from None
    if not 1 <= length <= maximum:
        raise MalformedToken(f"{field_name}: must have 1 to {maximum} bytes")


def read_headers(read: Read | None) -> tuple[tuple[str, str], ...]:
    """The headers of a read level."""
    match read:
        case None | "local":
            return ()
        case "linear":
            return (("Jeton-Read", "linear"),)
        case AtLeast(position) if position.isascii() and position.isprintable() and position:
            return (("Jeton-At-Least", position),)
        case _:
            raise InvalidArgument('read: must be "local", "linear" or AtLeast(position)')


def member(value: Any, name: str, kind: type) -> Any:
    """A member of an object of an answer. Raises `ValueError`."""
    found = value[name] if isinstance(value, Mapping) and name in value else None
    if not isinstance(found, kind) or isinstance(found, bool):
        raise ValueError(f"{name} is missing")
    return found
