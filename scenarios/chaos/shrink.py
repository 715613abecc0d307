"""From a try that fails to the smallest one that still does. Pure: whether one fails is asked of an oracle.

First the faults, then the requests, by delta debugging (Zeller and Hildebrandt, Simplifying and Isolating
Failure-Inducing Input, IEEE TSE 28(2), 2002); then what is left is made plain: clients, lengths, parameters, times.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from scenarios.chaos.draw import LENGTHS_S, values_of
from scenarios.chaos.one_try import PLAIN, Try
from scenarios.definition import FaultSpec
from scenarios.faults.kinds import KINDS

T = TypeVar("T")
Oracle = Callable[[Try], Awaitable[bool]]
DIGITS = (1, 2)  # of times, seconds
NUDGE_S = 0.015  # how much further a time that was made plain must be able to go


async def shrink(failing: Try, fails: Oracle) -> Try:
    """The smallest: nothing in it can be left out or made plainer alone, as far as `fails` says.

    `fails` is asked about each try once, and never about `failing`. An oracle that has run out of time says no.
    """
    asked: dict[Try, bool] = {failing: True}

    async def still(one: Try) -> bool:
        if one not in asked:
            asked[one] = await fails(one)
        return asked[one]

    smallest = failing
    while True:
        before = smallest
        smallest = await _fewer_faults(smallest, still)
        smallest = await _fewer_requests(smallest, still)
        smallest = await _plainer(smallest, still)
        if smallest == before:
            return smallest


async def ddmin(items: tuple[T, ...], fails: Callable[[tuple[T, ...]], Awaitable[bool]]) -> tuple[T, ...]:
    """Items of which none can be left out alone: halves, quarters ... are tried alone and left out."""
    if not items or await fails(()):
        return ()
    parts = 2
    while len(items) > 1:
        edges = [len(items) * n // parts for n in range(parts + 1)]
        slices = list(itertools.pairwise(edges))
        alone = (items[begin:end] for begin, end in slices)
        without = (items[:begin] + items[end:] for begin, end in slices)
        for smaller, left in ((alone, 2), (without, parts - 1)):
            found = await _first(smaller, fails)
            if found is not None:
                items, parts = found, max(left, 2)
                break
        else:
            if parts == len(items):
                break
            parts *= 2
        parts = min(parts, len(items))
    return items


async def _first(
    candidates: Iterator[tuple[T, ...]], fails: Callable[[tuple[T, ...]], Awaitable[bool]]
) -> tuple[T, ...] | None:
    for candidate in candidates:
        if await fails(candidate):
            return candidate
    return None


async def _fewer_faults(one: Try, fails: Oracle) -> Try:
    async def still(faults: tuple[FaultSpec, ...]) -> bool:
        return await fails(dataclasses.replace(one, faults=faults))

    return dataclasses.replace(one, faults=await ddmin(one.faults, still))


async def _fewer_requests(one: Try, fails: Oracle) -> Try:
    async def still(at_s: tuple[float, ...]) -> bool:
        return bool(at_s) and await fails(dataclasses.replace(one, at_s=at_s))

    return dataclasses.replace(one, at_s=await ddmin(one.at_s, still))


async def _plainer(one: Try, fails: Oracle) -> Try:
    """Each step is taken as soon as it is found, and the list begins anew from there."""
    while True:
        for candidate in plainer(one):
            if not await fails(candidate):
                continue
            further = moved_on(one, candidate)
            if further == candidate or await fails(further):
                one = candidate
                break
        else:
            return one


def moved_on(one: Try, moved: Try) -> Try:
    """The second with every time that differs from the first's moved on a little, the same way.

    Where it still fails there, its times do not lie on the edge between what fails and what does not: on that edge it
    would fail here, and not on a machine that is a few milliseconds faster.
    """

    def on(before_s: float, at_s: float) -> float:
        if at_s == before_s:
            return at_s
        return max(0.0, round(at_s + (NUDGE_S if at_s > before_s else -NUDGE_S), 3))

    faults = tuple(
        dataclasses.replace(after, at_s=on(before.at_s, after.at_s))
        for before, after in zip(one.faults, moved.faults, strict=True)
    )
    at_s = tuple(sorted(on(before_s, after_s) for before_s, after_s in zip(one.at_s, moved.at_s, strict=True)))
    return dataclasses.replace(moved, at_s=at_s, faults=tuple(sorted(faults, key=lambda fault: fault.at_s)))


def plainer(one: Try) -> Iterator[Try]:
    """The tries that are plainer, first by all that can be, then by one step; no way leads round in a circle."""
    if (plainest := _plainest(one)) != one:
        yield plainest
    if one.clients != PLAIN:
        yield dataclasses.replace(one, clients=PLAIN)
    for at, fault in enumerate(one.faults):
        for changed in _plainer_faults(fault):
            faults = sorted((*one.faults[:at], changed, *one.faults[at + 1 :]), key=lambda each: each.at_s)
            yield dataclasses.replace(one, faults=tuple(faults))
    for digits in DIGITS:
        if (rounded := tuple(round(at_s, digits) for at_s in one.at_s)) != one.at_s:
            yield dataclasses.replace(one, at_s=rounded)


def _plainest(one: Try) -> Try:
    faults = (
        dataclasses.replace(
            fault,
            at_s=round(fault.at_s, DIGITS[0]),
            for_s=min(fault.for_s, LENGTHS_S[0]),
            hits=0,
            params=tuple((param.name, param.default) for param in KINDS[fault.kind].params),
        )
        for fault in one.faults
    )
    at_s = tuple(round(at_s, DIGITS[0]) for at_s in one.at_s)
    return Try(at_s, tuple(sorted(faults, key=lambda fault: fault.at_s)))


def _plainer_faults(fault: FaultSpec) -> Iterator[FaultSpec]:
    params = {param.name: param for param in KINDS[fault.kind].params}
    for at, (name, value) in enumerate(fault.params):
        order = values_of(params[name])
        for plain in order[: order.index(value)] if value in order else order:
            yield dataclasses.replace(fault, params=(*fault.params[:at], (name, plain), *fault.params[at + 1 :]))
    if fault.hits:
        yield dataclasses.replace(fault, hits=0)
    for length_s in LENGTHS_S:
        if length_s < fault.for_s:
            yield dataclasses.replace(fault, for_s=length_s)
    for digits in DIGITS:
        if (rounded := round(fault.at_s, digits)) != fault.at_s:
            yield dataclasses.replace(fault, at_s=rounded)
