"""What needs no server: settings, targets, retries, and the trace of a try."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from jeton_client import (
    AsyncClient,
    Client,
    InvalidArgument,
    Issued,
    Item,
    JetonError,
    MalformedToken,
    Name,
    OutcomeUnknown,
    Payload,
    Reference,
    Unavailable,
)  # fmt: skip
from jeton_client import _ops as ops
from jeton_client._call import BACKOFF_MAX, Budget, Core, Send, Sleep
from jeton_client._config import Config, configure
from jeton_client._errors import copied, problem_error
from jeton_client._http import HttpAnswer, Lost, NotSent, Progress, retry_after
from jeton_client._lanes import Lanes, Waiter
from jeton_client._types import check_target

SETTINGS: dict[str, Any] = {
    "key": None, "key_file": None, "deadline": 10.0, "try_timeout": 2.0, "coalesce": True,
    "answer_max_bytes": 1 << 20, "connections_max": 10, "connection_age": 300.0, "tls": None,
    "traceparent": None,
}  # fmt: skip
TOKEN = "A" * 32


def config(urls: Any = "http://127.0.0.1:1", **changes: Any) -> Config:
    return configure(urls, **{**SETTINGS, **changes})


@pytest.mark.parametrize(
    ("urls", "changes"),
    [
        ([], {}), ("ftp://a", {}), ("http://", {}), ("http://a/v1", {}), ("http://a?x=1", {}),
        ("http://user:pw@a", {}), ("http://a:99999", {}), (["http://a", "http://a"], {}),
        ("http://a", {"key": "a b"}), ("http://a", {"key": "k\n"}), ("http://a", {"key": ""}),
        ("http://a", {"key": "k", "key_file": "f"}), ("http://a", {"deadline": 0}),
        ("http://a", {"try_timeout": -1}), ("http://a", {"connection_age": 301}),
        ("http://a", {"answer_max_bytes": 0}), ("http://a", {"deadline": float("nan")}),
    ],
)  # fmt: skip
def test_a_setting_out_of_its_limits_is_refused(urls: Any, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as raised:
        config(urls, **changes)
    assert "pw" not in str(raised.value)


def test_p9_nothing_secret_is_shown() -> None:
    secret = "jk-SECRET"
    client, sync = AsyncClient("http://a", key=secret), Client("http://a", key=secret)
    shown = [client, sync, config(key=secret), Payload(b'"SECRET"'), Item("SECRET"), Name("SECRET"),
             Reference(order_number="SECRET"), Issued("SECRET", datetime.now(UTC))]  # fmt: skip
    for value in shown:
        assert "SECRET" not in f"{value!r} {value}"


def test_a_missing_key_file_is_a_clear_error() -> None:
    with pytest.raises(InvalidArgument, match="key_file: cannot be read"):
        Client("http://a", key_file="/does/not/exist")


def test_targets() -> None:
    assert check_target(TOKEN) == TOKEN
    assert check_target(Name("cart:7")) == {"name": "cart:7"}
    at = datetime(2010, 12, 1, 8, 26, tzinfo=UTC)
    reference = Reference("536365", created_at=at, amount=Decimal("1E+2"))
    assert check_target(reference) == {"reference": {
        "order_number": "536365", "created_at": "2010-12-01T08:26:00+00:00", "amount": "100",
    }}  # fmt: skip
    bad: list[Any] = [
        "x", TOKEN + "\n", TOKEN + "A", 7, None, Name(""), Name("é" * 257), Name("\ud800"), Reference(),
        Reference(order_number=""), Reference("a\x7f"), Reference("é" * 65), Reference(amount="1e3"),
        Reference(amount=1.5), Reference(amount=True), Reference(amount="1" * 39),  # type: ignore[arg-type]
        Reference(created_at=datetime(2010, 1, 1)), Reference(created_at=7),  # type: ignore[arg-type]
    ]  # fmt: skip
    for value in bad:
        with pytest.raises(MalformedToken):
            check_target(value)


def test_retry_after_is_seconds_or_a_date() -> None:
    now = datetime(2026, 11, 28, 6, 0, 0, tzinfo=UTC)
    wanted = {
        "": None, "soon": None, "-1": None, "7": 7.0, " 0 ": 0.0, "Sat, 28 Nov 2026 06:00:30 GMT": 30.0,
        "Saturday, 28-Nov-26 06:00:30 GMT": 30.0, "Thu, 01 Jan 1970 00:00:00 GMT": 0.0,
        "9" * 400: 999999999999.0, "\u0667": None,
    }  # fmt: skip
    for text, seconds in wanted.items():
        assert retry_after({"retry-after": text}, now) == seconds
    assert retry_after({}) is None


def test_retries_are_a_fifth_of_the_calls_and_bounded() -> None:
    budget = Budget()
    taken = 0
    for _ in range(1000):
        budget.add_call()
        taken += sum(budget.take_retry() for _ in range(3))
    assert taken == 10 + 200
    for _ in range(100_000):
        budget.add_call()
    assert sum(budget.take_retry() for _ in range(5000)) == 1000


def test_a_retry_waits_with_full_jitter_and_not_at_all_after_a_dead_kept_connection() -> None:
    random.seed(24)
    core = Core(config())
    waits: list[list[float]] = [[], []]
    for _ in range(400):
        core.budget = Budget()
        steps = core.perform(ops.status([TOKEN], None))
        assert isinstance(next(steps), Send)
        for retry in waits:
            step = steps.send(Lost.NO_ANSWER)
            assert isinstance(step, Sleep)
            retry.append(step.seconds)
            assert isinstance(steps.send(None), Send)
    for number, retry in enumerate(waits):
        most = 0.05 * 2**number
        assert most <= BACKOFF_MAX
        assert 0 <= min(retry) < most / 10 and most * 0.9 < max(retry) <= most
    steps = core.perform(ops.status([TOKEN], None))
    next(steps)
    assert isinstance(steps.send(Lost.KEPT_DIED), Send)


def test_the_trace_tells_what_was_lost() -> None:
    sent, answered = "http11.send_request_headers.started", "http11.receive_response_headers.complete"
    anew = "connection.connect_tcp.started"
    wanted = {
        (): NotSent("why"),
        (anew,): NotSent("why"),
        (anew, sent): Lost.NO_ANSWER,
        (sent,): Lost.KEPT_DIED,
        (sent, answered): Lost.NO_ANSWER,
    }
    for events, lost in wanted.items():
        progress = Progress()
        for event in events:
            progress.note(event)
        assert progress.lost(ValueError("why"), is_timeout=False) == lost
        late = progress.lost(ValueError("why"), is_timeout=True)
        assert late is Lost.TIMEOUT or (not progress.is_sent and isinstance(late, NotSent))


def test_a_change_whose_answers_are_lost_keeps_its_key() -> None:
    core = Core(config())
    steps = core.perform(ops.consume([TOKEN], None))
    keys = []
    with pytest.raises(OutcomeUnknown) as raised:
        step: Send | Sleep = next(steps)
        while True:
            if isinstance(step, Send):
                keys.append(step.request.headers["Idempotency-Key"])
                step = steps.send(Lost.NO_ANSWER)
            else:
                step = steps.send(None)
    assert keys == [raised.value.key] * 3
    assert raised.value.__cause__ is not None


def test_a_position_of_a_cluster_is_kept() -> None:
    core = Core(config())
    steps = core.perform(ops.revoke([TOKEN]))
    next(steps)
    with pytest.raises(StopIteration):
        steps.send(HttpAnswer(204, {"jeton-position": "1.7"}, b""))
    assert core.position == "1.7"


def test_errors_can_be_copied_for_each_caller() -> None:
    error = problem_error(503, {"title": "t", "status": 503, "detail": "stale: x"}, 2.0)
    assert isinstance(error, Unavailable) and error.reason == "stale"
    other = copied(error)
    assert other is not error and isinstance(other, Unavailable)
    assert (str(other), other.status, other.retry_after) == (str(error), 503, 2.0)
    assert problem_error(503, {"title": "t", "status": 500, "detail": "d"}, None) is None
    assert problem_error(503, ["x"], None) is None
    unknown = copied(OutcomeUnknown("m", key="k"))
    assert isinstance(unknown, OutcomeUnknown) and unknown.key == "k"
    assert isinstance(copied(JetonError("x")), JetonError)


def test_a_gathering_batch_loses_what_nobody_waits_for() -> None:
    lanes: Lanes[Waiter] = Lanes()
    out = [lanes.add(None, None, [(TOKEN, Waiter())]) for _ in range(4)]
    assert [len(batches) for batches in out] == [1, 1, 1, 1]
    waiters = [Waiter() for _ in range(3)]
    texts = ["B" * 32, "C" * 32, "B" * 32]
    assert lanes.add(None, None, zip(texts, waiters, strict=True)) == []
    waiters[1].batch.drop(waiters[1])
    [batch] = lanes.returned(out[0][0])
    assert batch.targets() == ["B" * 32] and batch.waiters() == [[waiters[0], waiters[2]]]
    assert lanes.add("other key", None, [(TOKEN, Waiter())])[0].lane is not batch.lane
    for [sent] in [*out[1:], [batch]]:
        assert lanes.returned(sent) == []
    assert [lane for lane, _, _ in lanes._lanes] == ["other key"], "an empty lane is kept"


def test_a_lane_ten_thousand_long_is_cut_into_hundreds() -> None:
    lanes: Lanes[Waiter] = Lanes()
    batches = lanes.add(None, None, [(f"{n:032}", Waiter()) for n in range(10_000)])
    assert len(batches) == 4
    lengths = []
    while batches:
        batch = batches.pop()
        lengths.append(len(batch.targets()))
        batches += lanes.returned(batch)
    assert lengths == [100] * 100
