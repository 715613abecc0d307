"""The capacity as the result document has it."""

from __future__ import annotations

from collections.abc import Sequence

from scenarios.capacity.probe import Kind, Probe
from scenarios.capacity.search import Rules, conclude, holds
from scenarios.definition import Slo
from scenarios.result import Capacity, CapacityProbe, CurvePoint


def capacity_of(rules: Rules, slo: Slo, probes: Sequence[Probe]) -> Capacity:
    """What the probes come to, and the saturation curve that they are."""
    found, search = conclude(rules, probes), rules.search
    return Capacity(
        rate=found.rate,
        low=found.low,
        high=found.high,
        confidence=search.confidence,
        share=search.share,
        slo_ttft_s=slo.ttft_s,
        why=found.why,
        probes=tuple(_document(probe, search.share) for probe in probes),
        curve=_curve(probes, found.low),
    )


def _curve(probes: Sequence[Probe], low: float | None) -> tuple[CurvePoint, ...]:
    points = [
        CurvePoint(rate=point.rate, goodput=point.goodput, ttft_p95_s=point.ttft_p95_s)
        for probe in probes
        for point in probe.curve
        if probe.kind is Kind.STEADY or low is None or point.rate < low
    ]
    return tuple(sorted(points, key=lambda point: point.rate))


def _document(probe: Probe, share: float) -> CapacityProbe:
    return CapacityProbe(
        kind=probe.kind.value,
        rate=probe.rate,
        end_rate=probe.end_rate,
        duration_s=probe.duration_s,
        due=probe.due,
        good=probe.good,
        goodput=probe.good_share,
        shed=probe.shed,
        ttft_p95_s=probe.ttft_p95_s,
        completion_rate=probe.completion_rate,
        backlog_per_s=probe.backlog_per_s,
        holds=holds(probe, share),
    )
