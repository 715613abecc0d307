"""`hf:ORG/REPO:FILE`: a GGUF file fetched from the hub into the cache, resumable, its size and hash checked."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import platformdirs

from console import terminal
from console.errors import DownloadError, UsageError

HUB = "https://huggingface.co"
"""$HF_ENDPOINT names a mirror, $HF_TOKEN a token for gated models, as with the hub's own tools."""

_NAME = re.compile(r"hf:([A-Za-z0-9][\w.-]*)/([A-Za-z0-9][\w.-]*):([A-Za-z0-9][\w./-]*\.gguf)", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a repository on the hub."""

    org: str
    repo: str
    file: str

    @property
    def url(self) -> str:
        base = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
        return f"{base}/{self.org}/{self.repo}/resolve/main/{self.file}"


@dataclass(frozen=True, slots=True)
class _Expected:
    """What the hub says the whole file is; None where it does not say."""

    size: int | None
    sha256: str | None


def resolve_model(text: str | None) -> Path | None:
    """The model file that --model means: a path as it is, an hf: name fetched once; None means the demo model.

    Raises:
        UsageError: no such file, not GGUF, or a malformed hf: name.
        DownloadError: the hub cannot be reached or does not have the file.
    """
    if text is None:
        return None
    path = fetch(read_name(text), models_dir()) if text.startswith("hf:") else Path(text).expanduser()
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise UsageError(f"--model {path} cannot be read ({error.strerror}); give the path of a GGUF file") from error
    if magic != b"GGUF":
        raise UsageError(f"--model {path} is not a GGUF file; convert it with llama.cpp's tools first")
    return path.resolve()


def read_name(text: str) -> HubFile:
    """Parse `hf:ORG/REPO:FILE.gguf`."""
    match = _NAME.fullmatch(text)
    if match is None or ".." in text:
        raise UsageError(f"--model {text!r} is no hub name; write hf:ORG/REPO:FILE.gguf")
    return HubFile(*match.groups())


def models_dir() -> Path:
    """$SEATRIAL_HOME/models, else the platform's cache directory."""
    home = os.environ.get("SEATRIAL_HOME")
    return (Path(home) if home else Path(platformdirs.user_cache_dir("seatrial", appauthor=False))) / "models"


def fetch(name: HubFile, folder: Path) -> Path:
    """The file in the cache; downloaded first when it is not there, going on where an earlier attempt stopped."""
    path = folder / name.org / name.repo / name.file
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        with _only_one(part):
            expected = _download(name, part)
            _check(part, expected)
            os.replace(part, path)
    except httpx.HTTPError as error:
        raise DownloadError(
            f"{name.url} could not be fetched ({type(error).__name__}: {error}); "
            "check the network and try again: it goes on where it stopped"
        ) from error
    except OSError as error:
        raise DownloadError(f"{part} could not be written ({error.strerror}); is the disk full?") from error
    return path


def _download(name: HubFile, part: Path) -> _Expected:
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    if token := os.environ.get("HF_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    timeout = httpx.Timeout(30.0, connect=10.0)
    with (
        httpx.Client(follow_redirects=True, timeout=timeout) as client,
        client.stream("GET", name.url, headers=headers) as answer,
    ):
        expected = _expected(answer, have)
        if answer.status_code == 416 and expected.size == have:  # everything is there already
            return expected
        if answer.status_code == 416:
            part.unlink()
            raise DownloadError(f"{part} did not fit the file on the hub and was removed; try again")
        if answer.status_code in (401, 403):
            raise DownloadError(f"{name.url} is not open to everybody ({answer.status_code}); set HF_TOKEN")
        if answer.status_code == 404:
            raise DownloadError(f"the hub has no {name.org}/{name.repo}:{name.file}; check the name on its page")
        answer.raise_for_status()
        resumed = answer.status_code == 206
        with part.open("ab" if resumed else "wb") as file:
            done = have if resumed else 0
            for chunk in _shown(answer.iter_bytes(), name.file, done, expected.size):
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
    return expected


def _expected(answer: httpx.Response, have: int) -> _Expected:
    """Size and hash, which the hub gives on the redirect and the storage behind it on the last answer."""
    size: int | None = None
    content_range = answer.headers.get("content-range", "")
    if content_range.rpartition("/")[2].isdigit():
        size = int(content_range.rpartition("/")[2])
    elif answer.status_code == 200:
        length = answer.headers.get("content-length", "")
        size = int(length) if length.isdigit() else None
    sha256: str | None = None
    for response in (*answer.history, answer):
        linked = response.headers.get("x-linked-size", "")
        size = int(linked) if linked.isdigit() else size
        tag = response.headers.get("x-linked-etag", "").strip('W/"')
        sha256 = tag if _SHA256.fullmatch(tag) else sha256
    return _Expected(size, sha256)


def _check(part: Path, expected: _Expected) -> None:
    size = part.stat().st_size
    if expected.size is not None and size < expected.size:
        raise DownloadError(f"the download stopped at {size:,} of {expected.size:,} bytes; try again: it goes on there")
    wrong = expected.size is not None and size != expected.size
    if not wrong and expected.sha256 is not None:
        with part.open("rb") as file:
            wrong = hashlib.file_digest(file, "sha256").hexdigest() != expected.sha256
    if wrong:
        part.unlink()
        raise DownloadError(f"{part} was not the file that the hub describes and was removed; try again")


def _shown(chunks: Iterator[bytes], name: str, done: int, total: int | None) -> Iterator[bytes]:
    """The chunks as they are, with progress on stderr: rewritten for a person, every ten seconds for a log."""
    person = terminal.redraws(sys.stderr)
    every, told = (0.2 if person else 10.0), 0.0
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        if time.monotonic() - told >= every:
            told = time.monotonic()
            size = f"{done / 1e6:,.0f} MB" + (f" of {total / 1e6:,.0f} MB ({done / total:.0%})" if total else "")
            sys.stderr.write(f"\r\x1b[2Kfetching {name}: {size}" if person else f"fetching {name}: {size}\n")
            sys.stderr.flush()
    if person:
        sys.stderr.write("\r\x1b[2K")


@contextmanager
def _only_one(part: Path) -> Iterator[None]:
    """Hold the download for this process; a second one is told so instead of writing into the same file."""
    import fcntl

    with open(part.with_name(part.name + ".lock"), "w", encoding="ascii") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DownloadError(f"another seatrial is fetching {part.stem}; wait for it to end") from error
        yield
