"""JSON texts as bytes: writing payloads, and cutting the items of an array out as they stand."""

from __future__ import annotations

import json
import re
from typing import Any

from ._errors import InvalidArgument

_SPACE = b" \t\r\n"
# A string, or a character that opens, closes or separates. Strings first: they hide the others.
_MARK = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},"]', re.DOTALL)


def dumps(name: str, value: Any) -> bytes:
    """The text of the field `name`, a value of JSON. Raises `InvalidArgument` for any other value."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        # The message of the original error may contain the value.
        raise InvalidArgument(f"{name}: is not a JSON value ({type(error).__name__})") from None


def payload_text(payload: Any) -> bytes:
    """The text of a payload. `bytes` are the text of a JSON value themselves."""
    if isinstance(payload, (bytes, bytearray, memoryview)):
        text = bytes(payload)
        _check_one_value(text)
        return text
    if payload is None:
        raise InvalidArgument("payload: must not be None")
    return dumps("payload", payload)


def _check_one_value(text: bytes) -> None:
    """The text becomes a part of a body, so it must be one whole value."""
    try:
        value = text.decode()
        if json.loads(value, parse_int=_ignore, parse_float=_ignore, parse_constant=_refuse) is None:
            raise InvalidArgument("payload: must not be null")
    except InvalidArgument:
        raise
    except (ValueError, RecursionError):
        raise InvalidArgument("payload: the bytes are not the text of one JSON value") from None


def _ignore(_text: str) -> int:
    return 0


def _refuse(_text: str) -> int:
    raise ValueError("NaN and Infinity are not JSON")


def split_array(text: bytes) -> list[bytes]:
    """The items of a JSON array, byte for byte, without white space around them.

    Does not judge what is within an item. Raises `ValueError` if `text` is no array."""
    text = text.strip(_SPACE)
    if text[:1] != b"[" or text[-1:] != b"]" or len(text) < 2:
        raise ValueError("not an array")
    items: list[bytes] = []
    depth, start, end = 0, 1, len(text) - 1
    for found in _MARK.finditer(text):
        first = text[found.start()]
        if first in b"[{":
            depth += 1
        elif first in b"]}":
            depth -= 1
            if depth < 0 or (depth == 0 and found.start() != end):
                raise ValueError("not one array")
        elif first == 0x2C and depth == 1:  # a comma
            items.append(text[start : found.start()].strip(_SPACE))
            start = found.end()
        elif found.group() == b'"':
            raise ValueError("a string does not end")
    if depth != 0:
        raise ValueError("an array does not end")
    last = text[start:end].strip(_SPACE)
    if last or items:
        items.append(last)
    if not all(items):
        raise ValueError("an item is missing")
    return items
