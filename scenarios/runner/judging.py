"""The document of a finished run: made here, or in a process of its own where there is much to read."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec

from scenarios.errors import JournalError
from scenarios.journal import JournalReader
from scenarios.load.worker_process import worker_environment
from scenarios.rebuild import rebuild
from scenarios.result import ResultDocument

LARGE = 100_000  # requests; so many take half a second to judge, in which no tick would come, and 300 bytes each


async def judged(path: Path) -> ResultDocument:
    """The document of the journal at `path`. Raises JournalError."""
    with JournalReader(path) as reader:
        if reader.count("plan") < LARGE:
            return rebuild(reader)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "scenarios.rebuild", str(path)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=worker_environment(),
        start_new_session=True,  # the terminal's signals are for the runner
    )
    try:
        out, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        last = said.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise JournalError(f"{path}: the run could not be judged ({''.join(last)}); `seatrial report` tries again")
    return msgspec.json.decode(out, type=ResultDocument)
