"""The settings of one profile: in `[workload]`, or in its entry of `[workload.mix]`."""

from __future__ import annotations

from pathlib import Path

from scenarios.definition import Arrivals, Dataset, Lengths, Part, Replay, Sessions, Spread, Synthetic
from scenarios.sources.files import dataset_at, trace_at
from scenarios.toml.files import read_file
from scenarios.toml.keys import ALL_PART_KEYS, LENGTH_KEYS, PART_KEYS
from scenarios.toml.think import BURSTY, read_think
from scenarios.toml_table import Table

LONGEST_TOKENS = 1_000_000
MOST_TURNS = 20  # what the demo engine's context of 1,024 tokens holds of a support conversation


def read_part(table: Table, profile: str, arrivals: Arrivals | None) -> Part | None:
    """The profile with its settings; None after a mistake was noted."""
    own = PART_KEYS.get(profile, ())
    for key in ALL_PART_KEYS:
        if key in table and key not in own:
            fix = f"{profile} takes {', '.join(own)}" if own else f"{profile} takes no settings"
            table.refuse(key, f"{key} does not belong to the profile {profile}", fix)
    noted = table.noted
    part = _of_profile(table, profile, arrivals)
    return part if table.noted == noted else None


def _of_profile(table: Table, profile: str, arrivals: Arrivals | None) -> Part:
    match profile:
        case "support-chat" if "turns" in table or "think" in table:
            turns = _read_lengths(table, "turns", MOST_TURNS, "{ min = 2, max = 6 }")
            return Part(profile, sessions=None if turns is None else Sessions(turns, read_think(table)))
        case "dataset":
            found = read_file(table, "file", dataset_at, '"questions.jsonl"')
            most = table.whole("max_tokens", low=1, high=LONGEST_TOKENS)
            if found is None:
                return Part(profile)
            path, rows = found
            return Part(profile, dataset=Dataset(str(path), rows.digest, rows.answers, most or 256))
        case "trace":
            return Part(profile, replay=_read_replay(table, arrivals))
        case "synthetic":
            return Part(profile, synthetic=_read_synthetic(table))
    return Part(profile)


def _read_replay(table: Table, arrivals: Arrivals | None) -> Replay | None:
    """Without a file the rows are those whose times the arrivals follow."""
    shrink = table.whole("shrink", low=1, high=10_000) or 1
    prompt_max = table.whole("prompt_max", low=1, high=LONGEST_TOKENS) or 0
    output_max = table.whole("output_max", low=1, high=LONGEST_TOKENS) or 0
    exact = table.flag("exact_output")
    if "file" not in table and arrivals is None:
        return None  # they hold a mistake: whether they would have given the file is not known
    if "file" in table or arrivals is None or arrivals.recording is None:
        found = read_file(table, "file", trace_at, '"trace.csv", or arrivals of kind "trace"')
        if found is None:
            return None
        path, trace = found
    else:
        path = Path(arrivals.recording.path)
        trace = trace_at(path)
    if trace.block_tokens % shrink:
        what = f"blocks of {trace.block_tokens} tokens cannot be made {shrink} times shorter"
        table.refuse("shrink", what, "choose a power of two")
    return Replay(str(path), trace.digest, shrink, prompt_max, output_max, True if exact is None else exact)


def _read_synthetic(table: Table) -> Synthetic | None:
    prompt = _read_lengths(table, "prompt_tokens", LONGEST_TOKENS, "200")
    output = _read_lengths(table, "output_tokens", LONGEST_TOKENS, "50")
    prefix_tokens = table.whole("prefix_tokens", low=1, high=LONGEST_TOKENS)
    prefixes = table.whole("prefixes", low=1, high=LONGEST_TOKENS)
    reuse = table.number("reuse", low=0.0, high=1.0)
    exact = table.flag("exact_output")
    for key in ("prefixes", "reuse"):
        if key in table and "prefix_tokens" not in table:
            table.refuse(key, f"{key} needs to know how long a prefix is", "add prefix_tokens = 128")
    if prompt is None or output is None:
        return None
    return Synthetic(
        prompt,
        output,
        prefix_tokens or 0,
        prefixes or 1,
        (1.0 if prefix_tokens else 0.0) if reuse is None else reuse,
        True if exact is None else exact,
    )


def _read_lengths(table: Table, key: str, most: int, example: str) -> Lengths | None:
    """`key = 200` for always the same, else a table: `{ min = 50, max = 400 }` or `{ mean = 200, cv = 0.5 }`."""
    if not table.is_table(key):
        number = table.whole(key, low=1, high=most, required=example)
        return None if number is None else Lengths(Spread.CONSTANT, number, number, number)
    inner = table.table(key)
    assert inner is not None
    inner.refuse_unknown(LENGTH_KEYS, {})
    word = inner.word("spread", tuple(Spread)[1:], "spread")
    spread = Spread(word) if word else Spread.LOGNORMAL if "mean" in inner else Spread.UNIFORM
    even = spread is Spread.UNIFORM
    low = inner.whole("min", low=1, high=most, required="1" if even else "")
    high = inner.whole("max", low=1, high=most, required=str(most) if even else "")
    mean = None if even else inner.number("mean", required="200", low=1.0, high=most)
    cv = None if even else inner.number("cv", low=0.0, high=BURSTY)
    for other in ("mean", "cv"):
        if even and other in inner:
            inner.refuse(other, f"{other} does not belong to a uniform spread", "give min and max")
    low, high = 1 if low is None else low, most if high is None else high
    if low > high:
        inner.refuse("min", f"min ({low}) is above max ({high})", "swap them")
    return Lengths(spread, low, high, mean or 0.0, 0.0 if even else 0.5 if cv is None else cv)
