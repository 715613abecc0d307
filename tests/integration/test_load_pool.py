"""The pool and its workers as the runner meets them: on time, complete, and complete also when something dies."""

from __future__ import annotations

import asyncio
import collections
import os
import shutil
import signal
import ssl
import subprocess
import sys
import textwrap
import time
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

import psutil
import pytest
from scripted_server import CUT, DONE, LAST, STREAM_HEAD, ScriptedServer, Turn, answer, chunk, event, stream

from scenarios.errors import HarnessError, TargetError
from scenarios.load.pool import LoadPool
from scenarios.observation import Observation, Outcome
from scenarios.plan import Plan
from scenarios.request import PlannedRequest

MS = 1_000_000
ROOT = str(Path(__file__).resolve().parents[2])
FINE = stream(event("A"))


async def fine(turn: Turn) -> bool:
    await turn.say(FINE)
    return True


async def hang(turn: Turn) -> None:
    await turn.until_closed()


def plan(count: int, every_ms: float = 0.0, timeout_s: float = 10.0) -> list[PlannedRequest]:
    return [
        PlannedRequest(
            index=index, due_ns=int(index * every_ms * MS), path="/v1/chat/completions", body=b"{}", timeout_s=timeout_s
        )
        for index in range(count)
    ]


@asynccontextmanager
async def started(requests: Sequence[PlannedRequest], url: str, **options: object) -> AsyncIterator[LoadPool]:
    pool = LoadPool(Plan.of(requests), url, **options)  # type: ignore[arg-type]
    try:
        await pool.prepare()
        pool.start(time.monotonic_ns() + 20 * MS)
        yield pool
    finally:
        await pool.close()


async def everything(pool: LoadPool) -> list[Observation]:
    """All observations by index, checked to be exactly one for each planned request."""
    seen = [one async for batch in pool.batches() for one in batch.observations]
    seen.sort(key=lambda one: one.index)
    assert [one.index for one in seen] == list(range(pool.totals.planned))
    assert pool.totals.done == pool.totals.planned
    assert pool.totals.in_flight == 0
    return seen


async def run(requests: Sequence[PlannedRequest], url: str, **options: object) -> list[Observation]:
    async with started(requests, url, **options) as pool:
        seen = await everything(pool)
        assert pool.deaths == []
        return seen


def outcomes(seen: Sequence[Observation]) -> dict[Outcome, int]:
    return dict(collections.Counter(one.outcome for one in seen))


# ---- connections


async def test_requests_one_after_another_share_a_connection() -> None:
    async with ScriptedServer(fine) as server:
        assert outcomes(await run(plan(10, 60), server.url)) == {Outcome.OK: 10}
        assert server.connections <= 3  # more than one only if an answer took longer than the gap


async def test_a_kept_connection_that_is_found_closed_is_tried_once_more_on_a_fresh_one() -> None:
    async def closes_on_the_second(turn: Turn) -> bool:
        if turn.number == 0:
            await turn.say(FINE)
        else:
            await asyncio.sleep(0.2)
        return turn.number == 0

    async with ScriptedServer(closes_on_the_second) as server:
        seen = await run(plan(2, 150), server.url)
        assert outcomes(seen) == {Outcome.OK: 2}
        assert [turn.number for turn in server.turns] == [0, 1, 0]
        assert seen[1].sent_ns is not None
        assert seen[1].sent_ns > seen[1].due_ns
        assert seen[1].end_ns - seen[1].sent_ns > 200_000_000  # counted from the first try


async def test_a_fresh_connection_that_closes_is_not_tried_again() -> None:
    async def closes(turn: Turn) -> None:
        return None

    async with ScriptedServer(closes) as server:
        assert outcomes(await run(plan(3, 30), server.url)) == {Outcome.RESET: 3}
        assert len(server.turns) == 3


async def test_a_kept_connection_that_closes_after_a_long_wait_is_a_reset_not_a_second_try() -> None:
    async def dies_later(turn: Turn) -> bool:
        if turn.number == 0:
            await turn.say(FINE)
        else:
            await asyncio.sleep(1.2)
        return turn.number == 0

    async with ScriptedServer(dies_later) as server:
        seen = await run(plan(2, 150), server.url)
        assert [one.outcome for one in seen] == [Outcome.OK, Outcome.RESET]
        assert len(server.turns) == 2


async def test_an_answer_to_no_question_costs_the_connection_and_nothing_else() -> None:
    async def talks_on(turn: Turn) -> bool:
        await turn.say(FINE)
        await asyncio.sleep(0.05)
        await turn.say(FINE)
        return True

    async with ScriptedServer(talks_on) as server:
        assert outcomes(await run(plan(3, 250), server.url)) == {Outcome.OK: 3}
        assert server.connections == 3


async def test_requests_beyond_the_bound_of_connections_wait_and_the_wait_is_lag() -> None:
    async def slow(turn: Turn) -> bool:
        await asyncio.sleep(0.1)
        await turn.say(FINE)
        return True

    async with ScriptedServer(slow) as server, started(plan(6), server.url, connections=2) as pool:
        seen = await everything(pool)
        assert outcomes(seen) == {Outcome.OK: 6}
        assert server.connections == 2
        assert max(one.sent_ns or 0 for one in seen) > 190 * MS
        lag_s = pool.send_lag.quantile_s(1.0)
        assert lag_s is not None
        assert lag_s > 0.19


async def test_a_request_that_never_got_a_connection_of_the_bound_is_unsent() -> None:
    async with ScriptedServer(hang) as server:
        seen = await run(plan(3, timeout_s=0.3), server.url, connections=1)
        assert [one.outcome for one in seen] == [Outcome.TIMEOUT, Outcome.UNSENT, Outcome.UNSENT]


async def test_a_name_with_two_addresses_is_reached_on_the_one_that_listens() -> None:
    async with ScriptedServer(fine) as server:
        assert outcomes(await run(plan(2, 50), server.url.replace("127.0.0.1", "localhost"))) == {Outcome.OK: 2}


async def test_a_large_body_arrives_whole() -> None:
    request = PlannedRequest(index=0, due_ns=0, path="/", body=bytes(range(256)) * 20_000)
    async with ScriptedServer(fine) as server:
        assert outcomes(await run([request], server.url)) == {Outcome.OK: 1}
        assert server.turns[0].body == request.body


# ---- time


async def test_latency_counts_from_due_while_the_server_stalls() -> None:
    """The server answers nobody before one moment: request k, due at 20 k ms, waits the rest. Closed form."""
    stall_ns = 600 * MS
    begun = asyncio.Event()

    async def stalls(turn: Turn) -> bool:
        await begun.wait()
        await turn.say(FINE)
        return True

    async with ScriptedServer(stalls) as server:
        pool = LoadPool(Plan.of(plan(40, 20)), server.url)
        await pool.prepare()
        t0_ns = time.monotonic_ns() + 20 * MS
        asyncio.get_running_loop().call_later((t0_ns + stall_ns - time.monotonic_ns()) / 1e9, begun.set)
        pool.start(t0_ns)
        seen = await everything(pool)
        await pool.close()
    assert outcomes(seen) == {Outcome.OK: 40}
    late_ns, sent_late_ns = [], []
    for one in seen:
        assert one.first_ns is not None
        assert one.sent_ns is not None
        expected_ns = max(stall_ns - one.due_ns, 0)
        assert one.first_ns - one.due_ns - expected_ns > -2 * MS
        late_ns.append(one.first_ns - one.due_ns - expected_ns)
        sent_late_ns.append(one.sent_ns - one.due_ns)
    assert median(late_ns) < 100 * MS
    assert median(sent_late_ns) < 100 * MS  # the stall does not delay the sending of those behind it


async def test_nothing_is_sent_before_it_is_due() -> None:
    async with ScriptedServer(fine) as server:
        seen = await run(plan(200, 2), server.url)
    assert all(one.sent_ns is not None and one.sent_ns >= one.due_ns for one in seen)


async def test_token_times_follow_the_server() -> None:
    said_ns: list[int] = []

    async def paced(turn: Turn) -> bool:
        await turn.say(STREAM_HEAD)
        for _ in range(5):
            said_ns.append(time.monotonic_ns())
            await turn.say(chunk(event("x")))
            await asyncio.sleep(0.05)
        await turn.say(chunk(LAST + DONE), b"0\r\n\r\n")
        return True

    async with ScriptedServer(paced) as server:
        pool = LoadPool(Plan.of(plan(1)), server.url)
        await pool.prepare()
        t0_ns = time.monotonic_ns()
        pool.start(t0_ns)
        (one,) = await everything(pool)
        await pool.close()
    late_ns = [t0_ns + heard_ns - spoken_ns for heard_ns, spoken_ns in zip(one.event_ns, said_ns, strict=True)]
    assert min(late_ns) > 0
    assert median(late_ns) < 40 * MS
    assert one.last_ns == one.event_ns[-1]
    assert one.answer == "xxxxx"


async def test_batches_come_soon_after_what_they_report() -> None:
    async with ScriptedServer(fine) as server:
        pool = LoadPool(Plan.of(plan(50, 20)), server.url)
        await pool.prepare()
        t0_ns = time.monotonic_ns()
        pool.start(t0_ns)
        delays = []
        async for batch in pool.batches():
            now_ns = time.monotonic_ns() - t0_ns
            delays += [now_ns - one.end_ns for one in batch.observations]
        await pool.close()
    assert len(delays) == 50
    assert median(delays) < 200 * MS


# ---- two workers, stopping, dying


async def test_two_workers_share_the_plan_by_turns() -> None:
    async with ScriptedServer(fine) as server, started(plan(40, 5), server.url, workers=2) as pool:
        seen = await everything(pool)
        assert outcomes(seen) == {Outcome.OK: 40}
        assert [one.worker for one in seen] == [0, 1] * 20
        assert pool.totals.sent == 40
        assert len(pool.health) == 2


async def test_more_workers_than_requests_is_fine() -> None:
    async with ScriptedServer(fine) as server:
        assert outcomes(await run(plan(1), server.url, workers=3)) == {Outcome.OK: 1}
        assert await run([], server.url) == []


async def test_a_stop_leaves_the_rest_unsent_and_cancels_what_outlasts_the_grace() -> None:
    async with ScriptedServer(hang) as server, started(plan(20, 100, timeout_s=30), server.url) as pool:
        await server.heard(3)
        began_s = time.monotonic()
        await pool.stop(0.2)
        assert time.monotonic() - began_s > 0.15
        seen = await everything(pool)
        assert pool.deaths == []
        assert {Outcome.CANCELLED, Outcome.UNSENT} == set(outcomes(seen))
        assert outcomes(seen)[Outcome.CANCELLED] >= 3
        for one in seen:
            assert (one.sent_ns is None) == (one.outcome is Outcome.UNSENT)


async def test_what_ends_within_the_grace_of_a_stop_is_ok() -> None:
    async def slow(turn: Turn) -> bool:
        await turn.say(STREAM_HEAD, chunk(event("A")))
        await asyncio.sleep(0.3)
        await turn.say(chunk(LAST + DONE), b"0\r\n\r\n")
        return True

    async with ScriptedServer(slow) as server, started([*plan(1), *plan(2, 9000)[1:]], server.url) as pool:
        await server.heard(1)
        await pool.stop(5.0)
        assert [one.outcome for one in await everything(pool)] == [Outcome.OK, Outcome.UNSENT]


async def test_a_stop_leaves_those_that_wait_for_a_connection_unsent() -> None:
    async with ScriptedServer(hang) as server, started(plan(4), server.url, connections=1) as pool:
        await server.heard(1)
        await pool.stop(0.1)
        assert outcomes(await everything(pool)) == {Outcome.CANCELLED: 1, Outcome.UNSENT: 3}
        assert len(server.turns) == 1


async def test_a_stop_before_the_start_leaves_everything_unsent() -> None:
    async with ScriptedServer(fine) as server:
        pool = LoadPool(Plan.of(plan(5)), server.url, workers=2)
        await pool.prepare()
        await pool.stop(0.0)
        pool.start(time.monotonic_ns())
        seen = await everything(pool)
        await pool.close()
        assert outcomes(seen) == {Outcome.UNSENT: 5}
        assert all(one.end_ns == 0 for one in seen)
        assert server.turns == []


async def test_a_stop_before_anything_was_prepared_leaves_everything_unsent() -> None:
    pool = LoadPool(Plan.of(plan(5)), "http://127.0.0.1:9")
    await pool.stop(0.0)
    assert outcomes(await everything(pool)) == {Outcome.UNSENT: 5}
    await pool.close()


async def test_a_killed_worker_still_gives_every_request_its_observation() -> None:
    """Even ones are worker 0's. It answers request 0, hangs on 2 and 4, and is killed before 6 is due."""

    async def even_ones_hang(turn: Turn) -> bool:
        if turn.body in (b"2", b"4"):
            await turn.until_closed()
        await turn.say(FINE)
        return True

    requests = [
        PlannedRequest(
            index=index, due_ns=(index * 20 + (3000 if index >= 6 else 0)) * MS, path="/", body=b"%d" % index
        )
        for index in range(12)
    ]
    async with ScriptedServer(even_ones_hang) as server, started(requests, server.url, workers=2) as pool:
        seen = []
        killed = False
        async for batch in pool.batches():
            seen += batch.observations
            if not killed and batch.totals.sent == 6 and batch.totals.done == 4:
                killed = True
                os.kill(pool.pids[0], signal.SIGKILL)
        assert "load worker 0 died" in pool.deaths[0]
    seen.sort(key=lambda one: one.index)
    assert [one.index for one in seen] == list(range(12))
    ok, cancelled, unsent = Outcome.OK, Outcome.CANCELLED, Outcome.UNSENT
    assert [one.outcome for one in seen[::2]] == [ok, cancelled, cancelled, unsent, unsent, unsent]
    assert [one.outcome for one in seen[1::2]] == [ok] * 6
    assert seen[2].sent_ns is not None
    assert {one.error for one in seen if one.outcome is not ok} == {"load worker died"}


async def test_a_worker_that_stands_still_for_a_while_loses_nothing_and_shows_its_lag() -> None:
    stall_ns = 1_000 * MS
    async with ScriptedServer(fine) as server, started(plan(100, 20), server.url) as pool:
        await server.heard(3)
        os.kill(pool.pids[0], signal.SIGSTOP)
        stopped_ns = time.monotonic_ns()
        await asyncio.sleep(stall_ns / 1e9)
        stalled_ns = time.monotonic_ns() - stopped_ns
        os.kill(pool.pids[0], signal.SIGCONT)
        seen = await everything(pool)
        assert pool.deaths == []
        assert outcomes(seen) == {Outcome.OK: 100}
        assert pool.send_lag.max_ns > stalled_ns - 40 * MS  # the first that came due in it waited nearly all of it
        assert max(one.first_ns - one.due_ns for one in seen if one.first_ns) > stalled_ns - 40 * MS


async def test_a_worker_that_cannot_answer_a_stop_is_killed_and_accounted_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scenarios.load.pool._STOP_MARGIN_S", 0.3)
    async with ScriptedServer(hang) as server, started(plan(3), server.url) as pool:
        await server.heard(3)
        os.kill(pool.pids[0], signal.SIGSTOP)
        await pool.stop(0.0)
        assert outcomes(await everything(pool)) == {Outcome.CANCELLED: 3}
        assert "did not stop" in pool.deaths[0]


async def test_a_worker_that_cannot_start_is_an_error_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'no such module' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    pool = LoadPool(Plan.of(plan(2)), "http://127.0.0.1:9")
    with pytest.raises(HarnessError, match="ended before it was ready: no such module"):
        await pool.prepare()
    await pool.close()
    assert outcomes(await everything(pool)) == {Outcome.UNSENT: 2}


async def test_a_closed_pool_has_accounted_for_everything_and_left_no_process() -> None:
    async with ScriptedServer(hang) as server:
        async with started(plan(4, 50), server.url, workers=2) as pool:
            await server.heard(1)
        assert len(await everything(pool)) == 4
        assert not any(psutil.pid_exists(pid) for pid in pool.pids)


async def test_ctrl_c_is_not_for_the_workers() -> None:
    async with ScriptedServer(fine) as server, started(plan(10, 30), server.url) as pool:
        os.kill(pool.pids[0], signal.SIGINT)
        assert outcomes(await everything(pool)) == {Outcome.OK: 10}


async def test_a_worker_ends_when_its_runner_is_killed() -> None:
    script = textwrap.dedent("""
        import asyncio, time
        from scenarios.load.pool import LoadPool
        from scenarios.plan import Plan
        from scenarios.request import PlannedRequest
        async def main():
            pool = LoadPool(Plan.of([PlannedRequest(index=0, due_ns=10**12, path="/", body=b"")]), "http://127.0.0.1:9")
            await pool.prepare()
            pool.start(time.monotonic_ns())
            print(pool.pids[0], flush=True)
            await asyncio.sleep(60)
        asyncio.run(main())
    """)
    runner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": ROOT}
    )
    assert runner.stdout is not None
    worker = psutil.Process(int(await runner.stdout.readline()))
    runner.kill()
    await runner.wait()
    await asyncio.to_thread(worker.wait, 5)  # raises if it lives on


# ---- the target and its key


async def test_the_key_reaches_the_target_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-very-secret-key"

    async def echoes(turn: Turn) -> None:
        said = turn.header("authorization") or ""
        if turn.body == b"stream":
            await turn.say(stream(event(said)))
        else:
            await turn.say(answer("401 No", said.encode()))

    requests = [
        PlannedRequest(index=index, due_ns=0, path="/", body=body) for index, body in enumerate([b"stream", b"error"])
    ]
    async with ScriptedServer(echoes) as server, started(requests, server.url, api_keys={"": key}) as pool:
        assert key not in " ".join(psutil.Process(pool.pids[0]).cmdline())
        seen = await everything(pool)
    assert [turn.header("authorization") for turn in server.turns] == [f"Bearer {key}"] * 2
    assert (seen[0].answer, seen[1].error) == ("Bearer [api key]", "Bearer [api key]")
    assert key not in repr(seen)


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
async def test_a_target_is_taken_with_and_without_v1(ending: str) -> None:
    async with ScriptedServer(fine) as server:
        await run(plan(1), server.url + "/gate" + ending)
        assert server.turns[0].path == "/gate/v1/chat/completions"


async def test_a_target_that_is_no_url_is_refused_before_anything_starts() -> None:
    with pytest.raises(TargetError, match="no http"):
        await LoadPool(Plan.of(plan(1)), "ftp://127.0.0.1").prepare()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
async def test_https_is_spoken_and_the_certificate_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 2 "
        "-subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    await asyncio.to_thread(subprocess.run, command.split(), cwd=tmp_path, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    async with ScriptedServer(fine, context) as server:
        url = server.url.replace("http://127.0.0.1", "https://localhost")
        (stranger,) = await run(plan(1), url)
        assert stranger.outcome is Outcome.REFUSED
        assert "certificate" in stranger.error.lower()
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        assert outcomes(await run(plan(4, 30), url)) == {Outcome.OK: 4}


# ---- size


async def test_a_thousand_requests_with_a_server_that_breaks_at_random_are_all_accounted_for() -> None:
    async def moody(turn: Turn) -> bool:
        mood = zlib.crc32(turn.body) % 7
        if mood == 0:
            turn.reset()
        elif mood == 1:
            await turn.say(answer("503 Busy", b"", "Retry-After: 1"))
        elif mood == 2:
            await turn.say(CUT)
        elif mood == 3:
            await turn.until_closed()
        else:
            await turn.say(FINE)
        return mood in (1, 4, 5, 6)

    requests = [
        PlannedRequest(index=index, due_ns=index * MS, path="/", body=b"%d" % index, timeout_s=0.4)
        for index in range(1000)
    ]
    async with ScriptedServer(moody) as server:
        seen = await run(requests, server.url, workers=2)
    counts = outcomes(seen)
    assert sum(counts.values()) == 1000
    assert set(counts) == {Outcome.OK, Outcome.SHED, Outcome.RESET, Outcome.TRUNCATED, Outcome.TIMEOUT}
