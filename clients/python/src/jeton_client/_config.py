"""The settings of a client, checked once."""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ._errors import InvalidArgument

_MIB: Final = 1024 * 1024
_NAME = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings. Times are seconds."""

    urls: tuple[str, ...]
    key: str | None = field(default=None, repr=False)
    key_file: Path | None = field(default=None, repr=False)
    deadline: float = 10.0
    try_timeout: float = 2.0
    coalesce: bool = True
    answer_max_bytes: int = 32 * _MIB
    connections_max: int = 100
    connection_age: float = 300.0
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    traceparent: Callable[[], str | None] | None = field(default=None, repr=False)


def configure(
    urls: str | Sequence[str],
    *,
    key: str | None,
    key_file: str | Path | None,
    deadline: float,
    try_timeout: float,
    coalesce: bool,
    answer_max_bytes: int,
    connections_max: int,
    connection_age: float,
    tls: ssl.SSLContext | None,
    traceparent: Callable[[], str | None] | None,
) -> Config:
    """Checks all settings. Raises `InvalidArgument` for the first that is out of its limits."""
    if key is not None and key_file is not None:
        raise InvalidArgument("key and key_file: give one of them")
    positive = {
        "deadline": deadline,
        "try_timeout": try_timeout,
        "answer_max_bytes": answer_max_bytes,
        "connections_max": connections_max,
        "connection_age": connection_age,
    }
    for name, value in positive.items():
        if not value > 0:
            raise InvalidArgument(f"{name}: must be more than 0")
    if connection_age > 300:
        raise InvalidArgument("connection_age: must be at most 300 s")
    return Config(
        urls=_origins(urls),
        key=None if key is None else check_key(key, "key"),
        key_file=None if key_file is None else Path(key_file),
        deadline=deadline,
        try_timeout=try_timeout,
        coalesce=coalesce,
        answer_max_bytes=answer_max_bytes,
        connections_max=connections_max,
        connection_age=connection_age,
        tls=tls,
        traceparent=traceparent,
    )


def _origins(urls: str | Sequence[str]) -> tuple[str, ...]:
    given = (urls,) if isinstance(urls, str) else tuple(urls)
    if not given:
        raise InvalidArgument("urls: at least one is needed")
    origins = tuple(map(_origin, given))
    if len(set(origins)) != len(origins):
        raise InvalidArgument("urls: one is given twice")
    return origins


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  raises for a wrong one
    except ValueError:
        raise InvalidArgument("urls: not a URL") from None
    if parts.username is not None or parts.password is not None:
        raise InvalidArgument("urls: must not contain a user or password; use key or key_file")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidArgument("urls: must be http://HOST:PORT or https://HOST:PORT")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise InvalidArgument("urls: must have no path, query or fragment")
    if not _is_host(parts.hostname) or ("[" in parts.netloc and ":" not in parts.hostname):
        raise InvalidArgument(
            "urls: the host must be a name of ASCII letters, digits, '-', '_' and '.', or an address"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + ("" if parts.port is None else f":{parts.port}")


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return len(host) <= 253 and _NAME.fullmatch(host) is not None
    return True


def check_key(key: str, name: str) -> str:
    """The key as a header can carry it. Raises `InvalidArgument`."""
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidArgument(f"{name}: must be a key that `jeton keys add` made")
    return key


def read_key_file(path: Path) -> str:
    """The key in a file. Raises `InvalidArgument` if it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"key_file: cannot be read ({type(error).__name__})") from None
    return check_key(text.strip(), "key_file")
