"""A runner or a worker killed at a random moment costs at most a second, and `resume` finishes the plan."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from scenarios.errors import JournalError
from scenarios.journal import JournalReader
from scenarios.runs import journal_path

MOST_LOST_S = 1.0
RATE, DURATION_S = 200, 2.0
_RUN = "r1"
_PATIENCE_S = 60.0
_SCENARIO = f"""
name = "crash"
about = "to be killed"
[workload]
profile = "it-ops"
[arrivals]
kind = "constant"
rate = {RATE}
duration = "{DURATION_S:g}s"
[[gates]]
metric = "error_rate"
max = 0.5
"""
_EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"ok"},"finish_reason":%s}]}\n\n'
_STREAM = _EVENT % b"null" + _EVENT % b'"stop"' + b"data: [DONE]\n\n"


class StampingServer:
    """Answers everything after 20 to 150 ms, and knows when each answer was whole. In a thread of its own."""

    def __init__(self) -> None:
        self.answered_ns: list[int] = []  # of time.monotonic_ns, ascending
        self.heard = threading.Event()
        self.url = ""
        self._random = random.Random(1)
        self._up = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._over: asyncio.Event
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> StampingServer:
        self._thread.start()
        self._up.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def begin(self) -> None:
        """Forget what was answered so far."""
        self.heard.clear()
        self.answered_ns = []

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._up.set()
        await self._over.wait()
        server.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0].strip()
                await reader.readexactly(int(length or 0))
                if head.startswith(b"GET"):
                    await self._say(writer, b"application/json", b'{"data":[{"id":"stamped"}]}')
                    continue
                self.heard.set()
                await asyncio.sleep(self._random.uniform(0.02, 0.15))
                await self._say(writer, b"text/event-stream", _STREAM)
                self.answered_ns.append(time.monotonic_ns())
        except (asyncio.IncompleteReadError, OSError):
            pass  # the client is gone, as it should be
        finally:
            writer.close()

    async def _say(self, writer: asyncio.StreamWriter, kind: bytes, body: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s" % (kind, len(body), body))
        await writer.drain()


@dataclass(frozen=True, slots=True)
class Crash:
    """One run that was killed. lost_s: how long before the kill the first answer that the journal does not hold came.

    problem: what was not as it should be; empty when all was.
    """

    victim: str
    after_s: float
    lost_s: float
    lost: int  # requests that count as lost after the resume
    problem: str = ""


def crash(server: StampingServer, folder: Path, victim: str, after_s: float, *more: str) -> Crash:
    """Start a run, kill its "runner" or a "worker" `after_s` after the first request, see what is left, resume."""
    scenario = folder / "crash.toml"
    scenario.write_text(_SCENARIO, encoding="utf-8")
    server.begin()
    options = ("--target", server.url, "--run-id", _RUN, "--runs-dir", str(folder), "--preflight", "500ms", *more)
    command = _command("run", str(scenario), "--plain", "--json", *options)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    give_up_at = time.monotonic() + _PATIENCE_S
    while not server.heard.wait(0.05):
        if process.poll() is not None or time.monotonic() > give_up_at:
            process.kill()
            return Crash(victim, after_s, 0.0, 0, f"it sent nothing: {process.communicate()[1][-300:]!r}")
    time.sleep(after_s)
    killed_ns = _kill(process, victim)
    process.communicate()
    if victim == "worker":
        return Crash(victim, after_s, 0.0, 0, _after_a_worker(folder, process.returncode))
    lost_s = _lost_s(server, folder, killed_ns)
    problem, lost = _after_a_runner(folder)
    if not problem and lost_s > MOST_LOST_S:
        problem = f"{lost_s:.2f} s were lost"
    return Crash(victim, after_s, lost_s, lost, problem)


def _kill(process: subprocess.Popen[bytes], victim: str) -> int:
    try:
        workers = [one for one in psutil.Process(process.pid).children() if "scenarios.load.worker" in one.cmdline()]
        if victim == "worker" and workers:
            workers[0].send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        pass  # it was done already
    if victim == "runner":
        process.kill()
    return time.monotonic_ns()


def _lost_s(server: StampingServer, folder: Path, killed_ns: int) -> float:
    with JournalReader(journal_path(folder, _RUN)) as reader:
        recorded = reader.count("observation", "outcome = 'ok'")
    answered = server.answered_ns[: bisect_right(server.answered_ns, killed_ns)]
    return (killed_ns - answered[recorded]) / 1e9 if recorded < len(answered) else 0.0


def _after_a_runner(folder: Path) -> tuple[str, int]:
    """(what is wrong, requests lost) of a run whose runner was killed, before and after its resume."""
    code, text = _call("report", folder)
    complete = '"state": "done"' in text or '"state":"done"' in text
    if not complete and code != 3:
        return f"the report of the dead run exits {code}: {text[-300:]}", 0
    code, text = _call("resume", folder)
    if complete:
        return ("" if code == 2 else f"a complete run is resumed with exit {code}: {text[-300:]}"), 0
    if code not in (0, 4):
        return f"resume exits {code}: {text[-500:]}", 0
    return _whole(folder, json.loads(text), text)


def _after_a_worker(folder: Path, code: int) -> str:
    """What is wrong with a run that lost its worker: it goes on, and is INVALID unless it was over."""
    _, text = _call("report", folder)
    problem, _ = _whole(folder, json.loads(text), text)
    return problem or ("" if code in (0, 4) else f"a run that lost its worker exits {code}")


def _whole(folder: Path, document: dict[str, Any], text: str) -> tuple[str, int]:
    summary, run = document["summary"], document["run"]
    planned, outcomes = summary["planned"], sum(summary["outcomes"].values())
    lost = sum(one["lost"] for one in run.get("resumed", ()))
    try:
        with JournalReader(journal_path(folder, _RUN)) as reader:
            indexes = [one.index for one in reader.observations()]
    except JournalError as error:
        return str(error), lost
    if not planned == outcomes == RATE * DURATION_S:
        return f"{planned} planned, {outcomes} outcomes, {RATE * DURATION_S:g} in the scenario", lost
    if indexes != list(range(planned)):
        return f"{len(indexes)} observations for {planned} requests", lost
    if run["state"] != "done":
        return f"the run is {run['state']}", lost
    if _call("report", folder)[1] != text:
        return "the report made again is another one", lost
    return "", lost


def _call(command: str, folder: Path) -> tuple[int, str]:
    done = subprocess.run(
        _command(command, _RUN, "--runs-dir", str(folder), "--json"),
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    return done.returncode, done.stdout or done.stderr


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "console", *words]


def crashes(count: int) -> list[Crash]:
    """So many kills at random, every fourth of a worker."""
    rng = random.Random(12)
    found = []
    with StampingServer() as server, tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            place = Path(folder, str(number))
            place.mkdir()
            victim = "worker" if number % 4 == 3 else "runner"
            found.append(crash(server, place, victim, rng.uniform(0.0, DURATION_S + 0.3)))
            print(f"kill {number}: {found[-1]}", file=sys.stderr, flush=True)
    return found
