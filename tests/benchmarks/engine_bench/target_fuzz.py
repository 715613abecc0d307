"""Target 9: ten thousand fuzzed requests. They are a test of their own; this runs it and reports what it says."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass

from tests.benchmarks.engine_bench.bench import Bench, Options
from tests.benchmarks.engine_bench.errors import Unmeasured
from tests.benchmarks.engine_bench.peers import ROOT
from tests.benchmarks.engine_bench.table import Row

NUMBER = 9
TITLE = "fuzzed requests"
ASKED = "no process death, no 500, no hang, no injected control token, an invalid schema always 400"
_LONGEST_S = 3600.0


@dataclass(frozen=True, slots=True)
class Measured:
    files: list[str]
    passed: bool
    told: str


def expected_s(options: Options) -> float:
    return 60.0 if options.quick else 1200.0


async def measure(bench: Bench) -> Measured:
    files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*fuzz*.py"))
    if not files:
        raise Unmeasured("there is no tests/**/test_*fuzz*.py")
    bench.progress.step(", ".join(files))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "--timeout", f"{_LONGEST_S:g}", *files),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | {"SEATRIAL_FUZZ_REQUESTS": str(bench.pick(10_000, 400))},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(_LONGEST_S):
            output, _ = await process.communicate()
    except TimeoutError as error:
        raise Unmeasured(f"it had not ended after {_LONGEST_S:g} s") from error
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    lines = [line for line in output.decode(errors="replace").splitlines() if line.strip()]
    # What was sent and how it was answered, if the test says it, and pytest's own last line.
    told = [line for line in lines if " requests in " in line] + lines[-1:]
    return Measured(files, process.returncode == 0, "; ".join(" ".join(line.split()) for line in told))


def judge(measured: Measured) -> list[Row]:
    verdict = "met" if measured.passed else "short: the test failed"
    return [Row(NUMBER, ", ".join(measured.files), ASKED, measured.told, "", measured.passed, verdict)]
