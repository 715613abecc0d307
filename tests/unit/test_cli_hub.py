"""Models by path or from the hub: resumed, checked, never half there."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from console.errors import DownloadError, UsageError
from console.hub import models_dir, read_name, resolve_model

MODEL = b"GGUF" + bytes(range(256)) * 4000
NAME = "hf:org/repo:dir/tiny-q4.gguf"


class Hub(BaseHTTPRequestHandler):
    """The hub's two steps: a redirect that describes the file, and the storage that sends it."""

    def do_GET(self) -> None:
        hub: Any = self.server
        hub.asked.append((self.path, self.headers.get("Range"), self.headers.get("Authorization")))
        if hub.status != 200:
            self.answer(hub.status, b"")
        elif self.path.startswith("/org/repo/resolve/main/"):
            self.send_response(302)
            self.send_header("Location", "/storage/file")
            self.send_header("X-Linked-Size", str(len(MODEL)))
            self.send_header("X-Linked-Etag", f'"{hub.sha256}"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            begin = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
            if begin >= len(MODEL):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(MODEL)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if begin else 200)
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(MODEL) - 1}/{len(MODEL)}")
            self.send_header("Content-Length", str(len(MODEL) - begin))
            self.end_headers()
            self.wfile.write(MODEL[begin : begin + hub.limit])
            if hub.limit < len(MODEL):
                self.close_connection = True

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not on stderr."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked, server.status, server.limit = [], 200, len(MODEL)
    server.sha256 = hashlib.sha256(MODEL).hexdigest()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("SEATRIAL_HOME", str(tmp_path))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_no_model_means_the_demo_model() -> None:
    assert resolve_model(None) is None


def test_a_path_must_be_a_gguf_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        resolve_model(str(tmp_path / "none.gguf"))
    (tmp_path / "x.gguf").write_bytes(b"PK\3\4")
    with pytest.raises(UsageError, match="not a GGUF file"):
        resolve_model(str(tmp_path / "x.gguf"))
    (tmp_path / "x.gguf").write_bytes(MODEL)
    assert resolve_model(str(tmp_path / "x.gguf")) == (tmp_path / "x.gguf").resolve()


def test_a_hub_file_is_fetched_once(hub: Any) -> None:
    path = resolve_model(NAME)
    assert path is not None
    assert path.read_bytes() == MODEL
    assert path.is_relative_to(models_dir().resolve())
    asked = len(hub.asked)
    assert resolve_model(NAME) == path
    assert len(hub.asked) == asked


def test_a_broken_download_goes_on_where_it_stopped(hub: Any) -> None:
    hub.limit = 300_000
    with pytest.raises(DownloadError, match="try again"):
        resolve_model(NAME)
    part = models_dir() / "org" / "repo" / "dir" / "tiny-q4.gguf.part"
    assert 0 < part.stat().st_size <= 300_000
    have = part.stat().st_size
    hub.limit = len(MODEL)
    path = resolve_model(NAME)
    assert path is not None
    assert path.read_bytes() == MODEL
    assert hub.asked[-1][1] == f"bytes={have}-"
    assert not part.exists()


def test_a_part_that_is_already_whole_is_used(hub: Any) -> None:
    part = models_dir() / "org" / "repo" / "dir" / "tiny-q4.gguf.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(MODEL)
    path = resolve_model(NAME)
    assert path is not None
    assert path.read_bytes() == MODEL


def test_a_file_that_is_not_the_one_described_is_removed(hub: Any) -> None:
    hub.sha256 = "0" * 64
    with pytest.raises(DownloadError, match="not the file that the hub describes"):
        resolve_model(NAME)
    assert not list(models_dir().rglob("*.gguf*part"))


@pytest.mark.parametrize(
    ("status", "text"), [(404, "has no org/repo"), (401, "HF_TOKEN"), (500, "could not be fetched")]
)
def test_the_hubs_refusals_are_explained(status: int, text: str, hub: Any) -> None:
    hub.status = status
    with pytest.raises(DownloadError, match=text):
        resolve_model(NAME)


def test_a_token_comes_from_the_environment(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "t0ken")
    resolve_model(NAME)
    assert hub.asked[0][2] == "Bearer t0ken"


def test_offline_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("SEATRIAL_HOME", str(tmp_path))
    with pytest.raises(DownloadError, match="check the network"):
        resolve_model(NAME)


@pytest.mark.parametrize(
    "text", ["hf:", "hf:org/repo", "hf:org/repo:x.bin", "hf:../x:y.gguf", "hf:a/b:../../y.gguf", "hf:a/b:/y.gguf"]
)
def test_a_malformed_hub_name_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="hf:ORG/REPO:FILE"):
        read_name(text)
