"""Plan, observations, judgements and findings as numpy columns, read once: about 150 bytes a request and 8 a gap.

Row i is request i in the order of the plan. Seconds are float64, NaN where a request has no such time. Latencies start
at due, the raw ones at sent. Odd probes have rows (they count in the outcomes) but no latencies: a probe that sends
slowly or garbles its body on purpose says nothing about the service's speed. They are judged by `odd.correct`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from scenarios.errors import MiscountError
from scenarios.metrics import ODD_PROFILE
from scenarios.observation import Finding, Judged, Observation, Outcome
from scenarios.request import PlannedRequest

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

OUTCOMES = tuple(Outcome)
MOST_GAPS = 16_000_000  # beyond it whole streams are left out evenly: 128 MB of gaps are enough for any percentile
_CODE = {outcome: code for code, outcome in enumerate(OUTCOMES)}
_NONE = np.iinfo(np.int64).min
_BLOCK = 65_536


@dataclass(frozen=True, slots=True)
class Columns:
    """See the module's text. `tokens` is -1 where the server gave no usage, `correct` -1 where nothing was judged."""

    index: Ints
    due_s: Floats
    end_s: Floats
    outcome: npt.NDArray[np.int8]  # place in OUTCOMES
    odd: Mask
    sent: Mask
    has_text: Mask
    profile: npt.NDArray[np.int16]  # place in `profiles`
    profiles: tuple[str, ...]
    era_b: Mask
    tokens: Ints
    correct: npt.NDArray[np.int8]
    latency_s: Mapping[str, Floats]  # ttft_s, ttfa_s, e2e_s, shed_s, tpot_s
    raw_s: Mapping[str, Floats]  # ttft_s, ttfa_s, e2e_s, shed_s, from sent
    gap_s: Floats  # pooled gaps of all streams
    gap_row: npt.NDArray[np.int32]
    flagged: Mapping[str, Ints]  # category -> rows whose answer has such a finding
    findings: Mapping[str, int]  # category -> findings in answers; "prompt.<category>" -> in prompts

    def is_outcome(self, *outcomes: Outcome) -> Mask:
        """Which rows ended in one of these."""
        return np.isin(self.outcome, [_CODE[outcome] for outcome in outcomes])


def columns_of(
    requests: Sequence[PlannedRequest],
    observations: Sequence[Observation],
    judged: Sequence[Judged] = (),
    findings: Sequence[Finding] = (),
) -> Columns:
    """Columns in the order of the plan. Raises MiscountError unless there is one observation for each request."""
    index = np.fromiter((request.index for request in requests), np.int64, len(requests))
    rows = _Rows(index)
    place = _one_each(rows, index, observations)
    names = sorted({request.profile for request in requests})
    number = {name: at for at, name in enumerate(names)}
    profile = np.fromiter((number[request.profile] for request in requests), np.int16, len(requests))
    odd: Mask = profile == number.get(ODD_PROFILE, -1)

    def times(name: str) -> Ints:
        """One time of the observations in nanoseconds, in plan order."""
        values = (_NONE if (ns := getattr(observation, name)) is None else ns for observation in observations)
        return np.fromiter(values, np.int64, len(place))[place]

    outcome = np.fromiter((_CODE[observation.outcome] for observation in observations), np.int8, len(place))[place]
    tokens = np.fromiter(
        (-1 if (count := observation.completion_tokens) is None else count for observation in observations),
        np.int64,
        len(place),
    )[place]
    has_text = np.fromiter((bool(observation.answer) for observation in observations), np.bool_, len(place))[place]
    due, sent, first, last, end = (times(name) for name in ("due_ns", "sent_ns", "first_ns", "last_ns", "end_ns"))
    ok, shed = outcome == _CODE[Outcome.OK], outcome == _CODE[Outcome.SHED]
    moments = {
        "ttft_s": np.where(odd, _NONE, first),
        "ttfa_s": np.where(odd, _NONE, times("answer_ns")),
        "e2e_s": np.where(ok & ~odd, np.where(last == _NONE, end, last), _NONE),
        "shed_s": np.where(shed & ~odd, end, _NONE),
    }
    paced = ~odd & (tokens >= 2) & (first != _NONE) & (last > first)
    tpot = np.where(paced, _between(first, last) / np.maximum(tokens - 1, 1), np.nan)
    gap_s, gap_row = _gaps(observations, np.argsort(place), odd)
    flagged, counts = _findings(rows, findings)
    return Columns(
        index=index,
        due_s=due / 1e9,
        end_s=end / 1e9,
        outcome=outcome,
        odd=odd,
        sent=sent != _NONE,
        has_text=has_text,
        profile=profile,
        profiles=tuple(names),
        era_b=np.fromiter((request.era == "B" for request in requests), np.bool_, len(requests)),
        tokens=tokens,
        correct=_correct(rows, judged, len(requests)),
        latency_s={name: _between(due, moment) for name, moment in moments.items()} | {"tpot_s": tpot},
        raw_s={name: _between(sent, moment) for name, moment in moments.items()},
        gap_s=gap_s,
        gap_row=gap_row,
        flagged=flagged,
        findings=counts,
    )


def _between(start_ns: Ints, end_ns: Ints) -> Floats:
    """Seconds between two times, NaN where one is missing; subtracted as integers, so that 0.8 s is exactly 0.8."""
    missing = (start_ns == _NONE) | (end_ns == _NONE)
    return np.where(missing, np.nan, np.where(missing, 0, end_ns - start_ns) / 1e9)


class _Rows:
    """Row of an index; plans are numbered from 0 in order, but nothing here relies on it."""

    def __init__(self, index: Ints) -> None:
        self._order = np.argsort(index, kind="stable")
        self._sorted = index[self._order]

    def of(self, indexes: Ints) -> Ints:
        """The row of each index; -1 for one that is not in the plan."""
        if not len(self._sorted):
            return np.full(len(indexes), -1, dtype=np.int64)
        at = np.minimum(np.searchsorted(self._sorted, indexes), len(self._sorted) - 1)
        return np.where(self._sorted[at] == indexes, self._order[at], -1)


def _one_each(rows: _Rows, index: Ints, observations: Sequence[Observation]) -> Ints:
    """For each row the place of its observation."""
    seen = rows.of(np.fromiter((observation.index for observation in observations), np.int64, len(observations)))
    times = np.bincount(seen[seen >= 0], minlength=len(index))
    if (seen < 0).any() or (times != 1).any():
        missing, twice = int((times == 0).sum()), int((times > 1).sum())
        raise MiscountError(
            f"{len(index)} requests were planned and {len(observations)} observed: {missing} have no observation, "
            f"{twice} have more than one, {int((seen < 0).sum())} observations belong to no request; "
            "this is a bug of the harness"
        )
    place = np.empty(len(index), dtype=np.int64)
    place[seen] = np.arange(len(observations))
    return place


def _gaps(observations: Sequence[Observation], row_of: Ints, odd: Mask) -> tuple[Floats, npt.NDArray[np.int32]]:
    """Every gap between two events of one stream, and the row of its stream."""
    lengths = np.fromiter((len(observation.event_ns) for observation in observations), np.int64, len(observations))
    step = max(1, -(-int(np.maximum(lengths - 1, 0).sum()) // MOST_GAPS))
    gaps, owners = [np.empty(0)], [np.empty(0, dtype=np.int32)]
    for start in range(0, len(observations), _BLOCK * step):
        block = observations[start : start + _BLOCK * step : step]
        counts = lengths[start : start + _BLOCK * step : step]
        events = np.fromiter(chain.from_iterable(one.event_ns for one in block), np.int64, int(counts.sum()))
        owner = np.repeat(row_of[start : start + _BLOCK * step : step], counts)
        inside = (owner[1:] == owner[:-1]) & ~odd[owner[1:]]
        gaps.append(np.diff(events)[inside] / 1e9)
        owners.append(owner[1:][inside].astype(np.int32))
    return np.concatenate(gaps), np.concatenate(owners)


def _correct(rows: _Rows, judged: Sequence[Judged], n: int) -> npt.NDArray[np.int8]:
    correct = np.full(n, -1, dtype=np.int8)
    told = [one for one in judged if one.correct is not None]
    at = rows.of(np.fromiter((one.index for one in told), np.int64, len(told)))
    values = np.fromiter((bool(one.correct) for one in told), np.int8, len(told))
    correct[at[at >= 0]] = values[at >= 0]
    return correct


def _findings(rows: _Rows, findings: Sequence[Finding]) -> tuple[dict[str, Ints], dict[str, int]]:
    indexes: dict[str, list[int]] = {}
    counts: dict[str, int] = {}
    for finding in findings:
        name = finding.category if finding.where == "answer" else f"{finding.where}.{finding.category}"
        counts[name] = counts.get(name, 0) + 1
        if finding.where == "answer":
            indexes.setdefault(finding.category, []).append(finding.index)
    flagged = {}
    for category, found in indexes.items():
        at = np.unique(rows.of(np.array(found, dtype=np.int64)))
        flagged[category] = at[at >= 0]
    return flagged, dict(sorted(counts.items()))
