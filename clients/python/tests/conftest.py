"""A server for the tests: `JETON` is the path of the program."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@contextmanager
def serving(folder: Path, *flags: str) -> Iterator[str]:
    """The URL of a server with these flags."""
    program = os.environ.get("JETON", str(ROOT / "target/debug/jeton"))
    places = "--memory-only --workers 1 --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0"
    process = subprocess.Popen(
        [program, "serve", *places.split(), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
    )
    try:
        assert process.stdout is not None
        ready = re.search(r"data=(https?://\S+)", process.stdout.readline().decode())
        assert ready is not None, "the server did not start"
        yield ready[1]
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server without keys."""
    with serving(tmp_path_factory.mktemp("server")) as url:
        yield url
