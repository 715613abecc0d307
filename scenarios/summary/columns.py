"""Plan, observations, judgements and findings as numpy columns: about 85 bytes a request and 12 a gap.

Row i is request i in the order of the plan. Seconds are float64, NaN where a request has no such time. Latencies start
at due, the raw ones at sent. Odd probes have rows (they count in the outcomes) but no latencies: a probe that sends
slowly or garbles its body on purpose says nothing about the service's speed. They are judged by `odd.correct`.

They are filled from rows, a block at a time, so that a million requests never stand in memory as objects; the rows come
from a journal (summary.stored) or from objects (`columns_of`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from scenarios.errors import MiscountError
from scenarios.journal.packing import BASE_BYTES, STEP_BYTES, are_steps, packed_times
from scenarios.metrics import ODD_PROFILE
from scenarios.observation import Finding, Judged, Observation, Outcome
from scenarios.request import PlannedRequest

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Rows = Iterable[Sequence[tuple[Any, ...]]]
"""Blocks of rows."""

OUTCOMES = tuple(Outcome)
MOST_GAPS = 1_000_000  # beyond it whole streams are left out evenly: enough for any percentile, in 12 MB
MOST_FINGERPRINTS = 1_000  # a target may think of a new one for each answer
NONE = -(1 << 62)  # a time that a request does not have
_CODE = {outcome: code for code, outcome in enumerate(OUTCOMES)}
_CODE_OF_WORD = {outcome.value: code for code, outcome in enumerate(OUTCOMES)}
_DUE, _END, _SENT, _FIRST, _ANSWER, _LAST = range(6)
_FROM_DUE = ("ttft_s", "ttfa_s", "e2e_s", "shed_s")
_BLOCK = 16_384


@dataclass(frozen=True, slots=True)
class Columns:
    """See the module's text. `tokens` is -1 where the server gave no usage, `correct` -1 where nothing was judged.

    times_ns: due, end, sent, first, answer and last, one row each; NONE where a request has no such time.
    """

    index: Ints
    times_ns: Ints
    outcome: npt.NDArray[np.int8]  # place in OUTCOMES
    odd: Mask
    has_text: Mask
    hangs_up: Mask  # the client disconnects on purpose
    profile: npt.NDArray[np.int16]  # place in `profiles`
    profiles: tuple[str, ...]
    era_b: Mask
    tokens: Ints
    correct: npt.NDArray[np.int8]
    attempts: npt.NDArray[np.int16]
    begun: npt.NDArray[np.int16]  # attempts that the target began to answer
    gap_s: Floats  # pooled gaps of all streams
    gap_row: npt.NDArray[np.int32]
    gap_share: float  # of the gaps there were; below 1 beyond MOST_GAPS
    flagged: Mapping[str, Ints]  # category -> rows whose answer has such a finding
    findings: Mapping[str, int]  # category -> findings in answers; "prompt.<category>" -> in prompts
    fingerprints: Mapping[str, int]  # model and fingerprint as answers name them -> answers, the most frequent first

    @property
    def due_s(self) -> Floats:
        """When each was due, from the run's start."""
        return np.asarray(self.times_ns[_DUE] / 1e9)

    @property
    def end_s(self) -> Floats:
        """When each was over."""
        return np.asarray(self.times_ns[_END] / 1e9)

    @property
    def answered(self) -> Mask:
        """Of which a word of an answer came."""
        return np.asarray(self.times_ns[_FIRST] != NONE)

    @property
    def sent(self) -> Mask:
        """Which were written to a connection."""
        return np.asarray(self.times_ns[_SENT] != NONE)

    @property
    def latency_s(self) -> Mapping[str, Floats]:
        """ttft_s, ttfa_s, e2e_s, shed_s from due, and tpot_s; each made when it is asked for."""
        return _Latencies(self, _DUE, (*_FROM_DUE, "tpot_s"))

    @property
    def raw_s(self) -> Mapping[str, Floats]:
        """ttft_s, ttfa_s, e2e_s and shed_s from sent."""
        return _Latencies(self, _SENT, _FROM_DUE)

    def is_outcome(self, *outcomes: Outcome) -> Mask:
        """Which rows ended in one of these."""
        return np.isin(self.outcome, [_CODE[outcome] for outcome in outcomes])


class _Latencies(Mapping[str, Floats]):
    """Latencies by name; they are not kept, since five of them would take as much memory as all else."""

    def __init__(self, columns: Columns, start: int, names: tuple[str, ...]) -> None:
        self._columns = columns
        self._start = start
        self._names = names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, name: str) -> Floats:
        if name not in self._names:
            raise KeyError(name)
        columns, times = self._columns, self._columns.times_ns
        if name == "tpot_s":
            first, last, tokens = times[_FIRST], times[_LAST], columns.tokens
            paced = ~columns.odd & (tokens >= 2) & (first != NONE) & (last > first)
            seconds = _between(first, last) / np.maximum(tokens - 1, 1)
            seconds[~paced] = np.nan
            return np.asarray(seconds)
        seconds = _between(times[self._start], self._moment(name))
        seconds[columns.odd] = np.nan
        return seconds

    def _moment(self, name: str) -> Ints:
        columns, times = self._columns, self._columns.times_ns
        match name:
            case "ttft_s":
                return np.asarray(times[_FIRST])
            case "ttfa_s":
                return np.asarray(times[_ANSWER])
            case "e2e_s":
                whole = np.where(times[_LAST] == NONE, times[_END], times[_LAST])
                return np.where(columns.outcome == _CODE[Outcome.OK], whole, NONE)
            case _:
                return np.where(columns.outcome == _CODE[Outcome.SHED], times[_END], NONE)


def _between(start_ns: Ints, end_ns: Ints) -> Floats:
    """Seconds between two times, NaN where one is missing; subtracted as integers, so that 0.8 s is exactly 0.8."""
    seconds: Floats = (end_ns - start_ns) / 1e9
    seconds[start_ns == NONE] = np.nan
    seconds[end_ns == NONE] = np.nan
    return seconds


def columns_of(
    requests: Sequence[PlannedRequest],
    observations: Sequence[Observation],
    judged: Sequence[Judged] = (),
    findings: Sequence[Finding] = (),
) -> Columns:
    """Columns in the order of the plan. Raises MiscountError unless there is one observation for each request."""
    observed = {one.index: one for one in observations}
    planned = {request.index for request in requests}
    twice = len(observations) - len(observed)
    if twice or planned != observed.keys():
        strays = len(observed.keys() - planned)
        raise miscount(len(requests), len(observations), len(planned - observed.keys()), twice, strays)
    correct = {one.index: int(one.correct) for one in judged if one.correct is not None}
    rows = (_row(request, observed[request.index], correct.get(request.index, -1)) for request in requests)
    gaps = sum(max(0, len(one.event_ns) - 1) for one in observations)
    step = gap_step(gaps)
    streams = (
        (one.index, len(one.event_ns), packed_times(one.event_ns))
        for one in observations
        if one.event_ns and not one.index % step
    )
    found = ((finding.category, finding.where, finding.index) for finding in findings)
    return make_columns(len(requests), _blocks(rows), _blocks(streams), gaps, _blocks(found))


def miscount(planned: int, observed: int, missing: int, twice: int, strays: int) -> MiscountError:
    """The error that says how plan and observations do not match."""
    return MiscountError(
        f"{planned} requests were planned and {observed} observed: {missing} have no observation, {twice} have more "
        f"than one, {strays} observations belong to no request; this is a bug of the harness"
    )


def gap_step(gaps: int) -> int:
    """Of so many gaps, the streams whose index is a multiple of this are taken."""
    return max(1, -(-gaps // MOST_GAPS))


def make_columns(n: int, rows: Rows, streams: Rows, gaps: int, findings: Rows) -> Columns:
    """Columns of `n` requests.

    rows: index, profile, era, hangs_up, outcome, the six times, tokens, has_text, correct, attempts, begun and
    fingerprint, in the order of the plan (NONE, -1 or "" for what there is not). streams: index, number of events and
    packed times, of every `gap_step(gaps)`-th index. gaps: how many there are in all. findings: category, place, index.
    """
    index, tokens = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    times_ns = np.empty((6, n), dtype=np.int64)
    outcome, correct = np.empty(n, dtype=np.int8), np.empty(n, dtype=np.int8)
    profile, attempts, begun = (np.empty(n, dtype=np.int16) for _ in range(3))
    era_b, has_text, hangs_up = (np.empty(n, dtype=np.bool_) for _ in range(3))
    names: dict[str, int] = {}
    fingerprints: Counter[str] = Counter()
    at = 0
    for block in rows:
        part = slice(at, at + len(block))
        at += len(block)
        indexes, profiles, eras, hang_ups, outcomes, *times, counts, texts, verdicts, tries, begins, models = zip(
            *block, strict=True
        )
        index[part], tokens[part], correct[part] = indexes, counts, verdicts
        times_ns[:, part] = times
        attempts[part], begun[part] = tries, begins
        fingerprints.update(models)
        if len(fingerprints) > MOST_FINGERPRINTS:
            fingerprints = Counter(dict(fingerprints.most_common(MOST_FINGERPRINTS)))
        outcome[part] = [_CODE_OF_WORD[word] for word in outcomes]
        profile[part] = [names.setdefault(name, len(names)) for name in profiles]
        era_b[part] = [era == "B" for era in eras]
        has_text[part], hangs_up[part] = texts, hang_ups
    ordered = sorted(names)
    profile = np.array([ordered.index(name) for name in names] or [0], dtype=np.int16)[profile]
    odd: Mask = profile == (ordered.index(ODD_PROFILE) if ODD_PROFILE in names else -1)
    place = _Rows(index)
    gap_s, gap_row = _gaps(streams, -(-gaps // gap_step(gaps)), place, odd)
    flagged, found = _findings(findings, place)
    return Columns(
        index=index,
        times_ns=times_ns,
        outcome=outcome,
        odd=odd,
        has_text=has_text,
        hangs_up=hangs_up,
        profile=profile,
        profiles=tuple(ordered),
        era_b=era_b,
        tokens=tokens,
        correct=correct,
        gap_s=gap_s,
        gap_row=gap_row,
        gap_share=1.0 / gap_step(gaps),
        attempts=attempts,
        begun=begun,
        flagged=flagged,
        findings=found,
        fingerprints={name: count for name, count in sorted(fingerprints.items(), key=_frequent_first) if name},
    )


def _frequent_first(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _row(request: PlannedRequest, one: Observation, correct: int) -> tuple[Any, ...]:
    times = (one.due_ns, one.end_ns, one.sent_ns, one.first_ns, one.answer_ns, one.last_ns)
    return (
        request.index,
        request.profile,
        request.era,
        request.hang_up_after_s > 0 or request.hang_up_after_events > 0,
        one.outcome.value,
        *(NONE if ns is None else ns for ns in times),
        -1 if one.completion_tokens is None else one.completion_tokens,
        bool(one.answer),
        correct,
        one.attempts,
        one.begun,
        one.fingerprint,
    )


def _blocks(rows: Iterable[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    rows = iter(rows)
    while block := list(islice(rows, _BLOCK)):
        yield block


class _Rows:
    """Row of an index; plans are numbered from 0 in order, but nothing here relies on it."""

    def __init__(self, index: Ints) -> None:
        in_order = bool((index[1:] > index[:-1]).all())
        self._order = None if in_order else np.argsort(index, kind="stable")
        self._sorted = index if self._order is None else index[self._order]

    def of(self, indexes: Ints) -> Ints:
        """The row of each index; -1 for one that is not in the plan."""
        if not len(self._sorted):
            return np.full(len(indexes), -1, dtype=np.int64)
        at = np.minimum(np.searchsorted(self._sorted, indexes), len(self._sorted) - 1)
        return np.where(self._sorted[at] == indexes, at if self._order is None else self._order[at], -1)


def _gaps(streams: Rows, expected: int, place: _Rows, odd: Mask) -> tuple[Floats, npt.NDArray[np.int32]]:
    """Every gap between two events of one stream, and the row of its stream; `expected`: about how many."""
    gaps, owners = np.empty(expected), np.empty(expected, dtype=np.int32)
    n = 0
    for block in streams:
        indexes, counts, packed = zip(*block, strict=True)
        row = place.of(np.array(indexes, dtype=np.int64))
        for step_ns, owner in _steps(row, np.array(counts, dtype=np.int64), packed):
            inside = ~odd[owner] & (owner >= 0)
            found = int(inside.sum())
            if n + found > len(gaps):
                gaps, owners = np.resize(gaps, (n + found) * 5 // 4), np.resize(owners, (n + found) * 5 // 4)
            gaps[n : n + found] = step_ns[inside] / 1e9
            owners[n : n + found] = owner[inside]
            n += found
    return gaps[:n], owners[:n]


def _steps(row: Ints, counts: Ints, packed: Sequence[bytes]) -> Iterator[tuple[npt.NDArray[Any], Ints]]:
    """The gaps in ns of packed times, and the row of each: those packed as steps together, the others one by one."""
    steps = np.array([are_steps(len(data), count) for data, count in zip(packed, counts.tolist(), strict=True)])
    words = np.frombuffer(b"".join(data for data, is_steps in zip(packed, steps, strict=True) if is_steps), dtype="<u4")
    lengths = counts[steps] - 1 + BASE_BYTES // STEP_BYTES
    is_gap = np.ones(len(words), dtype=np.bool_)
    starts = np.cumsum(lengths) - lengths
    is_gap[starts] = is_gap[starts + 1] = False  # the base's two words
    yield words[is_gap], np.repeat(row[steps], counts[steps] - 1)
    for at in np.flatnonzero(~steps).tolist():
        times = np.frombuffer(packed[at], dtype="<i8")
        yield np.diff(times), np.full(len(times) - 1, row[at])


def _findings(findings: Rows, place: _Rows) -> tuple[dict[str, Ints], dict[str, int]]:
    indexes: dict[str, list[int]] = {}
    counts: dict[str, int] = {}
    for block in findings:
        for category, where, index in block:
            name = category if where == "answer" else f"{where}.{category}"
            counts[name] = counts.get(name, 0) + 1
            if where == "answer":
                indexes.setdefault(category, []).append(index)
    flagged = {}
    for category, found in indexes.items():
        at = np.unique(place.of(np.array(found, dtype=np.int64)))
        flagged[category] = at[at >= 0]
    return flagged, dict(sorted(counts.items()))
