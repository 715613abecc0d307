"""`seatrial serve` as its users run it: a process, its streams, its signals, and a death inside it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from console.exits import Exit
from engine.config import DEMO_MODEL
from tests.integration.engine_fixtures import needs_model

pytestmark = [needs_model, pytest.mark.timeout(120)]

ROOT = Path(__file__).resolve().parents[2]


class Server:
    """A running `seatrial serve --json`, ready."""

    def __init__(self, process: subprocess.Popen[str], stderr: Path) -> None:
        self.process, self._stderr = process, stderr
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, self.told
        self.ready = json.loads(line)
        self.http = httpx.Client(base_url=self.ready["url"], timeout=60, trust_env=False)

    @property
    def told(self) -> str:
        """What stderr has so far."""
        return self._stderr.read_text(encoding="utf-8")

    def chat(self, **fields: object) -> httpx.Response:
        body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8, **fields}
        return self.http.post("/v1/chat/completions", json=body)

    def decode(self) -> psutil.Process:
        """The process that computes."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return next(child for child in children if "engine.decode" in child.cmdline())

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@contextmanager
def serving(folder: Path, *argv: str) -> Iterator[Server]:
    """A server on a free port; killed at the end if it has not ended."""
    stderr = folder / "stderr"
    with stderr.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "console", "serve", "--port", "0", "--json", *argv],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
    with process:
        try:
            server = Server(process, stderr)
            with server.http:
                yield server
        finally:
            process.kill()


def run_to_its_end(*argv: str) -> subprocess.CompletedProcess[str]:
    """`seatrial serve` where it is not going to serve."""
    return subprocess.run(
        [sys.executable, "-m", "console", "serve", *argv],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def until(true: Callable[[], bool], within_s: float = 30.0) -> None:
    """Return when it holds; what is waited for tells of itself by nothing else."""
    end_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end_s, "it did not come about"
        time.sleep(0.02)


def test_it_says_where_it_is_answers_and_ends_in_order(tmp_path: Path) -> None:
    with serving(tmp_path, "--slots", "2", "--threads", "1") as server:
        ready = server.ready
        assert (ready["model"], ready["device"], ready["slots"], ready["n_ctx"]) == ("seatrial-demo", "CPU", 2, 1024)
        assert ready["gpu_layers"] == 0
        assert server.chat().json()["usage"]["completion_tokens"] > 0
        told = server.told
        for word in ("model ", "device ", "memory ", "serving ", "engine   ready", "ready    on CPU"):
            assert re.search(rf"^{word}", told, flags=re.M), word
        assert server.end(signal.SIGTERM) == Exit.GO
        assert "stopping: running requests get 10 s" in server.told


def test_ctrl_c_lets_a_running_stream_finish(tmp_path: Path) -> None:
    fields = {"stream": True, "max_tokens": 300, "ignore_eos": True, "stream_options": {"include_usage": True}}
    body = {"messages": [{"role": "user", "content": "Hello"}], **fields}
    with serving(tmp_path) as server, server.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = answer.iter_lines()
        next(lines)
        server.process.send_signal(signal.SIGINT)
        rest = "\n".join(lines)
        assert '"completion_tokens":300' in rest
        assert rest.rstrip().endswith("data: [DONE]")
        assert server.process.wait(30) == Exit.INTERRUPTED


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    fields = {"stream": True, "max_tokens": 900, "ignore_eos": True}
    body = {"messages": [{"role": "user", "content": "Hello"}], **fields}
    with serving(tmp_path, "--drain", "60s") as server:
        decode = server.decode()
        with server.http.stream("POST", "/v1/chat/completions", json=body) as answer:
            next(answer.iter_lines())
            decode.suspend()  # it would drain for a minute
            server.process.send_signal(signal.SIGTERM)
            until(lambda: "again to end at once" in server.told)
            assert server.end(signal.SIGTERM) == Exit.GO
        until(lambda: not decode.is_running() or decode.status() == psutil.STATUS_ZOMBIE)


def test_it_goes_on_serving_after_the_process_that_computes_was_killed(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        url, killed = server.ready["url"], server.decode()
        killed.kill()
        until(lambda: "engine   recovered" in server.told)
        assert server.decode().pid != killed.pid
        answer = server.chat()
        assert answer.status_code == 200
        assert str(answer.url).startswith(url)
        assert server.end(signal.SIGTERM) == Exit.GO


def test_an_engine_that_is_given_up_ends_the_command(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        deaths = 0
        while server.process.poll() is None and deaths < 20:
            try:
                server.decode().kill()
                deaths += 1
            except (StopIteration, psutil.Error):
                time.sleep(0.02)
        assert server.process.wait(30) == Exit.TARGET


def test_requests_are_logged_where_it_was_asked_for_and_keys_are_asked_for(tmp_path: Path) -> None:
    keys, log = tmp_path / "keys", tmp_path / "engine.log"
    keys.write_text("first-key\nsecond-key\n")
    argv = ("--api-key-file", str(keys), "--log", str(log), "--log-requests", "--response-cache", "1MB")
    with serving(tmp_path, *argv) as server:
        assert server.ready["device"] == "CPU"
        assert server.chat().status_code == 401
        server.http.headers["Authorization"] = "Bearer second-key"
        first = server.chat(temperature=0, seed=1)
        # An answer is kept just after its last byte was sent, so the very next request may come too early.
        answers = iter(lambda: server.chat(temperature=0, seed=1), None)
        hit = next(answer for answer in answers if answer.headers.get("x-seatrial-cache") == "hit")
        assert hit.json()["choices"] == first.json()["choices"]
        assert server.end(signal.SIGTERM) == Exit.GO
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert [line["status"] for line in lines if line["api"] == "chat"].count(200) >= 2
    assert "Hello" not in log.read_text()
    assert "second-key" not in log.read_text() + server.told


def test_the_requests_that_the_document_shows_are_answered(tmp_path: Path) -> None:
    document = (ROOT / "docs/serve.md").read_text(encoding="utf-8")
    shown = re.findall(r"^    curl \$URL(\S+)(?: --json '(.*)')?$", document, flags=re.M)
    assert len(shown) >= 10
    kind = {"Content-Type": "application/json"}  # as curl --json
    with serving(tmp_path) as server:
        for path, body in shown:
            answer = server.http.post(path, content=body, headers=kind) if body else server.http.get(path)
            assert answer.status_code == 200, (path, answer.text)
            assert "x-seatrial-ignored" not in answer.headers, path


def test_a_projector_that_the_engine_does_not_use_is_an_error_and_not_dropped(tmp_path: Path) -> None:
    head = b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 20) + b"general.architecture" + struct.pack("<IQ", 8, 4) + b"clip"
    projector = tmp_path / "projector.gguf"
    projector.write_bytes(head)
    done = run_to_its_end("--port", "0", "--mmproj", str(projector))
    assert done.returncode == Exit.TARGET
    assert done.stdout == ""
    assert "the engine did not start" in done.stderr


@pytest.mark.parametrize("taken", [True, False])
def test_an_engine_that_cannot_start_says_why_with_exit_code_5(tmp_path: Path, taken: bool) -> None:
    model = DEMO_MODEL
    if not taken:  # a whole file of an architecture that llama.cpp does not have
        model = tmp_path / "strange.gguf"
        content = DEMO_MODEL.read_bytes()
        model.write_bytes(content.replace(b"llama", b"alpac"))
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1] if taken else 0
        done = run_to_its_end("--port", str(port), "--model", str(model))
    assert done.returncode == Exit.TARGET
    assert done.stdout == ""
    assert "the engine did not start" in done.stderr
    assert ("cannot listen on 127.0.0.1" if taken else "unknown architecture") in done.stderr
    assert "Traceback" not in done.stderr
