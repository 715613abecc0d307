"""The report for a person at a terminal: a compact table that fits 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

from scenarios.report import capacity, chaos, faults, words
from scenarios.report.layout import LABEL, Paint, as_it_is, cells, cut, field, pad, wrapped
from scenarios.report.material import Example, Material
from scenarios.report.words import one_line, seconds, share
from scenarios.result import GateResult, GateVerdict, ResultDocument

_WORD = 14  # "? inconclusive"


def render_text(
    material: Material, journal: str, width: int = 80, paint: Paint = as_it_is, runs_option: str = ""
) -> str:
    """The verdict with its evidence.

    `journal` is the path to name, `width` is in columns (60 at least), and `runs_option` is what a command needs
    beside the run's id to find it (` --runs-dir DIR`).
    """
    more = [f"seatrial {command} {material.document.run.id}{runs_option}" for command in ("watch", "export")]
    return "\n".join(line.rstrip() for line in _lines(material, journal, more, max(60, width), paint)) + "\n"


def _lines(material: Material, journal: str, more: list[str], width: int, paint: Paint) -> Iterator[str]:
    document = material.document
    yield from _head(material, width, paint)
    yield ""
    yield from _gates(document.gates, width, paint)
    yield ""
    if document.summary.capacity is not None:
        yield from capacity.lines(document.summary.capacity, width)
        yield ""
        yield "All probes together, those above the capacity too"
    if document.summary.faults:
        yield from faults.lines(document.summary.faults, width, paint)
        yield ""
    if document.summary.chaos is not None:
        yield from chaos.lines(document.summary.chaos, width, document.run.seed)
        yield ""
        yield "All tries together, those with faults too"
    yield from _numbers(document, width)
    yield ""
    yield from _latencies(document, width)
    yield from _examples(material.examples, width, paint)
    yield from _events(material, width)
    yield from _not_measured(document, width)
    yield ""
    yield f"{pad('Journal', LABEL)}{journal}"  # never cut: it is there to be copied
    yield from (f"{pad(label, LABEL)}{command}" for label, command in zip(("More", ""), more, strict=True))


def _head(material: Material, width: int, paint: Paint) -> Iterator[str]:
    document, run = material.document, material.document.run
    verdict = f"{words.VERDICT_GLYPH[document.verdict]} {document.verdict.value}"
    yield f"{paint(words.VERDICT_ROLE[document.verdict], verdict)}  {paint('strong', one_line(run.scenario, 60))}"
    yield from wrapped(one_line(document.why, words.LONGEST_WHY), width)
    if material.incomplete:
        yield from (paint("warn", line) for line in wrapped(material.incomplete, width))
    yield ""
    yield from field("Run", [run.id, f"seed {run.seed}", f"started {one_line(run.started_at, 40)}"], width)
    yield from field("Resumed", words.resumptions(run), width)
    yield from field("Target", [one_line(run.target, 100), f"model {one_line(run.model, 60)}"], width)


def _gates(gates: tuple[GateResult, ...], width: int, paint: Paint) -> Iterator[str]:
    if not gates:
        yield "No gates: nothing was judged."
        return
    rows = [
        (one_line(g.name, 60), words.of_metric(g.metric, g.measured), words.bound(g), words.interval(g)) for g in gates
    ]
    heads = ("gate", "measured", "bound", "interval")
    columns = [max(cells(head), *(cells(row[i]) for row in rows)) for i, head in enumerate(heads)]
    columns[0] = max(8, min(columns[0], width - _WORD - sum(columns[1:]) - 4 * 2))
    yield "  ".join([" " * _WORD, *(pad(head, size) for head, size in zip(heads, columns, strict=True))])
    for gate, row in zip(gates, rows, strict=True):
        word = pad(f"{words.GATE_GLYPH[gate.verdict]} {gate.verdict.value}", _WORD)
        line = "  ".join(pad(cell, size) for cell, size in zip(row, columns, strict=True))
        yield f"{paint(words.GATE_ROLE[gate.verdict], word)}  {cut(line.rstrip(), width - _WORD - 2)}"
        why = words.because(gate)
        if why and gate.verdict is not GateVerdict.PASS:
            yield from wrapped(why, width, " " * (_WORD + 2))


def _numbers(document: ResultDocument, width: int) -> Iterator[str]:
    summary = document.summary
    outcomes = [f"{name} {count:,}" for name, count in summary.outcomes.items() if count]
    yield from field("Outcomes", [*outcomes, f"of {summary.planned:,} planned"], width)
    good = [f"{share(summary.goodput)} {words.goodput_of(summary)}"]
    if summary.goodput_rate is not None:
        good.append(f"{summary.goodput_rate:.3g} good requests/s")
    yield from field("Goodput", good, width)
    yield from field(
        "Throughput", [*words.throughputs(summary), f"tokens by {one_line(summary.tokens_from, 20)}"], width
    )
    yield from field("Window", words.window(summary), width)
    yield from field("Recovery", words.recoveries(summary), width)
    yield from field("Accuracy", words.accuracies(summary), width)
    yield from field("Drift", words.listed(summary.drift if summary.drift.get("evaluations") else {}), width)
    yield from field("Odd input", words.odd(summary), width)
    found = [f"{one_line(name, 40)} {count:,}" for name, count in summary.findings.items() if count]
    yield from field("Findings", found or ["none"], width)
    yield from field("Models", words.models(summary), width)
    yield from field("Noise floor", words.noise_floor(summary), width)
    yield from field("Instrument", words.instrument(summary), width)


def _latencies(document: ResultDocument, width: int) -> Iterator[str]:
    rows = words.latencies(document.summary)
    if not rows:
        yield "Latency     nothing was measured"
        return
    heads = ("n", "p50", "p90", "p95", "p99", "max", "raw p95")[: width // 10 - 1]
    yield f"{'From due':<10}" + "".join(pad(head, 10, right=True) for head in heads)
    for name, row in rows:
        values = [seconds(v) for v in (row.p50, row.p90, row.p95, row.p99, row.max, row.raw.get("p95"))]
        yield f"{name:<10}" + "".join(pad(value, 10, right=True) for value in (f"{row.n:,}", *values)[: len(heads)])


def _examples(examples: tuple[Example, ...], width: int, paint: Paint) -> Iterator[str]:
    gate = None
    for example in examples:
        if example.gate != gate:
            gate = example.gate
            yield ""
            yield f"What weighs most in {one_line(gate, 60)}"
        facts = f"  #{example.index} {one_line(example.profile, 20)} due {seconds(example.due_s)}, {example.outcome}"
        if example.ttft_s is not None:
            facts += f", ttft {seconds(example.ttft_s)}"
        yield cut(facts, width)
        if example.note:
            yield paint("dim", cut("    " + one_line(example.note, width), width))


def _events(material: Material, width: int) -> Iterator[str]:
    if not material.events:
        return
    yield ""
    yield "Events"
    for event in material.events:
        yield cut(f"  {event.t_s:8.1f} s  {words.event(event)}", width)


def _not_measured(document: ResultDocument, width: int) -> Iterator[str]:
    missing = document.summary.not_measured
    if not missing:
        return
    yield ""
    yield "Not measured"
    for metric, why in missing.items():
        yield from wrapped(f"{one_line(metric, 60)}: {one_line(why)}", width, "  ")
