"""A chaos search in words: what was covered, what was found, and the file that replays it."""

from __future__ import annotations

from collections.abc import Iterator

from scenarios.chaos.document import covered, tries
from scenarios.report.layout import LABEL, cut, field, pad
from scenarios.report.words import one_line, seconds
from scenarios.result import ChaosResult
from scenarios.sanitise import view

_LONGEST_LINE = 300


def facts(found: ChaosResult) -> list[tuple[str, list[str]]]:
    """What there is to say, each thing with its name."""
    more = found.tries - found.explored
    said = [tries(found.explored), covered(found), *([f"{more:,} more to repeat and shrink"] if more else [])]
    rows = [("Search", [*said, f"{seconds(found.spent_s)} in all", one_line(found.ended)])]
    rows += [("Mind", [one_line(warning)]) for warning in found.warnings]
    minimal = found.minimal
    if minimal is None:
        return rows
    requests = "1 request" if minimal.requests == 1 else f"{minimal.requests} requests"
    whole = (
        "nothing in it can be left out" if minimal.whole else "time ran out before it was made as small as it can be"
    )
    rows += [("Fails", [*(map(one_line, minimal.faults) if minimal.faults else ["no fault"]), requests])]
    rows += [("", [f"gate {one_line(minimal.gate)}", f"{minimal.failed} of {minimal.tried} times", whole])]
    return rows


def toml_lines(found: ChaosResult) -> list[str]:
    """The file that replays the failure, line by line, safe to show."""
    return [view(line, _LONGEST_LINE) for line in found.minimal.toml.splitlines()] if found.minimal else []


def lines(found: ChaosResult, width: int, seed: int) -> Iterator[str]:
    """The section of the text report; `seed` is the run's."""
    for name, words in facts(found):
        yield from field(name, words, width)
    if found.minimal is None:
        return
    yield f"{pad('Replay', LABEL)}seatrial run {found.minimal.path} --seed {seed}"  # never cut: it is to be copied
    yield from field("", ["with the target of this run: the same --launch, --target or --model"], width)
    yield ""
    yield from (cut(f"  {line}", width) for line in toml_lines(found))
