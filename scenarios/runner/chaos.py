"""The story of a run that looks for the smallest workload and faults that the target does not stand."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from scenarios.chaos.draw import Draws
from scenarios.chaos.feel import Feel
from scenarios.chaos.gates import RIGHT, SAME, Held, Known
from scenarios.chaos.one_try import GAP_S, Try, fault_in_words, in_words, undisturbed
from scenarios.chaos.own_answers import asking, rows_of
from scenarios.chaos.record import ChaosRecord, Purpose, Tried
from scenarios.chaos.shrink import shrink
from scenarios.chaos.written import toml_of
from scenarios.definition import Chaos, Scenario
from scenarios.faults.kinds import KINDS, FaultKind
from scenarios.faults.possible import Setting, why_not
from scenarios.journal import JournalReader
from scenarios.observation import Observation, Outcome
from scenarios.rebuild import CHAOS
from scenarios.result import GateVerdict, MinimalFailure, ResultDocument
from scenarios.runner.clock import NS
from scenarios.runner.one_try import Attempts, Judged

if TYPE_CHECKING:
    from scenarios.runner.trial import Trial

MINIMAL, ANSWERS = "minimal.toml", "answers.jsonl"
CONFIRM, ENOUGH = 3, 2  # a failing try is run so often; so many of these times it must fail
NOT_THE_TARGET = ("host.disk_full", "host.clock_step")  # they strike the harness alone

_REMOTE = "the target cannot be put into a clean state between tries: what fails may be left over from an earlier one"


async def search_chaos(trial: Trial) -> ResultDocument:
    """The story of a chaos search: try after try until one fails again and again, then the smallest of its like."""
    await trial.start_target()
    hunt = Hunt(trial)
    try:
        await hunt.search()
    finally:
        hunt.keep()
    return await trial.judge()


def kinds_for(chaos: Chaos, here: Setting) -> tuple[FaultKind, ...]:
    """The kinds of faults that the search may use and that are possible here."""
    named = [KINDS[name] for name in chaos.kinds or (name for name in KINDS if name not in NOT_THE_TARGET)]
    return tuple(kind for kind in named if not why_not(kind, here))


class Hunt:
    """One search: what was tried so far, and the time that is left."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._chaos = trial.options.scenario.chaos or Chaos()
        self._kinds = kinds_for(self._chaos, trial.setting())
        self._attempts = Attempts(trial)
        self._known = Known(ours=trial.target.owned)
        self._record = ChaosRecord(possible=len(self._kinds))
        self._begun = time.monotonic()
        self._runs: dict[Try, list[Judged]] = {}

    @property
    def _goes_on(self) -> bool:
        left_s = self._chaos.budget_s - (time.monotonic() - self._begun)
        return left_s > 0 and not self._attempts.over

    async def search(self) -> None:
        """Explore, and shrink the first try that fails surely."""
        if not self._trial.target.owned:
            self._warn(_REMOTE)
        feel, failing = await self._let_alone()
        draws = Draws(self._trial.options.seed, self._kinds, self._chaos, self._trial.options.scenario.blast, feel)
        why = ""
        while failing is None and self._goes_on and not why:
            if (one := draws.next()) is None:
                why = "nothing new was left to try"
            else:
                failing = await self._explore(one, draws)
        if failing is not None:
            await self._shrink(*failing)
            why = "a scenario that fails was found"
        elif self._attempts.over:
            why = "it was stopped" if self._trial.ending.over else "the fault proxy was gone"
        ended, cut_short = why or "its time was used up", self._attempts.over
        self._record = msgspec.structs.replace(self._record, ended=ended, cut_short=cut_short)
        self._trial.record.emit("chaos.end", ended)

    def keep(self) -> None:
        """Journal the search as it stands."""
        self._record = msgspec.structs.replace(self._record, spent_s=round(time.monotonic() - self._begun, 1))
        self._trial.journal.set_meta(CHAOS, msgspec.json.encode(self._record).decode())

    # ---- the parts of a search

    async def _let_alone(self) -> tuple[Feel, tuple[Try, str] | None]:
        """How the target is without faults; also the failing try, where it fails even so."""
        self._known = msgspec.structs.replace(self._known, right=True)  # to see whether it is so
        found = await self._try(undisturbed(self._chaos), Purpose.UNDISTURBED)
        with JournalReader(self._trial.journal.path) as reader:
            feel = feel_of(list(reader.observations()))
        fails = tuple(name for name in found.failed if name != RIGHT)
        right = _right(found)
        if right is not GateVerdict.PASS:
            self._known = msgspec.structs.replace(self._known, right=False)
        if right not in (None, GateVerdict.PASS) and not fails and found.whole:
            await self._take_own_answers(found)
        return feel, await self._surely(found) if fails else None

    async def _take_own_answers(self, found: Judged) -> None:
        """Nobody knows the right answers, or the target does not: take its own, where they are always the same."""
        not_judged = "answers are not judged: without any fault some are wrong, or nobody knows the right ones, and"
        theirs = self._attempts.base
        if (own := await asyncio.to_thread(self._own_answers, found)) is None:
            self._warn(f"{not_judged} the target's own cannot stand for them")
            return
        self._attempts.base = own
        self._known = msgspec.structs.replace(self._known, right=True, own=True)
        for gap_s in (GAP_S, 0.0):  # all at once too: an engine may work them out together, and a little otherwise
            again = await self._try(undisturbed(self._chaos, gap_s), Purpose.UNDISTURBED)
            if not again.whole or _right(again) is not GateVerdict.PASS:
                self._attempts.base = theirs
                self._known = msgspec.structs.replace(self._known, right=False, own=False)
                self._warn(f"{not_judged} the target's own are not always the same")
                return
        self._warn("answers are judged by the target's own without a fault: what is wrong is that they change")

    def _own_answers(self, found: Judged) -> Scenario | None:
        """The questions of a try with the answers that they got, as a scenario; None where there is none."""
        base = self._attempts.base
        if not base.keep.prompts or not base.source:
            return None
        numbers = range(found.first, found.first + found.count)
        with JournalReader(self._trial.journal.path) as reader:
            asked = [request for number in numbers if (request := reader.request(number)) is not None]
            seen = [one for number in numbers if (one := reader.observation(number)) is not None]
        rows = rows_of(asked, seen) if len(asked) == len(seen) == found.count else None
        if rows is None:
            return None
        path = self._trial.journal.path.parent / ANSWERS
        path.touch(mode=0o600)
        path.write_text(rows, encoding="utf-8")
        return asking(base, str(path))

    async def _explore(self, one: Try, draws: Draws) -> tuple[Try, str] | None:
        """One try; what fails surely, where it does."""
        found = await self._try(one, Purpose.EXPLORE)
        for kind, reason in found.refused:
            if draws.refuse(kind):
                self._warn(f"{kind} was given up: {reason.removeprefix(f'{kind}: ')}")
        if found.worse:
            draws.learn(one)
        return await self._surely(found) if found.failed else None

    async def _surely(self, found: Judged) -> tuple[Try, str] | None:
        """The try and the gate that it fails most often, where that is often enough."""
        one, times = found.one, Counter(found.failed)
        while self._goes_on and len(self._runs[one]) < CONFIRM and max(times.values()) < ENOUGH:
            times.update((await self._try(one, Purpose.AGAIN)).failed)
        gate, often = times.most_common(1)[0]
        if often >= ENOUGH:
            return one, gate
        self._warn(f"{in_words(one)}: failed {gate!r} {often} of {len(self._runs[one])} times, too seldom to go after")
        return None

    async def _shrink(self, failing: Try, gate: str) -> None:
        """Write down the smallest try that fails this gate."""
        cut_short = False

        async def fails(one: Try) -> bool:
            nonlocal cut_short
            for _ in range(ENOUGH):
                if not self._goes_on:
                    cut_short = True
                    return False
                if gate not in (await self._try(one, Purpose.SHRINK)).failed:
                    return False
            self._write(one, gate, whole=False)
            return True

        self._write(failing, gate, whole=False)
        smallest = await shrink(failing, fails)
        while self._goes_on and len(self._runs[smallest]) < CONFIRM:
            await self._try(smallest, Purpose.AGAIN)
        minimal = self._write(smallest, gate, whole=not cut_short)
        text = f"{in_words(smallest)}: fails {gate!r}, {minimal.failed} of {minimal.tried} times; {minimal.path}"
        self._trial.record.emit("chaos.minimal", text)

    async def _try(self, one: Try, purpose: Purpose) -> Judged:
        """One try, noted down."""
        found = await self._attempts.make(one, self._known, purpose.value)
        if found.whole:
            self._runs.setdefault(one, []).append(found)
        tried = Tried(
            purpose=purpose,
            words=in_words(one),
            kinds=tuple(fault.kind for fault in one.faults),
            first=found.first,
            count=found.count,
            start_s=found.start_s,
            failed=found.failed,
        )
        self._record = msgspec.structs.replace(self._record, tries=(*self._record.tries, tried))
        self.keep()
        if found.failed:
            self._trial.record.emit("chaos.failed", f"try {self._attempts.number} failed {', '.join(found.failed)}")
        return found

    def _write(self, one: Try, gate: str, whole: bool) -> MinimalFailure:
        """The file of the smallest so far, and its place in the record."""
        runs = self._runs[one]
        last = next(run for run in reversed(runs) if gate in run.failed)
        place = next(at for at, result in enumerate(last.gates) if result.name == gate)
        often = sum(gate in run.failed for run in runs)
        remarks = self._remarks(one, last.held[place], often, len(runs))
        text = toml_of(self._attempts.base, one, last.held[place], remarks)
        path = self._trial.journal.path.parent / MINIMAL
        path.write_text(text, encoding="utf-8")
        minimal = MinimalFailure(
            faults=tuple(fault_in_words(fault) for fault in one.faults),
            requests=len(one.at_s),
            gate=gate,
            failed=often,
            tried=len(runs),
            whole=whole,
            path=str(path),
            toml=text,
        )
        self._record = msgspec.structs.replace(self._record, minimal=minimal, gates=(last.gates[place],))
        self.keep()
        return minimal

    def _remarks(self, one: Try, held: Held, failed: int, tried: int) -> tuple[str, ...]:
        options = self._trial.options
        return (
            f"Found by {options.scenario.name} with seed {options.seed} in run {options.run_id}.",
            f"{in_words(one)}: it failed {held.gate.name!r} {failed} of the {tried} times that it was run.",
            f"To replay it, give the same target and --seed {options.seed}: the same seed asks the same questions.",
        )

    def _warn(self, text: str) -> None:
        if text not in self._record.warnings:
            self._record = msgspec.structs.replace(self._record, warnings=(*self._record.warnings, text))
            self._trial.record.emit("chaos.warning", text)


def _right(found: Judged) -> GateVerdict | None:
    """What became of the gate on right answers; None where an author's own stands in its place."""
    return next((gate.verdict for gate in found.gates if gate.name in (RIGHT, SAME)), None)


def feel_of(observations: list[Observation]) -> Feel:
    """How requests went that met no fault; a guess where none ended well."""
    done = [one for one in observations if one.outcome is Outcome.OK and one.first_ns is not None]
    if not done:
        return Feel()
    ttft_s = statistics.median(((one.first_ns or 0) - one.due_ns) / NS for one in done)
    e2e_s = statistics.median((one.end_ns - one.due_ns) / NS for one in done)
    return Feel(ttft_s, e2e_s)
