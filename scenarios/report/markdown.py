"""The report for a pull request or a job summary: the verdict and the gates first, the rest folded away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from scenarios.report import capacity, chaos, faults, words
from scenarios.report.material import Material
from scenarios.report.words import one_line, seconds, share
from scenarios.result import Capacity, ChaosResult, GateVerdict
from scenarios.sanitise import markdown_cell

_PLOT_COLUMNS = 80


def render_markdown(material: Material) -> str:
    """GitHub-flavoured Markdown. Every text from outside is escaped: it can open no tag, link or table."""
    return "\n".join(_lines(material)) + "\n"


def _lines(material: Material) -> Iterator[str]:
    document, run = material.document, material.document.run
    yield f"## {words.VERDICT_GLYPH[document.verdict]} {document.verdict.value}: {_safe(run.scenario)}"
    yield ""
    yield _safe(document.why)
    if material.incomplete:
        yield ""
        yield f"**{material.incomplete}**"
    yield ""
    yield from _gates(material)
    yield ""
    if document.summary.capacity is not None:
        yield from _capacity(document.summary.capacity)
        yield ""
    if document.summary.faults:
        yield f"**Faults**: {_joined(faults.totals(document.summary.faults))}."
        yield ""
        yield from _table(faults.HEADS, [tuple(map(_safe, row)) for row in faults.rows(document.summary.faults)])
        yield ""
    if document.summary.chaos is not None:
        yield from _chaos(document.summary.chaos)
        yield ""
    yield from _folded("Numbers", _numbers(material))
    if material.examples:
        yield from _folded("What weighs most", _examples(material))
    if material.events:
        yield from _folded("Events", _events(material))
    if document.summary.not_measured:
        rows = [(_safe(metric), _safe(why)) for metric, why in document.summary.not_measured.items()]
        yield from _folded("Not measured", _table(("metric", "why"), rows))
    yield (
        f"Run {_safe(run.id)}, seed {run.seed}, plan {_safe(run.plan_hash[:16])}, started {_safe(run.started_at)}; "
        f"target {_safe(run.target)}, model {_safe(run.model)}."
    )
    for resumption in words.resumptions(run):
        yield ""
        yield f"Resumed {resumption}."


def _gates(material: Material) -> Iterator[str]:
    gates = material.document.gates
    if not gates:
        yield "No gates: nothing was judged."
        return
    rows = [
        (
            f"{words.GATE_GLYPH[gate.verdict]} {gate.verdict.value}",
            _safe(gate.name),
            words.of_metric(gate.metric, gate.measured),
            _safe(words.bound(gate)),
            words.interval(gate),
        )
        for gate in gates
    ]
    yield from _table(("verdict", "gate", "measured", "bound", "interval"), rows)
    for gate in gates:
        why = words.because(gate)
        if why and gate.verdict is not GateVerdict.PASS:
            yield ""
            yield f"{_safe(gate.name)}: {_safe(why)}"


def _capacity(found: Capacity) -> Iterator[str]:
    yield f"**Capacity**: {_safe(capacity.headline(found))}."
    yield ""
    yield from _table(capacity.HEADS, capacity.rows(found))
    if len(found.curve) > 1:
        yield ""
        yield "```text"
        yield from capacity.plot(found, _PLOT_COLUMNS)
        yield "```"


def _chaos(found: ChaosResult) -> Iterator[str]:
    yield from _table(("chaos search", ""), [(_safe(name), _joined(said)) for name, said in chaos.facts(found)])
    if found.minimal is not None:
        yield ""
        yield "```toml"
        yield from chaos.toml_lines(found)
        yield "```"


def _numbers(material: Material) -> Iterator[str]:
    summary = material.document.summary
    outcomes = ", ".join(f"{_safe(name)} {count:,}" for name, count in summary.outcomes.items() if count)
    rows = [
        ("planned", f"{summary.planned:,} in the whole run"),
        ("outcomes", outcomes),
        ("goodput", f"{share(summary.goodput)} {words.goodput_of(summary)}"),
        ("throughput", f"{_joined(words.throughputs(summary))} (tokens by {_safe(summary.tokens_from)})"),
        ("window", _joined(words.window(summary))),
        ("recovery", _joined(words.recoveries(summary))),
        ("accuracy", _joined(words.accuracies(summary))),
        ("drift", _joined(words.listed(summary.drift))),
        ("odd input", _joined(words.odd(summary))),
        ("findings", _joined(words.listed({k: v for k, v in summary.findings.items() if v})) or "none"),
        ("models", _joined(words.models(summary))),
        ("noise floor", _joined(words.noise_floor(summary))),
        ("instrument", _joined(words.instrument(summary))),
    ]
    yield from _table(("what", "value"), [row for row in rows if row[1]])
    yield ""
    latencies = [
        (name, f"{row.n:,}", *(seconds(v) for v in (row.p50, row.p90, row.p95, row.p99, row.max, row.raw.get("p95"))))
        for name, row in words.latencies(summary)
    ]
    if latencies:
        yield from _table(("from due", "n", "p50", "p90", "p95", "p99", "max", "raw p95"), latencies)


def _examples(material: Material) -> Iterator[str]:
    rows = [
        (
            _safe(e.gate),
            str(e.index),
            _safe(e.profile),
            seconds(e.due_s),
            e.outcome,
            seconds(e.ttft_s),
            _safe(one_line(e.note, 120)),
        )
        for e in material.examples
    ]
    yield from _table(("gate", "request", "profile", "due", "outcome", "ttft", "text"), rows)


def _events(material: Material) -> Iterator[str]:
    rows = [
        (f"{e.t_s:.1f} s", _safe(e.kind), _safe(e.text), seconds(e.recovery_s) if e.recovery_s is not None else "")
        for e in material.events
    ]
    yield from _table(("at", "kind", "what", "recovered after"), rows)


def _joined(parts: Iterable[str]) -> str:
    return _safe(", ".join(parts))


def _safe(text: str) -> str:
    return markdown_cell(text, words.LONGEST_WHY)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'|'.join('---' for _ in heads)}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _folded(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield f"<details><summary>{title}</summary>"
    yield ""
    yield from lines
    yield ""
    yield "</details>"
    yield ""
