"""The examples of README.md run, in their order, against a server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_example(number: int, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jeton.key").write_text("a-key-that-a-server-without-keys-ignores\n")
    code = EXAMPLES[number].replace("http://127.0.0.1:7450", url)
    exec(compile(code, f"README.md, example {number + 1}", "exec"), {"__name__": "__main__"})


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5
