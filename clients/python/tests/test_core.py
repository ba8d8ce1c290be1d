"""What needs no server: settings, targets, retries, and the trace of a try."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from jeton_client import (
    AnswerTooLarge,
    AsyncClient,
    Client,
    ClientClosed,
    Forbidden,
    GatewayError,
    InvalidArgument,
    Issued,
    Item,
    JetonError,
    MalformedToken,
    Name,
    NotOneCluster,
    OutcomeUnknown,
    Payload,
    Reference,
    Unavailable,
)  # fmt: skip
from jeton_client import _ops as ops
from jeton_client._call import BACKOFF_MAX, RETRIED, Budget, Core, Send, Sleep, Steps
from jeton_client._config import Config, configure
from jeton_client._errors import copied, problem_error
from jeton_client._http import Closed, HttpAnswer, Lost, NotSent, Progress, TryEnd, retry_after
from jeton_client._lanes import Caller, Lanes, Waiter, is_halved
from jeton_client._transport import IDLE_MAX, Connection, Idle
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
        ("http://a\x00", {}), ("http://a b", {}), ("http://é", {}), ("http://" + "a" * 64, {}),
        ("http://" + ".".join(["a" * 63] * 4), {}), ("http://a..b", {}), ("http://[::1", {}),
        ("http://[v1.x]", {}), (["http://a", "http://A/"], {}),
    ],
)  # fmt: skip
def test_a_setting_out_of_its_limits_is_refused(urls: Any, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as raised:
        config(urls, **changes)
    assert "pw" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://a:7450/", "http://a:7450"), ("https://A.example", "https://a.example"),
        ("http://a_b.c-d.", "http://a_b.c-d."), ("http://[::1]:7450", "http://[::1]:7450"),
        ("http://127.0.0.1", "http://127.0.0.1"), ("http://a:", "http://a"),
        ("http://xn--bcher-kva.example", "http://xn--bcher-kva.example"),
    ],
)  # fmt: skip
def test_a_url_becomes_an_origin_that_the_http_library_takes(url: str, origin: str) -> None:
    assert config(url).urls == (origin,)
    assert str(httpx2.URL(origin)).removesuffix("/") == origin


def test_p9_nothing_secret_is_shown() -> None:
    secret = "jk-SECRET"
    client, sync = AsyncClient("http://a", key=secret), Client("http://a", key=secret)
    shown = [client, sync, config(key=secret), Payload(b'"SECRET"'), Item("SECRET"), Name("SECRET"),
             Reference(order_number="SECRET"), Issued("SECRET", datetime.now(UTC))]  # fmt: skip
    core = Core(config(key=secret))
    for operation in (
        ops.issue(Item("SECRET"), "k-SECRET"),
        ops.consume([Name("SECRET")], "k-SECRET"),
        ops.resolve([{"name": "SECRET"}], None),
    ):
        step = next(core.perform(operation))
        assert isinstance(step, Send)
        shown += [operation, step, step.request]
    shown.append(HttpAnswer(200, {"x": "SECRET"}, b'["SECRET"]'))
    for value in shown:
        assert "SECRET" not in f"{value!r} {value}"


def test_an_argument_that_is_no_json_is_named() -> None:
    for field, item in {
        "payload": Item({1, 2}), "uses": Item(1, uses={1}), "peek": Item(1, peek={1}),  # type: ignore[arg-type]
    }.items():  # fmt: skip
        with pytest.raises(InvalidArgument, match=f"^{field}: "):
            ops.issue(item, None)
    with pytest.raises(InvalidArgument, match="^payload: "):
        ops.issue(Item(float("inf")), None)
    with pytest.raises(InvalidArgument, match="^ttl: "):
        ops.extend([TOKEN], float("inf"))


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
        # Dates that no clock has.
        "Sat, 28 Nov 99999999999999999999 06:00:30 GMT": None,
        "Sat, 28 Nov 2026 06:00:30 +99999999999999999999": None,
        "Sat, 28 Nov 2026 99999999999999999999:00:30 GMT": None,
        "Mon, 01 Jan 0001 00:00:00 +2300": 0.0,
        ",": None, "a b c d e f": None, "Sat": None,
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
        assert late == (Lost.TIMEOUT if sent in events else NotSent("it took too long"))


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


def ends(steps: Steps[Any], *given: TryEnd) -> BaseException | Any:
    """What becomes of a call whose tries end like this; it does not wait between them."""
    step: Send | Sleep = next(steps)
    left = list(given)
    try:
        while True:
            step = steps.send(left.pop(0) if isinstance(step, Send) else None)
    except StopIteration as returned:
        return returned.value
    except JetonError as error:
        return error


def html(status: int, **headers: str) -> HttpAnswer:
    return HttpAnswer(status, {"content-type": "text/html", **headers}, b"<html>")


def test_p2_a_client_that_is_closed_tells_the_key_of_a_change_that_was_sent() -> None:
    core = Core(config())
    lost = ends(core.perform(ops.consume([TOKEN], "k")), Closed(is_sent=True))
    assert isinstance(lost, OutcomeUnknown) and lost.key == "k" and isinstance(lost.__cause__, ClientClosed)
    lost = ends(core.perform(ops.consume([TOKEN], "k")), Lost.TIMEOUT, Closed(is_sent=False))
    assert isinstance(lost, OutcomeUnknown) and lost.key == "k"
    assert isinstance(ends(core.perform(ops.consume([TOKEN], "k")), Closed(is_sent=False)), ClientClosed)
    assert isinstance(ends(core.perform(ops.resolve([TOKEN], None)), Closed(is_sent=True)), ClientClosed)


def test_p2_every_failure_of_a_gateway_may_have_reached_the_server() -> None:
    core = Core(config())
    for status in (408, *range(500, 600)):
        core.budget = Budget()
        tries = 3 if status in RETRIED else 1
        lost = ends(core.perform(ops.consume([TOKEN], "k")), *[html(status)] * tries)
        assert isinstance(lost, OutcomeUnknown) and lost.key == "k", status
    for status in (301, 400, 403, 404, 409, 451):
        assert isinstance(ends(core.perform(ops.consume([TOKEN], "k")), html(status)), GatewayError)
    absurd = html(503, **{"retry-after": "Sat, 28 Nov 99999999999999999999 06:00:30 GMT"})
    lost = ends(core.perform(ops.consume([TOKEN], "k")), *[absurd] * 3)
    assert isinstance(lost, OutcomeUnknown) and lost.key == "k"


def of_nodes(*urls: str, **changes: Any) -> Core:
    core = Core(config(urls, **changes))
    for url in urls:
        assert core.nodes.learn(url, CLUSTER)
    return core


CLUSTER = "0" * 31 + "1"


def node(cluster: str | None = CLUSTER) -> HttpAnswer:
    """What a node answers to a probe."""
    problem = b'{"title":"Bad Request","status":400,"detail":"Jeton-Read: x","field":"Jeton-Read"}'
    headers = {"content-type": "application/problem+json", "jeton-cluster": cluster}
    return HttpAnswer(400, {name: value for name, value in headers.items() if value}, problem)


def forbidden() -> HttpAnswer:
    problem = b'{"title":"Forbidden","status":403,"detail":"the key lacks the scope"}'
    return HttpAnswer(403, {"content-type": "application/problem+json"}, problem)


def test_p2_a_lost_change_keeps_its_key_although_the_next_server_is_no_node() -> None:
    for answer in (HttpAnswer(200, {}, b"[]"), node("2" * 32), node(None)):
        core = Core(config(["http://a", "http://b"]))
        # The other node is down until the first one has lost the change.
        given = (node(), NotSent("refused"), Lost.TIMEOUT, answer)
        lost = ends(core.perform(ops.consume([TOKEN], "k")), *given)
        assert isinstance(lost, OutcomeUnknown) and lost.key == "k"
        assert isinstance(lost.__cause__, NotOneCluster)


def test_all_nodes_are_asked_for_their_cluster_before_the_first_call() -> None:
    urls = ["http://a", "http://b", "http://c"]
    found = HttpAnswer(200, {}, b"[null]")
    resolve = ops.resolve([TOKEN], None)

    def call(core: Core, *given: TryEnd) -> Any:
        return ends(core.perform(resolve), *given)

    core = Core(config(urls))
    assert call(core, node(), node(), node(), found) == [None]
    assert call(core, found) == [None], "once"
    two = "several URLs .* different ones"
    for answers in ([node(), node("2" * 32)], [node(), node(), node("2" * 32)]):
        core = Core(config(urls))
        for _ in range(2):
            refused = call(core, *answers)
            assert isinstance(refused, NotOneCluster) and re.match(two, str(refused))
    # One that is down, or whose key is not known yet, is asked before it is used.
    core = Core(config(urls))
    assert call(core, node(), NotSent("refused"), Lost.TIMEOUT, found) == [None]
    assert call(core, Lost.KEPT_DIED, node("2" * 32)).__class__ is NotOneCluster
    # A call that ends before it has asked leaves that to the next one.
    core = Core(config(urls))
    steps = core.perform(resolve)
    next(steps)
    steps.send(node())
    steps.close()
    assert call(core, node("2" * 32)).__class__ is NotOneCluster


def test_no_call_uses_a_node_while_another_call_still_asks_or_has_found_a_mistake() -> None:
    core = Core(config(["http://a", "http://b"]))
    first, second = (core.perform(ops.resolve([TOKEN], None)) for _ in range(2))
    next(first), next(second)
    asked = [first.send(node()), second.send(node())]
    for step in asked:
        assert isinstance(step, Send) and step.request.headers["Jeton-Read"] == "probe"
    with pytest.raises(NotOneCluster):
        first.send(node("2" * 32))
    # This one was told another thing, and asks again what the first one has found.
    step = second.send(node())
    assert isinstance(step, Send) and step.request.headers["Jeton-Read"] == "probe"
    step = second.send(node())
    assert isinstance(step, Send) and "Jeton-Read" not in step.request.headers


def test_a_key_of_any_scope_finds_out_the_cluster() -> None:
    operation = ops.put("n", Item(1), False)
    done = HttpAnswer(200, {}, b'{"expires_at":"2026-11-28T10:00:00Z"}')
    for number in range(5):
        core = Core(config(["http://a", "http://b"]))
        probes = [*[forbidden()] * number, node()]
        assert isinstance(ends(core.perform(operation), *probes, *probes, done), datetime)
    # A server alone with a key that may import and nothing else.
    missing = b'{"title":"Bad Request","status":400,"detail":"name: the field is missing","field":"name"}'
    alone = HttpAnswer(400, {"content-type": "application/problem+json"}, missing)
    core = Core(config(["http://a", "http://b"]))
    assert isinstance(ends(core.perform(operation), *[forbidden()] * 4, alone), NotOneCluster)
    # A key that may do nothing: the operation says so.
    core = Core(config(["http://a", "http://b"]))
    assert isinstance(ends(core.perform(operation), *[forbidden()] * 11), Forbidden)


def test_p2_a_put_is_not_sent_again_once_it_may_have_arrived() -> None:
    done = HttpAnswer(200, {}, b'{"expires_at":"2026-11-28T10:00:00Z"}')
    busy = b'{"title":"Service Unavailable","status":503,"detail":"the queue is full"}'
    not_done = HttpAnswer(503, {"content-type": "application/problem+json"}, busy)
    core = Core(config())
    operation = ops.put(Name("cart:7"), Item(b"1.10", ttl="15m", uses=2, peek=False), True)
    assert operation.body == b'{"name":"cart:7","payload":1.10,"ttl":"15m","uses":2,"peek":false}'
    for end in (Lost.KEPT_DIED, Lost.NO_ANSWER, Lost.TIMEOUT, html(502)):
        lost = ends(core.perform(operation), end)
        assert isinstance(lost, OutcomeUnknown) and lost.key is None
    for end in (NotSent("refused"), not_done, html(429)):
        assert isinstance(ends(core.perform(operation), end, done), datetime)
    assert isinstance(ends(core.perform(operation), not_done, Lost.TIMEOUT), OutcomeUnknown)
    sent = next(core.perform(operation))
    assert isinstance(sent, Send) and sent.request.headers["If-None-Match"] == "*"
    assert "Idempotency-Key" not in sent.request.headers


def test_a_node_that_fails_is_left_although_the_call_is_not_tried_again() -> None:
    busy = HttpAnswer(503, {"retry-after": "30"}, b"")
    kept = [Lost.TOO_LARGE, html(403), HttpAnswer(200, {}, b"[null]"), Closed(is_sent=True)]
    left = [Lost.TIMEOUT, Lost.NO_ANSWER, NotSent("refused"), busy]
    for end in kept + left:
        core = of_nodes("http://a", "http://b")
        before = core.nodes.current
        steps = core.perform(ops.resolve([TOKEN], None))
        next(steps)
        # Without a budget no call is tried again.
        core.budget._left = 0.0
        with pytest.raises((JetonError, StopIteration)):
            steps.send(end)
        assert (core.nodes.current != before) == (end in left), end


def test_a_position_of_a_cluster_is_kept() -> None:
    core = Core(config())
    steps = core.perform(ops.revoke([TOKEN]))
    next(steps)
    with pytest.raises(StopIteration):
        steps.send(HttpAnswer(204, {"jeton-position": "1.7"}, b""))
    assert core.position == "1.7"
    not_found = b'{"title":"Not Found","status":404,"detail":"unknown token"}'
    for status, sent, kept in [
        (200, "1.6", "1.7"), (200, "1.10", "1.10"), (200, "1.9", "1.10"), (404, "1.11", "1.11"),
        (409, "1.12", "1.12"), (200, "2.1", "2.1"), (200, "1.99", "2.1"), (200, "odd", "2.1"),
        (200, "2.", "2.1"), (200, "-3.1", "2.1"), (200, f"3.{'7' * 5000}", "2.1"),
    ]:  # fmt: skip
        body = b"[]" if status == 200 else not_found.replace(b"404", b"%d" % status)
        headers = {"jeton-position": sent, "content-type": "application/problem+json"}
        ends(core.perform(ops.consume([], None)), HttpAnswer(status, headers, body))
        assert core.position == kept
    ends(core.perform(ops.resolve([], None)), HttpAnswer(200, {"jeton-position": "9.9"}, b"[]"))
    assert core.position == "2.1", "not of a change"


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


def caller() -> Caller:
    return Caller(0.0)


def test_a_gathering_batch_loses_what_nobody_waits_for() -> None:
    lanes: Lanes[Waiter, Caller] = Lanes()
    out = [lanes.add(None, None, caller(), [(TOKEN, Waiter())]) for _ in range(4)]
    assert [len(batches) for batches in out] == [1, 1, 1, 1]
    waiters = [Waiter() for _ in range(3)]
    texts = ["B" * 32, "C" * 32, "B" * 32]
    assert lanes.add(None, None, caller(), zip(texts, waiters, strict=True)) == []
    waiters[1].batch.drop(waiters[1])
    [batch] = lanes.returned(out[0][0])
    assert batch.targets() == ["B" * 32] and batch.waiters() == [[waiters[0], waiters[2]]]
    assert lanes.add("other key", None, caller(), [(TOKEN, Waiter())])[0].lane is not batch.lane
    for [sent] in [*out[1:], [batch]]:
        assert lanes.returned(sent) == []
    assert [lane for lane, _, _ in lanes._lanes] == ["other key"], "an empty lane is kept"


def test_a_lane_ten_thousand_long_is_cut_into_hundreds() -> None:
    lanes: Lanes[Waiter, Caller] = Lanes()
    batches = lanes.add(None, None, caller(), [(f"{n:032}", Waiter()) for n in range(10_000)])
    assert len(batches) == 4
    lengths = []
    while batches:
        batch = batches.pop()
        lengths.append(len(batch.targets()))
        batches += lanes.returned(batch)
    assert lengths == [100] * 100
    assert not lanes._lanes


class Counted(str):
    """A token that counts how often it is compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_a_place_is_looked_up_once_however_many_batches_gather() -> None:
    lanes: Lanes[Waiter, Caller] = Lanes()
    for place in range(4):
        lanes.add(None, None, caller(), [(f"{place:032}", Waiter())])
    lanes.add(None, None, caller(), [(Counted(f"{n:032}"), Waiter()) for n in range(20_000)])
    Counted.compared = 0
    lanes.add(None, None, caller(), [(Counted(f"{n:032}"), Waiter()) for n in range(20_000)])
    assert len(lanes._lanes[None, None, False].gathering) == 200
    assert Counted.compared < 80_000


def test_a_batch_that_goes_back_joins_who_asks_the_same_meanwhile() -> None:
    lanes: Lanes[Waiter, Caller] = Lanes()
    out = [lanes.add(None, None, caller(), [(f"{n:032}", Waiter())])[0] for n in range(4)]
    first, second = Waiter(), Waiter()
    lanes.add(None, None, caller(), [(f"{0:032}", second)])
    [first] = out[0].waiters()[0]
    [batch] = lanes.put_back(out[0])
    assert batch.waiters() == [[second, first]] and first.batch is batch
    assert [lanes.returned(sent) for sent in (*out[1:], batch)] == [[]] * 4
    assert not lanes._lanes


def idle(**changes: Any) -> tuple[Idle[str], Callable[[str, str], None]]:
    """Idle connections, and what makes one and puts it there."""
    kept: Idle[str] = Idle(config(**changes))

    def put(origin: str, name: str) -> None:
        assert kept.put(Connection(origin, name))

    return kept, put


def test_connections_to_all_nodes_together_are_limited() -> None:
    kept, put = idle(connections_max=4)
    for name in ("1", "2"):
        put("http://a", name)
    for name in ("3", "4"):
        put("http://b", name)
    # One to a third node, beside another in use: the longest idle ones make room.
    assert kept.crowded_out(1) == ["1", "2"]
    assert kept.crowded_out(1) == []
    assert kept.take("http://a") is None
    found = kept.take("http://b")
    assert found is not None and found.transport == "4"


def test_a_connection_that_is_idle_for_long_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("jeton_client._transport.time.monotonic", lambda: now)
    kept, _ = idle()
    old, young = Connection("http://a", "old", born=now - 290), Connection("http://a", "young", born=now)
    assert kept.put(young) and kept.plan_sweep() == IDLE_MAX
    assert kept.put(old)
    assert kept.plan_sweep() == pytest.approx(8), "the older one ends earlier than the sweep that was planned"
    assert kept.plan_sweep() is None
    now += 8
    assert kept.expired() == ["old"] and kept.plan_sweep() == IDLE_MAX - 8
    now += IDLE_MAX - 9
    assert kept.take("http://a") is young and kept.put(young)
    now += IDLE_MAX - 1
    assert kept.expired() == []
    now += 1
    assert kept.take("http://a") is None
    assert kept.expired() == ["young"] and kept.plan_sweep() is None


def test_a_batch_whose_answer_is_too_large_is_halved() -> None:
    too_large = ends(Core(config()).perform(ops.resolve([TOKEN], None)), Lost.TOO_LARGE)
    assert isinstance(too_large, AnswerTooLarge) and is_halved(too_large)
