"""Files that a scenario names: where they lie, and what is wrong when they cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from scenarios.errors import DefinitionErrors
from scenarios.toml_table import Table, nearest

T = TypeVar("T")
LONGEST_PATH = 1000


def read_file(
    table: Table, key: str, reader: Callable[[Path], T], example: str, folders: bool = False
) -> tuple[Path, T] | None:
    """The file's absolute path and what `reader` makes of it; a relative path starts where the scenario file lies.

    `folders`: a folder will do as well.
    """
    text = table.text(key, required=example, longest=LONGEST_PATH)
    if text is None:
        return None
    try:
        path = (table.folder / Path(text).expanduser()).resolve()
    except (OSError, RuntimeError) as error:  # nobody's home directory, links in a circle
        table.refuse(key, f"{key} {text!r} leads nowhere ({getattr(error, 'strerror', error)})", "check the path")
        return None
    try:
        if not path.is_file() and not (folders and path.is_dir()):
            beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
            near = nearest(path.name, beside[:1000])
            what = "is a directory" if path.is_dir() else "does not exist"
            fix = f'did you mean "{near}"?' if near else f"a path is relative to {table.folder}"
            table.refuse(key, f"{key} {text!r} {what}", fix)
            return None
        return path, reader(path)
    except DefinitionErrors as error:
        first = error.mistakes[0]
        more = f" (and {len(error.mistakes) - 1} more)" if len(error.mistakes) > 1 else ""
        place = f"line {first.line}: " if first.line else ""
        table.refuse(key, f"{key} {text!r} cannot be used: {place}{first.what}{more}", first.fix)
    except OSError as error:
        table.refuse(key, f"{key} {text!r} cannot be read ({error.strerror})", "check the path and its permissions")
    return None
