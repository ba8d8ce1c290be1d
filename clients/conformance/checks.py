"""Comparisons of results and requests with what a case expects."""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Iterable
from typing import Any

from proxy import Arrived

PATHS = {
    "/v1/tokens",
    "/v1/tokens/batch",
    "/v1/names",
    "/v1/resolve",
    "/v1/consume",
    "/v1/status",
    "/v1/extend",
    "/v1/revoke",
}


class Failed(Exception):
    """The client does not do what the case expects."""


def expect(wanted: dict[str, Any], result: dict[str, Any], what: str) -> None:
    """Compares a result of the driver. Without anything wanted it must be a success."""
    wanted = dict(wanted)
    kinds = wanted.pop("error", None)
    if kinds is not None:
        kinds = kinds if isinstance(kinds, list) else [kinds]
        found = result.get("error", {})
        if found.get("kind") not in kinds:
            raise Failed(f"{what}: wanted the error {' or '.join(kinds)}, got {result}")
        if wanted.pop("has_key", False) and not found.get("key"):
            raise Failed(f"{what}: the error has no key")
        said = wanted.pop("text_has", "")
        if said not in found.get("text", ""):
            raise Failed(f"{what}: {said!r} is not in the error's text, {found.get('text')!r}")
    else:
        if "ok" not in result:
            raise Failed(f"{what}: wanted a success, got {result}")
        found = result["ok"]
    decoded = {name: _decoded(name, value) for name, value in found.items()}
    for name, value in wanted.items():
        if not _matches(value, decoded.get(name)):
            raise Failed(f"{what}: wanted {name} = {value!r}, got {decoded.get(name)!r}")


def _decoded(name: str, value: Any) -> Any:
    if name == "raw" and isinstance(value, str):
        return base64.b64decode(value).decode()
    if name == "raws" and isinstance(value, list):
        return [None if item is None else base64.b64decode(item).decode() for item in value]
    return value


def _matches(wanted: Any, found: Any) -> bool:
    """Whether every member that is wanted is there."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(_matches(value, found.get(name)) for name, value in wanted.items())
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(_matches, wanted, found))
    return bool(wanted == found) or wanted == "*"


def check_secrets(results: Iterable[dict[str, Any]], secrets: Iterable[str]) -> None:
    """No message may contain a token, a payload or a key."""
    texts = [str(result["error"].get("text", "")) for result in results if "error" in result]
    whole = "\n".join(texts)
    if any(secret in whole for secret in secrets):
        raise Failed("a message contains a token or a key")
    if "secret" in whole:
        raise Failed("a message contains a payload (payloads that must not be seen have the word secret)")


def check_requests(wanted: dict[str, Any], arrived: list[Arrived]) -> None:
    """Compares the requests with what a case expects, and with what holds for all."""
    for request in arrived:
        _check_one(request)
    for name, value in wanted.items():
        check = _CHECKS.get(name)
        if check is None:
            raise Failed(f"an unknown comparison of requests: {name}")
        message = check(value, arrived)
        if message:
            raise Failed(f"requests: {message}")


def _check_one(request: Arrived) -> None:
    if request.method != "POST" or request.path not in PATHS:
        raise Failed("requests: one is not a POST form, or has something in its URL")
    if "host" not in request.headers:
        raise Failed("requests: one has no Host")
    kind = request.headers.get("content-type", "")
    if not re.fullmatch(r"application/json(; ?charset=utf-8)?", kind, re.IGNORECASE):
        raise Failed(f"requests: one has the content type {kind!r}")


def _values(name: str, arrived: list[Arrived]) -> list[str | None]:
    return [request.headers.get(name) for request in arrived]


def _count(wanted: int, arrived: list[Arrived]) -> str:
    return "" if len(arrived) == wanted else f"wanted {wanted}, got {len(arrived)}"


def _count_at_most(wanted: int, arrived: list[Arrived]) -> str:
    return "" if len(arrived) <= wanted else f"wanted at most {wanted}, got {len(arrived)}"


def _paths(wanted: list[str], arrived: list[Arrived]) -> str:
    found = [request.path for request in arrived]
    return "" if found == wanted else f"wanted the paths {wanted}, got {found}"


def _path(wanted: str, arrived: list[Arrived]) -> str:
    return _paths([wanted] * len(arrived), arrived)


def _same(names: list[str], arrived: list[Arrived]) -> str:
    for name in names:
        found = set(_values(name, arrived))
        if len(found) != 1 or None in found:
            return f"{name} differs or is missing"
    return ""


def _different(names: list[str], arrived: list[Arrived]) -> str:
    for name in names:
        found = _values(name, arrived)
        if len(set(found)) != len(found) or None in found:
            return f"{name} is equal or missing"
    return ""


def _absent(names: list[str], arrived: list[Arrived]) -> str:
    present = [name for name in names if any(_values(name, arrived))]
    return f"{present} are there" if present else ""


def _present(wanted: dict[str, str], arrived: list[Arrived]) -> str:
    for name, value in wanted.items():
        if any(found is None or value not in ("*", found) for found in _values(name, arrived)):
            return f"{name} is not as wanted"
    return ""


def _lengths(arrived: list[Arrived]) -> list[int]:
    return [len(request.json()["tokens"]) for request in arrived]


def _tokens(wanted: list[int], arrived: list[Arrived]) -> str:
    found = _lengths(arrived)
    return "" if found == wanted else f"wanted {wanted} tokens, got {found}"


def _tokens_at_most(wanted: int, arrived: list[Arrived]) -> str:
    found = max(_lengths(arrived), default=0)
    return "" if found <= wanted else f"one has {found} tokens, wanted at most {wanted}"


def _apart(wanted: int, arrived: list[Arrived]) -> str:
    times = [request.at for request in arrived]
    gaps = [round((later - earlier) * 1000) for earlier, later in itertools.pairwise(times)]
    return "" if all(gap >= wanted for gap in gaps) else f"{gaps} ms apart, wanted at least {wanted}"


def _connections(wanted: int, arrived: list[Arrived]) -> str:
    found = len({request.connection for request in arrived})
    return "" if found == wanted else f"wanted {wanted} connections, got {found}"


def _connections_at_most(wanted: int, arrived: list[Arrived]) -> str:
    found = len({request.connection for request in arrived})
    return "" if found <= wanted else f"wanted at most {wanted} connections, got {found}"


def _bodies(wanted: list[Any], arrived: list[Arrived]) -> str:
    return "" if wanted == [request.json() for request in arrived] else "the bodies differ"


def _same_body(wanted: bool, arrived: list[Arrived]) -> str:
    return "" if (len({request.body for request in arrived}) == 1) == wanted else "the bodies differ"


_CHECKS = {
    "count": _count,
    "count_at_most": _count_at_most,
    "paths": _paths,
    "path": _path,
    "same": _same,
    "different": _different,
    "absent": _absent,
    "present": _present,
    "tokens": _tokens,
    "tokens_at_most": _tokens_at_most,
    "at_least_ms_apart": _apart,
    "connections": _connections,
    "connections_at_most": _connections_at_most,
    "bodies": _bodies,
    "same_body": _same_body,
}
