"""How much memory this process could still be given: what the machine has, or its control groups allow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = ("memory.max", "memory.current", "inactive_file")


def memory_left(groups: Path = _GROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """Bytes, the smallest of what the machine and each control group of this process have left."""
    import psutil  # no fault but this one needs it

    return min(int(psutil.virtual_memory().available), *_left_in_groups(groups, own), 1 << 62)


def _left_in_groups(groups: Path, own: Path) -> Iterator[int]:
    """Of both versions of control groups; a container may see its own group as the root."""
    for line in _text(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield from _left_up(groups, path, _V2)
        elif "memory" in controllers.split(","):
            yield from _left_up(groups / "memory", path, _V1)


def _left_up(root: Path, path: str, names: tuple[str, str, str]) -> Iterator[int]:
    folder = root / path.strip("/")
    for group in (folder, *folder.parents):
        limit, usage = (_text(group / name).strip() for name in names[:2])
        if limit.isdecimal() and usage.isdecimal():
            yield max(0, int(limit) - int(usage) + _cache(_text(group / "memory.stat"), names[2]))
        if group == root:
            return


def _cache(stat: str, name: str) -> int:
    """File pages of a group that the kernel drops before it is short of memory."""
    for line in stat.splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
