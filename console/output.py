"""Files that a command writes: checked before any work is done, and written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from console.errors import UsageError


def check_writable(option: str, path: Path | None) -> None:
    """Raise UsageError when `path` cannot be written later; tries it with a file that is removed at once."""
    if path is None:
        return
    if path.is_dir():
        raise UsageError(f"{option} {path} is a folder; give the name of a file in it")
    if _is_special(path):
        if not os.access(path, os.W_OK):
            raise UsageError(f"{option} {path} cannot be written (Permission denied); choose another place")
        return
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {path.absolute().parent}; create it first")
    try:
        with tempfile.TemporaryFile(dir=path.absolute().parent):
            pass
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be written ({error.strerror}); choose another place") from error


def check_outputs(**paths: Path | None) -> None:
    """`check_writable` for options named by keyword (`junit=...`), which must not share a file."""
    taken: dict[Path, str] = {}
    for name, path in paths.items():
        check_writable(f"--{name}", path)
        if path is not None:
            other = taken.setdefault(path.resolve(), name)
            if other != name:
                raise UsageError(f"--{other} and --{name} name the same file, {path}; give each its own")


def write_atomically(path: Path, text: str) -> None:
    """Write beside `path`, then rename: a reader sees the old file or the whole new one.

    A device or a pipe (/dev/stdout, /dev/null) is written to and never replaced; a link keeps leading to its file.

    Raises:
        OSError: the disk is full or the folder is gone; nothing is left behind.
    """
    if _is_special(path):
        path.write_text(text, encoding="utf-8", newline="\n")
        return
    path = path.resolve()
    parent = path.parent
    handle, part = tempfile.mkstemp(dir=parent, prefix=f".{path.name}.")
    try:
        with open(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o644 & ~_umask())
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        Path(part).unlink(missing_ok=True)
        raise


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file()


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
