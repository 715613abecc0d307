"""Where the traceback of a bug goes: a private file that its finder can attach to an issue."""

from __future__ import annotations

import os
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from scenarios.runs import runs_dir


def save_traceback(error: BaseException, argv: Sequence[str]) -> str:
    """Write the traceback beside the runs (else to the temporary folder) and say where it is and what to do."""
    text = f"seatrial {' '.join(argv)}\n\n{''.join(traceback.format_exception(error))}"
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}.txt"
    for folder in (runs_dir().parent / "crashes", Path(tempfile.gettempdir()) / f"seatrial-crashes-{os.getuid()}"):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = folder / name
            with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
        except OSError:
            continue
        return f"the traceback is in {path}: please open an issue with it"
    return f"the traceback could not be saved anywhere, so here it is:\n{text}"
