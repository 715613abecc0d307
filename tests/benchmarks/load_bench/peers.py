"""AIPerf and GuideLLM against the benchmark server, offline, on the generator's core: requests/s as they report it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.load_bench.errors import Unmeasured
from tests.benchmarks.load_bench.server import Server, cores

_TIMEOUT_S = 180.0
_PROMPT = "Where away?"
_TOKENIZER = """
import sys
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
plain = Tokenizer(models.WordLevel({"?": 0, "Where": 1, "away": 2}, unk_token="?"))
plain.pre_tokenizer = pre_tokenizers.Whitespace()
whole = PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="?", pad_token="?", eos_token="?")
whole.save_pretrained(sys.argv[1])
"""
"""What both of them insist on, though the server counts the tokens."""


@dataclass(frozen=True, slots=True)
class Peer:
    """`command` and `rate` are given the folder to work in."""

    name: str
    variable: str
    environment: dict[str, str]
    command: Callable[[str, Server, bool, int, bool], list[str]]
    rate: Callable[[Path], float]


def _aiperf(python: str, server: Server, stream: bool, concurrency: int, quick: bool) -> list[str]:
    count = (300 if quick else 1_000) if stream else (1_500 if quick else 5_000)
    return [
        *(python, "-m", "aiperf", "profile", "--model", "bench", "--url", server.url, "--endpoint-type", "chat"),
        *(("--streaming",) if stream else ()),
        *("--tokenizer", "./tokenizer", "--use-server-token-count", "--input-file", "aiperf.jsonl"),
        *("--custom-dataset-type", "single-turn", "--concurrency", str(concurrency), "--request-count", str(count)),
        *("--ui", "none", "--no-server-metrics", "--no-gpu-telemetry", "--export-level", "summary"),
        *("--workers-max", "1", "--output-artifact-dir", "found"),
    ]


def _aiperf_rate(folder: Path) -> float:
    found: dict[str, Any] = json.loads((folder / "found" / "profile_export_aiperf.json").read_bytes())
    return float(found["request_throughput"]["avg"])


def _guidellm(python: str, server: Server, stream: bool, concurrency: int, quick: bool) -> list[str]:
    return [
        *(python, "-m", "guidellm", "run", "--disable-console"),
        *("--backend", f"kind=openai_http,target={server.url},model=bench,stream={str(stream).lower()}"),
        *("--profile", f"kind=concurrent,streams={concurrency}"),
        *("--constraint", f"kind=max_duration,seconds={5 if quick else 10}"),
        *("--tokenizer", "kind=huggingface_auto,model=./tokenizer"),
        *("--data", "kind=json_file,path=guidellm.jsonl", "--output", "kind=json,path=found.json"),
    ]


def _guidellm_rate(folder: Path) -> float:
    found: dict[str, Any] = json.loads((folder / "found.json").read_bytes())
    return float(found["benchmarks"][0]["metrics"]["requests_per_second"]["successful"]["mean"])


PEERS = (
    Peer("AIPerf", "SEATRIAL_AIPERF_PYTHON", {}, _aiperf, _aiperf_rate),
    Peer("GuideLLM", "SEATRIAL_GUIDELLM_PYTHON", {"HF_HUB_OFFLINE": "1"}, _guidellm, _guidellm_rate),
)


def peer_rate(
    peer: Peer, server: Server, stream: bool, concurrency: int, quick: bool, both_cores: bool = False
) -> float:
    """Requests/s by the peer's own report, its processes on the generator's core, or on both. Raises Unmeasured."""
    python = os.environ.get(peer.variable, "")
    if not python:
        raise Unmeasured(f"${peer.variable} is not set: give an interpreter that has {peer.name.lower()} installed")
    allowed = set(cores()) if both_cores else {cores()[1]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "aiperf.jsonl").write_text(json.dumps({"text": _PROMPT}) + "\n")
        row = json.dumps({"prompt": _PROMPT, "output_tokens_count": 200})
        (folder / "guidellm.jsonl").write_text(f"{row}\n" * 20_000)
        _run((python, "-c", _TOKENIZER, "tokenizer"), folder, peer, allowed)
        _run(peer.command(python, server, stream, concurrency, quick), folder, peer, allowed)
        try:
            return peer.rate(folder)
        except (OSError, LookupError, ValueError) as error:
            raise Unmeasured(f"{peer.name} left no figure: {type(error).__name__}: {error}") from error


def _run(command: list[str] | tuple[str, ...], folder: Path, peer: Peer, allowed: set[int]) -> None:
    environment = {**os.environ, **peer.environment}
    environment.pop("PYTHONPATH", None)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, allowed)  # inherited, so that no process of theirs starts elsewhere
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unmeasured(f"{peer.name} did not run: {error}") from error
    finally:
        os.sched_setaffinity(0, before)
    if done.returncode:
        raise Unmeasured(f"{peer.name} ended with {done.returncode}: {(done.stdout + done.stderr).strip()[-300:]}")
