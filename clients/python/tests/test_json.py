"""Payloads as bytes: into bodies, and out of arrays."""

from __future__ import annotations

import json
import random

import pytest

from jeton_client import InvalidArgument
from jeton_client._json import dumps, payload_text, split_array


def test_items_come_out_as_they_stand() -> None:
    text = b' [ 1.10 , null,{"a":[ "],[" ,"\\"\\\\"]} ,"" , -0.0,[ ] ] \n'
    assert split_array(text) == [
        b"1.10", b"null", b'{"a":[ "],[" ,"\\"\\\\"]}', b'""', b"-0.0", b"[ ]",
    ]  # fmt: skip
    assert split_array(b"[]") == []
    assert split_array(b" [ ] ") == []


@pytest.mark.parametrize(
    "text",
    [b"", b"[", b"]", b"{}", b"[1", b"1]", b"[1]]", b"[[1]", b"[1][2]", b"[,]", b"[1,]", b"[,1]",
     b'["a]', b'["a\\"]', b"<html>", b"[1}{2]x", b"null", b"[}]"],
)  # fmt: skip
def test_what_is_no_array_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        split_array(text)


def test_any_array_is_split_as_a_parser_reads_it() -> None:
    seeded = random.Random(24)

    def value(depth: int) -> object:
        kind = seeded.randrange(7 if depth < 4 else 5)
        if kind == 5:
            return [value(depth + 1) for _ in range(seeded.randrange(4))]
        if kind == 6:
            return {text(): value(depth + 1) for _ in range(seeded.randrange(4))}
        return [None, True, seeded.randrange(-99, 99), text(), seeded.random()][kind]

    def text() -> str:
        return "".join(seeded.choice('"\\[]{},:a €\n') for _ in range(seeded.randrange(8)))

    for _ in range(2000):
        values = [value(0) for _ in range(seeded.randrange(6))]
        spaced = json.dumps(values, indent=seeded.choice([None, 1]), ensure_ascii=seeded.random() < 0.5)
        assert [json.loads(item) for item in split_array(spaced.encode())] == values


def test_deep_nesting_and_long_numbers_come_out_too() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    long = b"1" * 10_000
    assert split_array(b"[" + deep + b"," + long + b"]") == [deep, long]


def test_a_payload_is_one_whole_value() -> None:
    assert payload_text({"a": "€", "b": 1.5}) == '{"a":"€","b":1.5}'.encode()
    assert payload_text(b' {"a": 1.10} ') == b' {"a": 1.10} '
    assert payload_text(bytearray(b"1")) == b"1"
    for bad in [
        None, b"null", b"", b"1,2", b'1},"uses":9,"x":{', b"NaN", b"\xff", '"a"'.encode("utf-16"),
        float("nan"), {1, 2}, {"a": float("inf")}, "\ud800", b"\xef\xbb\xbf1",
    ]:  # fmt: skip
        with pytest.raises(InvalidArgument):
            payload_text(bad)
    nested: list[object] = []
    nested.append(nested)
    with pytest.raises(InvalidArgument):
        dumps("payload", nested)


def test_p9_a_refused_payload_is_not_in_the_message() -> None:
    for bad in [b'{"secret"', {"secret": {1}}, {"secret": float("nan")}]:
        with pytest.raises(InvalidArgument) as raised:
            payload_text(bad)
        assert "secret" not in str(raised.value)
        assert raised.value.__cause__ is None and raised.value.__suppress_context__
