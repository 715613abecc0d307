"""Documents and journals that the tests of reports and commands share, and that they hold together."""

from __future__ import annotations

from pathlib import Path

from scenarios.journal import JournalReader, JournalWriter
from scenarios.observation import Finding, Judged, Observation, Outcome
from scenarios.report import gather
from scenarios.request import PlannedRequest
from scenarios.result import (
    GateResult,
    GateVerdict,
    Latency,
    Recovery,
    ResultDocument,
    RunInfo,
    Summary,
    Verdict,
)
from scenarios.runs import journal_path
from scenarios.tick import Event, GateSample, Quantiles, Tick

NASTY = "\x1b]0;gone\x07\x1b[2J<img src=x> [a](http://x) | `b` @all \u202e & 日本語 \ud7ff"
RUN_ID = "20261122-101530-9f3a"


def make_gate(
    name: str = "ttft_s.p95",
    verdict: GateVerdict = GateVerdict.PASS,
    *,
    metric: str = "ttft_s.p95",
    bound: str = "<= 0.8",
    measured: float | None = 0.412,
    interval: tuple[float | None, float | None] | None = (0.39, 0.44),
    evidence: tuple[int, ...] = (0, 1),
    needed: int | None = None,
    reason: str = "",
) -> GateResult:
    return GateResult(
        name=name,
        metric=metric,
        bound=bound,
        measured=measured,
        interval=interval,
        confidence=0.95,
        verdict=verdict,
        n=300,
        evidence=evidence,
        needed=needed,
        reason=reason,
    )


def make_document(
    verdict: Verdict = Verdict.GO,
    gates: tuple[GateResult, ...] | None = None,
    *,
    state: str = "done",
    target: str = "embedded engine (llama.cpp)",
    run_id: str = RUN_ID,
) -> ResultDocument:
    latency = Latency(n=300, p50=0.12, p90=0.3, p95=0.412, p99=0.7, max=1.2345, raw={"p50": 0.11, "p95": 0.4})
    nothing = Latency(n=0)
    summary = Summary(
        planned=320,
        outcomes={"ok": 300, "shed": 15, "timeout": 5, "unsent": 0},
        window_s=180.0,
        goodput=0.9375,
        goodput_rate=1.667,
        throughput={"requests_per_s": 1.75, "tokens_per_s": 812.4},
        tokens_from="usage",
        ttft_s=latency,
        ttfa_s=latency,
        itl_s=Latency(n=9000, p50=0.004, p90=0.008, p95=0.01, p99=0.02, max=0.3),
        tpot_s=nothing,
        e2e_s=latency,
        shed_s=nothing,
        accuracy={"all": {"n": 120, "correct": 118, "rate": 118 / 120}},
        findings={"secret": 2, "pii.email": 1},
        drift={"detected": True, "delay_s": 12.5},
        odd={"probes": 30, "correct": 29, "wrong": 1},
        recovery=(
            Recovery(cause="engine.kill", at_s=90.0, recovered_s=3.2),
            Recovery(cause="spike", at_s=120.0, recovered_s=None),
        ),
        instrument={"send_lag_p99_s": 0.0004, "steal": 0.01},
        not_measured={"tpot_s": "no answer had two tokens"},
    )
    return ResultDocument(
        verdict=verdict,
        why="All 3 gates passed.",
        run=RunInfo(
            id=run_id,
            scenario="peak-traffic",
            seed=1,
            plan_hash="abcdef0123456789" * 4,
            target=target,
            model="demo",
            started_at="2026-11-22T10:15:30Z",
            environment={"cores": 2, "python": "3.11.7"},
            state=state,
        ),
        summary=summary,
        gates=(
            make_gate(),
            make_gate("good", metric="goodput", bound=">= 0.95", measured=0.9612, interval=(0.955, 0.97)),
        )
        if gates is None
        else gates,
    )


def make_observation(index: int, outcome: Outcome = Outcome.OK) -> Observation:
    due = index * 500_000_000
    ok = outcome is Outcome.OK
    return Observation(
        index=index,
        due_ns=due,
        outcome=outcome,
        end_ns=due + 900_000_000,
        sent_ns=due + 1_000_000,
        first_ns=due + 120_000_000 if ok else None,
        answer_ns=due + 120_000_000 if ok else None,
        last_ns=due + 800_000_000 if ok else None,
        event_ns=(due + 120_000_000, due + 800_000_000) if ok else (),
        status=200 if ok else None,
        prompt_tokens=12,
        completion_tokens=2,
        finish_reason="stop",
        attempts=2,
        begun=int(ok),
        fingerprint="demo fp_1" if ok else "",
        answer=f"answer {index} {NASTY}" if ok else "",
        error="" if ok else "no byte for 30 s",
    )


def make_tick(t_s: float = 91.0, state: str = "running") -> Tick:
    return Tick(
        t_s=t_s,
        state=state,
        duration_s=180.0,
        planned=320,
        due=150,
        sent=150,
        in_flight=7,
        done=143,
        outcomes={"ok": 140, "shed": 2, "timeout": 1},
        due_rate=4.0,
        done_rate=3.9,
        tokens=900,
        token_rate=60.0,
        ttft=Quantiles(0.1, 0.412, 0.5, 30),
        itl=Quantiles(),
        ttft_all=Quantiles(0.1, 0.4, 0.5, 143),
        gates=(
            GateSample(name="a", metric="goodput", bound=">= 0.9", measured=0.95, state="pass"),
            GateSample(name="b", metric="ttft_s.p95", bound="<= 0.8", measured=None, state="open"),
        ),
    )


def write_journal(
    directory: Path, document: ResultDocument | None = None, *, state: str = "done", run_id: str = RUN_ID, done: int = 6
) -> Path:
    """A small journal: six planned requests, `done` of them observed; without a document the run has none."""
    path = journal_path(directory, run_id)
    writer = JournalWriter(path)
    info = (document or make_document(run_id=run_id)).run
    writer.set_run(
        RunInfo(**{field: getattr(info, field) for field in info.__struct_fields__} | {"state": state, "id": run_id})
    )
    writer.add_plan(
        PlannedRequest(
            index=i,
            due_ns=i * 500_000_000,
            path="/v1/chat/completions",
            body=b"{}",
            profile="support-chat",
            segment="eu",
            prompt_text=f"=prompt {i}",
        )
        for i in range(6)
    )
    writer.add_observations(make_observation(i, Outcome.TIMEOUT if i == 1 else Outcome.OK) for i in range(done))
    writer.add_judged(Judged(index=i, correct=i != 1) for i in range(done))
    writer.add_findings(
        [Finding(index=2, category="secret", severity="high", start=0, end=4, detector="key", excerpt="abcd")]
    )
    writer.add_tick(make_tick())
    writer.add_event(Event(t_s=90.0, kind="fault.start", text=f"engine.kill {NASTY}"))
    writer.add_event(Event(t_s=93.2, kind="fault.end", text="engine.kill over", recovery_s=3.2))
    if document is not None:
        writer.set_document(document)
    writer.close()
    return path


def test_the_sample_journal_holds_what_a_report_needs(tmp_path: Path) -> None:
    failed = make_gate(verdict=GateVerdict.FAIL, measured=1.2)
    document = make_document(Verdict.NO_GO, (failed,))
    with JournalReader(write_journal(tmp_path, document)) as reader:
        material = gather(reader, document)
    assert [example.index for example in material.examples] == [0, 1]
    assert material.examples[1].note == "no byte for 30 s"
    assert len(material.events) == 2
    assert material.incomplete == ""
