"""What the workers report, taken in: journalled, judged, counted, watched for drift."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from scenarios.drift import DriftMonitor
from scenarios.gates import Early, EarlyEnd
from scenarios.journal import JournalWriter
from scenarios.observation import Observation, Outcome
from scenarios.request import PlannedRequest
from scenarios.runner.clock import NS
from scenarios.runner.content import judge_content
from scenarios.runner.live import MOST_MODELS, LiveRun

TARGET_CHANGED = "target.changed"
_AT_ONCE = 64  # observations between two turns of the loop: 5 ms of work


class Intake:
    """Judges each observation against its request, once, before the journal may let go of the answer's text.

    decided: what `early` found, once it has found something. Made inside a running loop. say(kind, text): an event.
    """

    def __init__(
        self,
        journal: JournalWriter,
        live: LiveRun,
        drift: DriftMonitor,
        request: Callable[[int], PlannedRequest],
        say: Callable[[str, str], None],
        early: EarlyEnd | None = None,
    ) -> None:
        self.decided: asyncio.Future[Early] = asyncio.get_running_loop().create_future()
        self._early = early
        self._journal = journal
        self._live = live
        self._drift = drift
        self._request = request
        self._say = say

    async def take(self, observations: Sequence[Observation]) -> None:
        """Take in a batch, with a turn of the loop now and then: ticks must not wait for it."""
        for at in range(0, len(observations), _AT_ONCE):
            self._take(observations[at : at + _AT_ONCE])
            if self._early and self._early.found and not self.decided.done():
                self.decided.set_result(self._early.found)
            await asyncio.sleep(0)

    def _take(self, observations: Sequence[Observation]) -> None:
        judgements = []
        for observation in observations:
            request = self._request(observation.index)
            judged, findings = judge_content(request, observation)
            judgements.append(judged)
            if findings:
                self._journal.add_findings(findings)
            if observation.fingerprint:
                self._hear_model(observation)
            self._live.fold(request, observation, judged, findings)
            if self._early:
                self._early.add(request, observation, judged, findings)
            if observation.outcome is not Outcome.UNSENT:
                self._drift.add(observation.end_ns / NS, request, judged.correct)
        self._journal.add_judged(judgements)
        self._journal.add_observations(observations)

    def _hear_model(self, observation: Observation) -> None:
        """Tell when an answer names another model or fingerprint than every one before it."""
        known, name = self._live.models, observation.fingerprint
        if name in known or len(known) == MOST_MODELS:
            return
        if known:
            text = f'the answer to request {observation.index} names "{name}", those before it "{known[-1]}"'
            self._say(TARGET_CHANGED, text)
        known.append(name)
