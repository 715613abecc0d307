"""The scenarios that come with Seatrial, one TOML file each; copy one to start your own."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent


def names() -> tuple[str, ...]:
    """The names of the catalogue's entries, sorted."""
    return tuple(sorted(file.stem for file in _HERE.glob("*.toml")))


def path(name: str) -> Path:
    """The TOML file of one entry. Raises KeyError for a name that is not in `names()`."""
    if name not in names():
        raise KeyError(name)
    return _HERE / f"{name}.toml"
