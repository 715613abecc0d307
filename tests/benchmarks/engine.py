"""The engine's targets, measured beside its peers. Run: python tests/benchmarks/engine.py --all

The table goes to stdout, progress to stderr. A peer that is not here leaves its rows "not run" and says how to get it.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import signal
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec
import uvloop

from engine.config import EngineConfig
from tests.benchmarks.engine_bench import (
    target_death,
    target_disconnect,
    target_fairness,
    target_fuzz,
    target_histograms,
    target_long_prompt,
    target_memory,
    target_overload,
    target_shared_prefix,
    target_step_time,
    target_throughput,
)
from tests.benchmarks.engine_bench.bench import Bench, Options, Progress
from tests.benchmarks.engine_bench.errors import BenchmarkError, ServerFailed
from tests.benchmarks.engine_bench.facts import gpus, machine_facts
from tests.benchmarks.engine_bench.peers import find_peers
from tests.benchmarks.engine_bench.shapes import SHAPES
from tests.benchmarks.engine_bench.table import Document, Row, load, merged, not_run, render, save, write_into

TARGETS: dict[int, ModuleType] = {
    module.NUMBER: module
    for module in (
        target_throughput,
        target_step_time,
        target_long_prompt,
        target_shared_prefix,
        target_fairness,
        target_overload,
        target_disconnect,
        target_death,
        target_fuzz,
        target_memory,
        target_histograms,
    )
}
ON_A_GPU = (1, 2, 3, 4)


def main() -> int:
    parser = _parser()
    args = parser.parse_args()
    if args.gpu_layers and not set(args.only or ON_A_GPU) <= set(ON_A_GPU):
        parser.error(f"on a GPU only targets {', '.join(map(str, ON_A_GPU))} are measured: give --only")
    try:
        document = load(args.json) if args.json else Document()
        if args.only or args.all:
            document = uvloop.run(_measure(args, document))
        elif not args.json:
            parser.error("nothing to do: give --all, or --only 1,3, or --json FILE to print what it holds")
        return _show(args, document)
    except BenchmarkError as error:
        print(f"engine.py: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("engine.py: interrupted; every server is stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    def targets(text: str) -> list[int]:
        numbers = [int(part) for part in text.split(",")]
        if unknown := sorted(set(numbers) - set(TARGETS)):
            raise argparse.ArgumentTypeError(
                f"there is no target {unknown[0]}; there are {min(TARGETS)} to {max(TARGETS)}"
            )
        return numbers

    listed = "\n".join(f"  {number:2}  {module.TITLE}" for number, module in TARGETS.items())
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"targets:\n{listed}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="measure every target (hours)")
    parser.add_argument("--only", type=targets, metavar="N,...", help="measure these targets")
    parser.add_argument("--quick", action="store_true", help="short rounds, and two of each")
    parser.add_argument("--pairs", type=int, metavar="N", help="rounds of each comparison (default: 10; 2 if --quick)")
    parser.add_argument("--long", action="store_true", help="also the saturated twenty minutes of target 8")
    parser.add_argument(
        "--threads", type=int, default=0, metavar="N", help="of every server (default: all cores but one)"
    )
    parser.add_argument(
        "--shape", choices=SHAPES, default="160m", help="size of the random-weight model (default: 160m)"
    )
    parser.add_argument(
        "--gpu-layers", type=int, default=0, metavar="N", help="layers on the GPU; then targets 1 to 4 are measured"
    )
    parser.add_argument("--llama-server", metavar="PATH", help="or $SEATRIAL_LLAMA_SERVER, or on the PATH")
    parser.add_argument(
        "--llama-server-args", default="", metavar="ARGS", help="further ones, as --llama-server-args=--kv-unified"
    )
    parser.add_argument(
        "--peer-python", metavar="PATH", help="an interpreter that has llama_cpp.server; or $SEATRIAL_PEER_PYTHON"
    )
    parser.add_argument(
        "--example-server", metavar="PATH", help="examples/server/server.py; or $SEATRIAL_EXAMPLE_SERVER"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="keep rows and raw numbers here; targets measured before stay in it"
    )
    parser.add_argument(
        "--docs", type=Path, metavar="FILE", help="put the table between the two marks of this document"
    )
    return parser


async def _measure(args: argparse.Namespace, document: Document) -> Document:
    """`document` with each target measured. Each is saved at once, so that an interruption costs one of them."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    peers = find_peers(args.llama_server, args.peer_python, args.example_server, args.llama_server_args)
    options = Options(
        peers=peers,
        threads=EngineConfig(model=Path(), threads=args.threads).thread_count(),
        pairs=args.pairs or (2 if args.quick else 10),
        quick=args.quick,
        long=args.long,
        shape=args.shape,
        gpu_layers=args.gpu_layers,
    )
    numbers = args.only or list(ON_A_GPU if args.gpu_layers else TARGETS)
    progress = Progress(sum(TARGETS[number].expected_s(options) for number in numbers))
    bench = Bench(options, progress)
    where = f"GPU, {options.shape}" if options.gpu_layers else ""
    no_gpu = bool(where) and not gpus()
    for hint in peers.hints():
        progress.say(hint)
    for number in numbers:
        module = TARGETS[number]
        facts = machine_facts(peers, options.threads)
        progress.begin(f"target {number}", module.expected_s(options))
        progress.say(f"target {number}: {module.TITLE}")
        if no_gpu:
            rows, measured = [not_run(number, module.TITLE, "", "ggml lists no GPU; build with -DGGML_CUDA=on")], None
        else:
            rows, measured = await _rows(bench, module)
        rows = [msgspec.structs.replace(row, where=where) for row in rows]
        for row in rows:
            progress.say(f"  {row.what}: {row.measured} {row.interval} (asked {row.asked or 'nothing'}): {row.verdict}")
        document = merged(document, rows, facts, measured)
        if args.json:
            save(args.json, document)
    return document


async def _rows(bench: Bench, module: ModuleType) -> tuple[list[Row], Any]:
    """A target that cannot be measured is a row that says why; the others go on."""
    try:
        measured = await module.measure(bench)
        return module.judge(measured), _plain(measured)
    except BenchmarkError as error:
        if isinstance(error, ServerFailed) and error.log_tail:
            bench.progress.say(f"the end of its log:\n{error.log_tail}")
        return [not_run(module.NUMBER, module.TITLE, "", str(error))], None
    except Exception as error:  # noqa: BLE001  # one target's defect must not cost the hours of the others
        traceback.print_exc()
        return [
            not_run(module.NUMBER, module.TITLE, "", f"the benchmark failed: {type(error).__name__}: {error}")
        ], None


def _plain(measured: Any) -> Any:
    if isinstance(measured, list):
        return [_plain(item) for item in measured]
    return dataclasses.asdict(measured)


def _show(args: argparse.Namespace, document: Document) -> int:
    """Print the table and put it into the document. 1 when a target was missed."""
    table = render(document)
    print(table)
    if args.docs:
        write_into(args.docs, table)
    return 1 if any(row.met is False for row in document.rows) else 0


if __name__ == "__main__":
    sys.exit(main())
