"""What is Python's own: loops, processes, threads, signatures, types."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import serving

from jeton_client import (
    AsyncClient,
    Client,
    ClientClosed,
    DeadlineExceeded,
    GatewayError,
    Item,
    MalformedToken,
    Name,
    NoAnswer,
    NoConnection,
    NotFound,
    OutcomeUnknown,
    OutOfLimits,
    Payload,
    PreconditionFailed,
    WrongEventLoop,
    WrongProcess,
    _sync_transport,
)  # fmt: skip
from jeton_client._http import HttpAnswer, HttpRequest

HERE = Path(__file__).parent
OPERATIONS = ("issue", "issue_batch", "put", "resolve", "resolve_many", "consume", "consume_many", "status",
              "extend", "revoke", "close")  # fmt: skip


def test_both_clients_have_the_same_operations() -> None:
    public = [{name for name in dir(kind) if not name.startswith("_")} for kind in (AsyncClient, Client)]
    assert public[0] == public[1] == {*OPERATIONS, "position"}
    for name in (*OPERATIONS, "__init__"):
        one, other = getattr(AsyncClient, name), getattr(Client, name)
        assert inspect.signature(one) == inspect.signature(other), name
        assert inspect.getdoc(one) == inspect.getdoc(other), name
        assert inspect.iscoroutinefunction(one) == (name != "__init__")


def test_a_client_belongs_to_one_event_loop(url: str) -> None:
    client = AsyncClient(url)
    token = asyncio.run(client.issue("a")).token
    with pytest.raises(WrongEventLoop):
        asyncio.run(client.resolve(token))


def test_a_client_belongs_to_one_process(url: str) -> None:
    client = Client(url)
    token = client.issue("a", uses=2).token
    child = os.fork()
    if child == 0:
        try:
            client.resolve(token)
        except WrongProcess:
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert client.resolve(token) == Payload(b'"a"')
    client.close()


def test_an_asyncio_client_belongs_to_one_process(url: str) -> None:
    async def run() -> int:
        async with AsyncClient(url) as client:
            await client.issue("a")
            child = os.fork()
            if child == 0:
                try:
                    await client.issue("b")
                except WrongProcess:
                    os._exit(7)
                finally:
                    os._exit(1)
            ended = await asyncio.to_thread(os.waitpid, child, 0)
            return os.waitstatus_to_exitcode(ended[1])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert asyncio.run(run()) == 7


def test_a_closed_client_says_so(url: str) -> None:
    client = Client(url)
    client.issue("a")
    client.close()
    client.close()
    with pytest.raises(ClientClosed):
        client.issue("a")

    async def run() -> None:
        client = AsyncClient(url)
        await client.issue("a")
        await client.close()
        await client.close()
        with pytest.raises(ClientClosed):
            await client.resolve("A" * 32)

    asyncio.run(run())


class Silent:
    """A server that accepts and never answers."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"


def test_p2_calls_under_way_end_when_the_client_is_closed() -> None:
    arrived = 0
    all_arrived = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal arrived
        await reader.readuntil(b"]}")
        arrived += 1
        if arrived == 5:
            all_arrived.set()
        await reader.read()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(hold, "127.0.0.1", 0)
        client = AsyncClient(
            f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", try_timeout=60, deadline=60
        )
        resolves = [asyncio.create_task(client.resolve(f"{n:032}")) for n in range(1000)]
        consume = asyncio.create_task(client.consume("A" * 32))
        await asyncio.wait_for(all_arrived.wait(), 30)
        await client.close()
        _, waiting = await asyncio.wait([*resolves, consume], timeout=30)
        assert not waiting
        assert {type(call.exception()) for call in resolves} == {ClientClosed}
        lost = consume.exception()
        assert isinstance(lost, OutcomeUnknown) and lost.key is not None
        assert not client._lanes._lanes and not client._task_of
        server.close()

    asyncio.run(run())


def test_p2_a_thread_whose_client_is_closed_ends_at_once_and_has_its_key() -> None:
    server = Silent()
    client = Client(server.url, deadline=60, try_timeout=60)
    ends: list[BaseException] = []

    def call(method: Any) -> None:
        try:
            method("A" * 32)
        except Exception as error:
            ends.append(error)

    methods = [client.consume, client.resolve, *[client.resolve] * 10]
    threads = [threading.Thread(target=call, args=(method,)) for method in methods]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(client._connections._used) == 5)
    client.close()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    [lost] = [end for end in ends if isinstance(end, OutcomeUnknown)]
    assert lost.key is not None
    assert [type(end) for end in ends if end is not lost] == [ClientClosed] * 11
    assert not client._lanes._lanes


def test_p2_a_call_that_waits_for_its_next_try_ends_when_the_client_is_closed() -> None:
    def answer(_request: bytes) -> bytes:
        return b"HTTP/1.1 503 x\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n"

    server = Answering(answer)
    client = Client(server.url, deadline=60)
    thread = threading.Thread(target=lambda: pytest.raises(OutcomeUnknown, client.consume, "A" * 32))
    thread.start()
    server.asked.wait(10)
    client.close()
    thread.join(20)
    assert not thread.is_alive()

    async def run() -> None:
        server = Answering(answer)
        client = AsyncClient(server.url, deadline=60)
        call = asyncio.create_task(client.consume("A" * 32))
        await asyncio.to_thread(server.asked.wait, 10)
        await client.close()
        with pytest.raises(OutcomeUnknown):
            await asyncio.wait_for(call, 20)

    asyncio.run(run())


def test_p8_a_key_file_that_is_never_read_ends_with_the_call_and_holds_up_no_other(tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text("old")
    server = Answering(lambda _request: b"HTTP/1.1 401 x\r\nContent-Length: 0\r\n\r\n")

    async def run() -> None:
        client = AsyncClient(server.url, key_file=key_file, deadline=0.5)
        key_file.unlink()
        os.mkfifo(key_file)
        call = asyncio.create_task(client.status(["A" * 32]))
        # The loop goes on, and ten calls have one reader.
        others = [asyncio.create_task(client.status(["A" * 32])) for _ in range(10)]
        await asyncio.sleep(0.1)
        assert threading.active_count() <= before + 13
        for one in (call, *others):
            with pytest.raises(GatewayError):
                await one
        await client.close()

    before = threading.active_count()
    begun = time.monotonic()
    asyncio.run(run())
    # Lets the reader go.
    key_file.write_text("old")
    key_file.unlink()
    key_file.write_text("old")
    with Client(server.url, key_file=key_file, deadline=0.5) as client:
        key_file.unlink()
        os.mkfifo(key_file)
        with pytest.raises(GatewayError):
            client.status(["A" * 32])
    assert time.monotonic() - begun < 10
    key_file.write_text("old")


def test_each_address_of_a_name_has_its_share_of_a_try(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Answering(lambda _request: b"HTTP/1.1 200 x\r\nContent-Length: 6\r\n\r\n[null]")
    port = server.listener.getsockname()[1]
    silent = socket.socket()
    silent.bind(("127.0.0.2", port))
    # A full backlog: nobody answers there.
    silent.listen(0)
    held = []
    for _ in range(3):
        filling = socket.socket()
        filling.setblocking(False)
        filling.connect_ex(("127.0.0.2", port))
        held.append(filling)

    def found(*_args: Any, **_named: Any) -> list[Any]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, ("127.0.0.2", port)), (*kind, ("127.0.0.1", port))]

    with Client(f"http://shop.example:{port}", deadline=2, try_timeout=1) as client:
        monkeypatch.setattr(_sync_transport, "_addresses", found)
        assert client.resolve_many(["A" * 32]) == [None]


class Answering:
    """A server that answers every request with what `answer` makes of it."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.answer = answer
        self.asked = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            conn, _ = self.listener.accept()
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn: socket.socket) -> None:
        request = b""
        while piece := conn.recv(65536):
            request += piece
            # Head and body come in pieces.
            if request.endswith(b"}"):
                conn.sendall(self.answer(request))
                self.asked.set()
                request = b""


def wait_until(is_true: Callable[[], bool]) -> None:
    """For what another thread does."""
    for _ in range(3000):
        if is_true():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not become true")


def test_many_targets_of_one_thread_have_one_deadline() -> None:
    server = Silent()
    client = Client(server.url, deadline=0.6, try_timeout=0.5)
    sent: list[float] = []
    send = client._connections.send

    def noting(request: HttpRequest) -> Any:
        sent.append(request.ends_at)
        return send(request)

    client._connections.send = noting  # type: ignore[method-assign]
    with pytest.raises(DeadlineExceeded):
        client.resolve_many([f"{number:032}" for number in range(1000)])
    assert len(set(sent)) == 1, "every try has the time of the call"
    assert not client._lanes._lanes


def test_many_targets_of_one_thread_leave_the_others_their_places() -> None:
    held = threading.Event()

    def answer(request: bytes) -> bytes:
        targets = json.loads(request.split(b"\r\n\r\n")[1])["tokens"]
        if len(targets) > 1:
            held.wait(30)
        body = json.dumps([1] * len(targets)).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    client = Client(Answering(answer).url, deadline=60, try_timeout=60)
    many: list[Any] = []
    targets = [f"{number:032}" for number in range(1000)]
    thread = threading.Thread(target=lambda: many.extend(client.resolve_many(targets)))
    thread.start()
    wait_until(lambda: len(client._connections._used) == 1)
    # The thread sends one batch of its ten: three more places are free.
    assert client.resolve("A" * 32) == Payload(b"1")
    # One of the thread's own, which gathers: this one sends its batch.
    threading.Timer(0.2, held.set).start()
    assert client.resolve(targets[950]) == Payload(b"1")
    thread.join(30)
    assert many == [Payload(b"1")] * 1000
    assert not client._lanes._lanes


def test_a_call_that_is_over_is_forgotten_before_its_deadline(url: str) -> None:
    async def run() -> None:
        async with AsyncClient(Silent().url, deadline=60) as client:
            calls = [asyncio.create_task(client.resolve(f"{number:032}")) for number in range(100)]
            await asyncio.sleep(0.01)
            assert len(client._deadlines._waits) == 96, "a call on its own needs none"
            # The first one waits on; the others are over.
            for call in calls[5:]:
                call.cancel()
            await asyncio.wait(calls[5:])
            assert len(client._deadlines._waits) == 1

    asyncio.run(run())


class Empty:
    """A server for one connection, which answers every request with an empty list."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.ended = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        conn, _ = self.listener.accept()
        # Head and body come in pieces; an answer too many would be a reset.
        while piece := conn.recv(65536):
            if piece.endswith(b"]}"):
                conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
        self.ended.set()


def test_an_idle_connection_is_closed_in_time_too() -> None:
    server = Empty()
    client = Client(server.url, connection_age=0.5)
    assert client.status([]) == []
    assert server.ended.wait(10)

    async def run() -> None:
        server = Empty()
        client = AsyncClient(server.url, connection_age=0.5)
        assert await client.status([]) == []
        assert await asyncio.to_thread(server.ended.wait, 10)

    asyncio.run(run())


def test_every_cancelled_call_frees_its_connection(url: str) -> None:
    async def run() -> None:
        async with AsyncClient(url, connections_max=2, coalesce=False) as client:
            token = (await client.issue("a")).token
            for delay in range(300):
                call = asyncio.create_task(client.resolve(token))
                for _ in range(delay % 30):
                    await asyncio.sleep(0)
                call.cancel()
            results = await asyncio.gather(*(client.resolve(token) for _ in range(50)))
            assert {result.raw for result in results} == {b'"a"'}

    asyncio.run(run())


def test_cancelled_callers_disturb_nobody(url: str) -> None:
    async def run() -> None:
        async with AsyncClient(url) as client:
            tokens = [(await client.issue(n)).token for n in range(50)]
            for round in range(20):
                calls = [asyncio.create_task(client.resolve(token)) for token in tokens]
                for _ in range(round):
                    await asyncio.sleep(0)
                for call in calls[round % 3 :: 3]:
                    call.cancel()
                ends = await asyncio.gather(*calls, return_exceptions=True)
                for number, end in enumerate(ends):
                    if isinstance(end, Payload):
                        assert end.json() == number
                    else:
                        assert isinstance(end, asyncio.CancelledError) and number % 3 == round % 3
            # Nothing is left behind.
            assert not client._lanes._lanes and not client._task_of

    asyncio.run(run())


def test_a_batch_that_is_cancelled_before_it_is_sent_frees_its_place() -> None:
    async def run() -> None:
        client = AsyncClient("http://127.0.0.1:9", deadline=3)
        sent: list[tuple[asyncio.Future[HttpAnswer], HttpRequest]] = []

        def send(request: HttpRequest) -> asyncio.Future[HttpAnswer]:
            sent.append((asyncio.get_running_loop().create_future(), request))
            return sent[-1][0]

        def answer(future: asyncio.Future[HttpAnswer], request: HttpRequest) -> None:
            count = len(json.loads(request.body)["tokens"])
            future.set_result(HttpAnswer(200, {}, json.dumps([1] * count).encode()))

        client._connections.send = send  # type: ignore[method-assign, assignment]
        for _ in range(6):
            sent.clear()
            calls = [asyncio.create_task(client.resolve(f"{number:032}")) for number in range(5)]
            await asyncio.sleep(0.01)
            assert len(sent) == 4
            # The answer lets the fifth go, and its caller leaves before its task has begun.
            answer(*sent[0])
            calls[4].cancel()
            await asyncio.sleep(0.01)
            for one in sent[1:]:
                answer(*one)
            await asyncio.wait(calls, timeout=5)
            await asyncio.sleep(0.01)
            assert not client._lanes._lanes and not client._task_of
        await client.close()

    asyncio.run(run())


def test_no_warning_about_a_lost_error() -> None:
    complaints: list[Any] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, what: complaints.append(what))
        async with AsyncClient("http://127.0.0.1:9", deadline=0.5) as client:
            calls = [asyncio.create_task(client.resolve(f"{n:032}")) for n in range(300)]
            await asyncio.sleep(0)
            for call in calls[::2]:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(run())
    assert not complaints


def test_a_thousand_threads_share_a_client(url: str) -> None:
    with Client(url) as client, ThreadPoolExecutor(1000) as threads:
        tokens = [client.issue(n).token for n in range(200)]
        asked = [(n * 7) % 200 for n in range(4000)]
        results = list(threads.map(lambda n: client.resolve(tokens[n]).json(), asked))
        assert results == asked
        assert not client._lanes._lanes


def test_a_thread_whose_deadline_passes_leaves_the_others_a_sender() -> None:
    server = Silent()
    client = Client(server.url, deadline=0.6, try_timeout=0.5)
    ends: list[type[BaseException]] = []

    def call(number: int) -> None:
        try:
            client.resolve(f"{number:032}")
        except Exception as error:
            ends.append(type(error))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ends) == 50 and DeadlineExceeded in ends
    with client._lock:
        assert not client._lanes._lanes


def test_callers_that_gather_have_their_deadline_too() -> None:
    server = Silent()

    async def run() -> None:
        async with AsyncClient(server.url, deadline=0.6, try_timeout=0.5) as client:
            calls = [client.resolve(f"{number:032}") for number in range(50)]
            ends = await asyncio.gather(*calls, return_exceptions=True)
            assert DeadlineExceeded in map(type, ends)
            assert {type(end) for end in ends} <= {DeadlineExceeded, NoAnswer}
            await asyncio.sleep(0)
            assert not client._lanes._lanes and not client._task_of

    asyncio.run(run())


def test_an_interrupt_of_the_sending_thread_leaves_the_client_usable(url: str) -> None:
    server = Silent()
    client = Client(server.url)
    waiting = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    # A shell starts its background jobs with this signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        waiting.start()
        with pytest.raises(KeyboardInterrupt):
            client.resolve("A" * 32)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not client._lanes._lanes


def test_a_batch_of_issues_by_reference(url: str) -> None:
    from jeton_client import ApiError, InvalidArgument, Issued, Reference

    with Client(url) as client:
        items = [Item(1, reference=Reference("py-1")), Item(2, uses=10_001, reference=Reference("py-2"))]
        good, bad = client.issue_batch(items)
        assert isinstance(good, Issued) and isinstance(bad, ApiError) and bad.field == "uses"
        with pytest.raises(InvalidArgument):
            client.issue_batch([*items, Item(3)])
        with pytest.raises(InvalidArgument):
            client.issue_batch(items, key="k")
        assert client.resolve(Reference("py-1")).json() == 1


def test_a_put_takes_the_place_of_what_is_there(url: str) -> None:
    with Client(url) as client:
        assert client.put("py:1", {"a": 1}, ttl="1h") > datetime.now(UTC)
        client.put(Name("py:1"), b"1.10", uses=2)
        with pytest.raises(PreconditionFailed):
            client.put("py:1", 2, if_absent=True)
        assert [client.consume(Name("py:1")).raw for _ in range(2)] == [b"1.10"] * 2
        client.put("py:1", 2, if_absent=True)
        with pytest.raises(OutOfLimits):
            client.put("py:1", 2, uses=0)
        with pytest.raises(MalformedToken):
            client.put("", 2)
        client.put("t" * 32, 3)
        assert client.resolve("t" * 32).json() == 3


def test_payloads_go_in_as_values_and_as_bytes(url: str) -> None:
    with Client(url) as client:
        assert client.consume(client.issue({"a": [1, "€"]}).token).json() == {"a": [1, "€"]}
        payload = client.consume(client.issue(b'{"pay": 1.10}').token)
        assert payload.raw == b'{"pay": 1.10}'
        assert str(payload.json(parse_float=str)["pay"]) == "1.10"
        with pytest.raises(NotFound):
            client.consume("A" * 32)


def test_tls_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=a"
    made += " -keyout key.pem -out cert.pem -addext subjectAltName=IP:127.0.0.1"
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl")
    subprocess.run(made.split(), cwd=tmp_path, check=True, capture_output=True)
    with serving(tmp_path, "--tls-cert", "cert.pem", "--tls-key", "key.pem") as url:
        assert url.startswith("https://")
        trusted = ssl.create_default_context(cafile=tmp_path / "cert.pem")
        with Client(url, tls=trusted) as client:
            token = client.issue("a", uses=2).token
            assert client.consume(token) == Payload(b'"a"')

        async def run() -> None:
            async with AsyncClient(url, tls=trusted) as client:
                assert await client.consume(token) == Payload(b'"a"')
            async with AsyncClient(url) as client:
                with pytest.raises(NoConnection, match="certificate"):
                    await client.resolve(token)

        asyncio.run(run())
        with pytest.raises(NoConnection, match="certificate"):
            Client(url).resolve(token)


def test_the_trace_context_of_the_caller_is_sent() -> None:
    seen: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for _ in range(2):
            conn, _ = listener.accept()
            request = b""
            while not request.endswith(b"]}"):
                request += conn.recv(65536)
            seen.append(request)
            conn.sendall(b"HTTP/1.1 418 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            conn.close()

    thread = threading.Thread(target=serve)
    thread.start()
    own = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    client = Client(f"http://127.0.0.1:{listener.getsockname()[1]}", traceparent=lambda: own)
    for call in (client.consume, client.resolve):
        with pytest.raises(GatewayError):
            call("A" * 32)
    thread.join()
    assert own.encode() in seen[0] and own.encode() not in seen[1] and b"traceparent: 00-" in seen[1]


def test_p9_a_traceback_shows_no_payload(url: str) -> None:
    code = f"""
from jeton_client import Client
client = Client({url!r}, key="jk-SECRET")
client.issue({{"n": "SEC" + "RET"}}, uses=10_001)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 1 and "OutOfLimits" in ended.stderr
    assert ended.stderr.count("SECRET") == ended.stderr.count('key="jk-SECRET"')


CHECKS = ["mypy", "ruff check . ../conformance", "ruff format --check . ../conformance"]


@pytest.mark.parametrize("command", CHECKS)
def test_types_and_style(command: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", *command.split()], capture_output=True, text=True, cwd=HERE.parent
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
