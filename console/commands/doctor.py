"""What this machine has for a trial: each line ok, warn or fail, with a fix.

The demo model is really started and asked for an answer. Exit code 0, or 5 when something would keep a run with the
engine in here from starting."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from console import options, terminal
from console.exits import Exit

if TYPE_CHECKING:
    from console.checks import Check

EXAMPLES = """\
examples:
  seatrial doctor
  seatrial doctor --json
  seatrial doctor --quick                skip starting the engine
  seatrial doctor --model my-model.gguf  try this model instead of the demo model
"""

_GLYPH = {"ok": "✓", "warn": "!", "fail": "✗"}
_ROLE = {"ok": "good", "warn": "warn", "fail": "bad"}


def configure(parser: argparse.ArgumentParser) -> None:
    options.add_json(parser)
    parser.add_argument("--quick", action="store_true", help="do not start the engine")
    parser.add_argument("--model", metavar="PATH|hf:ORG/REPO:FILE", help="the model to try (default: the demo model)")
    options.add_runs_dir(parser)
    options.add_plain(parser)


def handle(args: argparse.Namespace) -> int:
    from scenarios.report.document import to_json

    paint = terminal.paint if terminal.colourful(sys.stdout, args.plain) else terminal.no_paint
    found = []
    for check in _all(args):
        found.append(check)
        if not args.json:
            word = f"{_GLYPH[check.status]} {check.status.value:<4}"
            terminal.emit(f"{paint(_ROLE[check.status], word)}  {check.name:<11} {check.found}\n")
            if check.fix:
                terminal.emit(f"{' ' * 20}{check.fix}\n")
    failed = any(check.status == "fail" for check in found)
    if args.json:
        rows = [{"name": c.name, "status": c.status.value, "found": c.found, "fix": c.fix} for c in found]
        terminal.emit_json(to_json({"ok": not failed, "checks": rows}))
    return Exit.TARGET if failed else Exit.GO


def _all(args: argparse.Namespace) -> Iterator[Check]:
    from console import checks
    from console.hub import resolve_model
    from engine.config import DEMO_MODEL
    from engine.telemetry import GpuMonitor
    from scenarios.runs import runs_dir

    yield checks.python()
    build = checks.ask_llama()
    yield from checks.llama(build)
    monitor = GpuMonitor()
    try:
        gpus = len(monitor.sample())
        yield checks.gpu(build, monitor.note, gpus)
        yield checks.faults(gpus)
    finally:
        monitor.close()
    yield checks.port()
    yield checks.clock()
    yield _noise()
    yield checks.cores()
    yield checks.open_files()
    yield from checks.runs_folder(runs_dir(args.runs_dir))
    model = resolve_model(args.model) or DEMO_MODEL
    if not model.is_file():
        fix = "run `make model` to make it anew, or give --model"
        yield checks.Check("model", checks.Status.FAIL, f"no file at {model}", fix)
        return
    yield checks.memory(model)
    if args.quick or build.problem:
        return
    yield asyncio.run(_engine(model))


def _noise() -> Check:
    """A preflight of one second: load workers and a paced server are really started."""
    from console.checks import Check, Status, noise
    from scenarios.errors import HarnessError
    from scenarios.runner.preflight import Load, preflight

    try:
        return noise(asyncio.run(preflight(Load(streams=64, stream_s=0.25, duration_s=1.0), 1, lambda _: None)))
    except HarnessError as error:
        return Check("noise", Status.FAIL, str(error), "a run cannot start its load workers either; mend that first")


async def _engine(path: Path) -> Check:
    """Start the engine for real and ask it for a few tokens."""
    import httpx

    from console.checks import Check, Status
    from engine.config import EngineConfig
    from engine.errors import EngineError
    from engine.supervisor import EngineSupervisor

    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="seatrial-doctor-") as folder:
        supervisor = EngineSupervisor(
            EngineConfig(model=path, slots=1, ctx=256), lambda _: None, Path(folder) / "engine.log"
        )
        try:
            await supervisor.start()
            ready_s = time.monotonic() - begun
            body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8, "model": path.stem}
            async with httpx.AsyncClient(timeout=30.0, trust_env=False) as http:  # loopback: no proxy
                (await http.post(f"{supervisor.url}/v1/chat/completions", json=body)).raise_for_status()
        except EngineError as error:
            first = (str(error).splitlines() or ["no message"])[0]
            return Check("model", Status.FAIL, f"{path.name} did not start: {first}", "try another with --model")
        except httpx.HTTPError as error:
            return Check("model", Status.FAIL, f"{path.name} started but did not answer ({error})", "try it again")
        finally:
            await supervisor.stop()
    answer_s = time.monotonic() - begun - ready_s
    return Check(
        "model", Status.OK, f"{path.name} was ready in {ready_s:.1f} s and answered in {answer_s * 1e3:.0f} ms"
    )
