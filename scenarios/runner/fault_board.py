"""Which faults are on: brings each about as planned or as asked, journals what comes of it, ends all of them."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Protocol

from scenarios.conditions import Watch, in_words
from scenarios.definition import FaultSpec
from scenarios.errors import HarnessError
from scenarios.faults.blast import STRIKE_S
from scenarios.faults.injector import Injector
from scenarios.faults.kinds import KINDS, Need, Via
from scenarios.faults.possible import Setting
from scenarios.faults.words import params_in_words
from scenarios.rebuild import FAULT_WITHHELD
from scenarios.runner.fault_rules import TOUCH_S, FaultRules
from scenarios.runner.held_fault import HeldFault
from scenarios.tick import ActiveFault, Event, FaultMark, Tick

RECOVERY_LIMIT_S = 60.0  # so long the board waits for a target that is ours to serve again after it was struck

_RUN_OVER = "the run was over"
_ROOM_S = 60.0  # so long a planned fault waits for an earlier one, which may have been slow to begin and to undo
_LOOK_S = 0.02


class Subject(Protocol):
    """What the board asks of the target."""

    @property
    def owned(self) -> bool: ...
    @property
    def deaths(self) -> int: ...
    async def serving_again(self, deaths: int) -> None: ...


class Emit(Protocol):
    """Journals an event."""

    def __call__(
        self,
        kind: str,
        text: str,
        *,
        recovery_s: float | None = None,
        at_s: float | None = None,
        fault: FaultMark | None = None,
    ) -> None: ...


class FaultBoard:
    """Numbers the faults of a run from 1, has them brought about one by one, and lets none outlive `follow`."""

    def __init__(
        self,
        rules: FaultRules,
        subject: Subject,
        setting: Callable[[], Setting],
        injector: Callable[[Via], Awaitable[Injector]],
        now_s: Callable[[], float],
        emit: Emit,
        unsteady: Callable[[], str] = str,
    ) -> None:
        """setting: what there is to disturb, as it is now. injector: who brings faults of that sort about; raises
        FaultRefused. now_s: the time of the run in seconds. unsteady: why faults would say nothing about the service;
        empty where it is as it should be without them.
        """
        self._rules = rules
        self._subject = subject
        self._setting = setting
        self._injector = injector
        self._now_s = now_s
        self._emit = emit
        self._unsteady = unsteady
        self._held: dict[int, HeldFault] = {}
        self._struck: list[tuple[FaultSpec, float]] = []  # what was over at once, and when: it counts for a while
        self._numbers = 0
        self._first_place = 0  # of a run that goes on: so many of its planned faults have come already
        self._nursery: asyncio.TaskGroup | None = None
        self._turn = asyncio.Lock()  # of the planned faults that wait for room: first come, first served
        self._steady: bool | None = None  # None: no planned fault has come yet

    @property
    def active(self) -> tuple[ActiveFault, ...]:
        """Those that are in force, by number."""
        return tuple(one.shown for _, one in sorted(self._held.items()) if one.since_s is not None)

    def take_up(self, events: Iterable[Event], at_s: float, come: int) -> None:
        """Go on where the run's events end: faults that were on ended with its runner, at `at_s`.

        come: so many of its planned faults will not come again.
        """
        self._first_place = come
        left: dict[int, FaultMark] = {}
        for event in events:
            if event.kind == FAULT_WITHHELD:
                self._steady = False
            if event.fault is None:
                continue
            self._numbers = max(self._numbers, event.fault.number)
            if event.kind == "fault.start":
                left[event.fault.number] = event.fault
                self._steady = self._steady is not False
            elif event.kind == "fault.end":
                left.pop(event.fault.number, None)
        for mark in left.values():
            self._emit("fault.end", f"{mark.kind}: the runner was gone", at_s=at_s, fault=mark)

    async def follow(self, planned: Sequence[FaultSpec]) -> None:
        """Bring every planned fault about at its time, and what is asked for; cancelled, it ends them all."""
        try:
            async with asyncio.TaskGroup() as self._nursery:
                try:
                    await self._follow(self._nursery, planned)
                    await asyncio.Future()
                finally:
                    await self.finish(_RUN_OVER)
        finally:
            self._nursery = None

    def inject(self, fault: FaultSpec, command: int = 0) -> None:
        """Bring one fault about now; refused while no plan is being sent. command: the number of who asks for it."""
        if self._nursery is None:
            text = f"{fault.kind}: nothing is being sent: the run has not started yet, or it is over"
            self._emit("fault.refused", text, fault=self._mark(fault, command))
        else:
            fault = dataclasses.replace(fault, at_s=self._now_s())
            self._nursery.create_task(self._bring(fault, None, command))

    def see(self, tick: Tick) -> None:
        """End the faults whose condition holds now."""
        for one in self._held.values():
            if one.watch and one.fault.until and one.since_s is not None and one.watch.holds(tick):
                one.end(in_words(one.fault.until))

    def end_all(self, why: str) -> int:
        """Have all that is on ended, and say how much that is; each end is journalled when it is undone."""
        for one in self._held.values():
            one.end(why)
        return len(self._held)

    async def finish(self, why: str) -> None:
        """End what is on, and begin nothing any more; returns when all is undone."""
        self._nursery = None
        self.end_all(why)
        if tasks := [one.task for one in self._held.values()]:
            await asyncio.wait(tasks)

    async def _follow(self, nursery: asyncio.TaskGroup, planned: Sequence[FaultSpec]) -> None:
        """Begin each planned fault when its time comes, in their order."""
        for place, fault in enumerate(planned, self._first_place):
            await asyncio.sleep(max(0.0, fault.at_s - self._now_s()))
            if self._nursery is None or not self._is_steady():
                return
            nursery.create_task(self._bring(fault, place))

    def _is_steady(self) -> bool:
        """Whether planned faults may begin, as it was decided before the first one of all."""
        if self._steady is None:
            why = "" if self._numbers else self._unsteady()
            self._steady = not why
            if why:
                self._emit(FAULT_WITHHELD, f"the service was not steady before any fault: {why}")
        return self._steady

    def _mark(self, fault: FaultSpec, command: int) -> FaultMark:
        self._numbers += 1
        return FaultMark(
            number=self._numbers,
            kind=fault.kind,
            words=params_in_words(fault),
            instant=KINDS[fault.kind].instant,
            command=command,
        )

    async def _bring(self, fault: FaultSpec, place: int | None, command: int = 0) -> None:
        """One fault from its order to its end. place: among the planned ones; None: it was asked for."""
        if place is not None:
            try:
                async with self._turn:
                    await self._room()
            except asyncio.CancelledError:
                self._emit("fault.skipped", f"{fault.kind}: {_RUN_OVER}", fault=self._mark(fault, command))
                raise
        mark, now_s = self._mark(fault, command), self._now_s()
        no = "fault.refused" if place is None else "fault.skipped"
        if self._nursery is None:  # its turn came when all were being ended
            self._emit(no, f"{fault.kind}: {_RUN_OVER}", fault=mark)
            return
        if why := self._rules.obstacle(fault, self._setting(), self._on(now_s), now_s):
            self._emit(no, f"{fault.kind}: {why}", fault=mark)
            return
        task = asyncio.current_task()
        assert task is not None
        held = HeldFault(fault, mark, task, None if fault.until is None else Watch(fault.until))
        self._held[mark.number] = held
        try:
            await self._hold(held, str(place) if place is not None else f"asked {mark.number}")
        except asyncio.CancelledError:
            self._over(held, no, held.why or _RUN_OVER)
            raise
        except HarnessError as error:  # refused; or who held it is gone, and it with them
            self._over(held, no, str(error))
        finally:
            del self._held[mark.number]
            if mark.instant and held.since_s is not None:
                self._struck.append((fault, held.since_s))

    def _on(self, now_s: float) -> list[tuple[FaultSpec, float]]:
        """What is on or has struck, and since when."""
        held = [(one.fault, now_s if one.since_s is None else one.since_s) for one in self._held.values()]
        return held + self._struck

    async def _room(self) -> None:
        """Wait for what should be over and is not (it began late, is being undone), and for strikes that count."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_ROOM_S):
                while self._nursery is not None and self._rules.full(self._on(now_s := self._now_s()), now_s):
                    if late := [one.task for one in self._held.values() if one.over_by_s <= now_s + TOUCH_S]:
                        await asyncio.wait(late, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                    elif any(since_s + STRIKE_S > now_s for _, since_s in self._struck):
                        await asyncio.sleep(_LOOK_S)
                    else:
                        return

    async def _hold(self, held: HeldFault, place: str) -> None:
        deaths = self._subject.deaths
        injector = await self._injector(KINDS[held.fault.kind].via)
        order = self._rules.order(held.mark.number, held.fault, place)

        def begun() -> None:
            held.since_s = self._now_s()
            self._emit("fault.start", _said(held.mark.kind, held.mark.words), fault=held.mark)

        ended = await held.ended(injector, order, begun)
        recovery_s = await self._recovery_s(held, deaths)
        self._emit("fault.end", _said(held.mark.kind, ended.why), recovery_s=recovery_s, fault=held.mark)

    def _over(self, held: HeldFault, no: str, why: str) -> None:
        """Journal the end of a fault that did not end by itself; `no`: where it had not even begun."""
        kind = no if held.since_s is None else "fault.end"
        self._emit(kind, _said(held.mark.kind, why), fault=held.mark)

    async def _recovery_s(self, held: HeldFault, deaths: int) -> float | None:
        """From the strike until a target of ours serves again; None where that is not seen or was not in question."""
        kind = KINDS[held.fault.kind]
        struck = kind.instant and not {Need.PROCESS, Need.MODEL}.isdisjoint(kind.needs)
        if not struck or not self._subject.owned or held.since_s is None:
            return None
        try:
            async with asyncio.timeout(RECOVERY_LIMIT_S):
                await self._subject.serving_again(deaths)
        except TimeoutError:
            return None
        return self._now_s() - held.since_s


def _said(kind: str, more: str) -> str:
    return f"{kind}: {more}" if more else kind
