"""`[arrivals]` of every kind: what is read, what is refused with its line, what --rate and --duration make of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from scenarios import draws
from scenarios.arrivals import due_times_ns
from scenarios.definition import ArrivalKind, Arrivals, Scenario, Think, Window
from scenarios.errors import DefinitionErrors, Mistake
from scenarios.plan import make_plan
from scenarios.rates import expected_count, rates_of
from scenarios.scenario_file import override, parse_scenario

HEAD = 'name = "a"\n[workload]\nprofile = "support-chat"\n[arrivals]\n'
MOONCAKE = [{"timestamp": 500 * i, "input_length": 900, "output_length": 20, "hash_ids": [0, i]} for i in range(41)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in MOONCAKE)
    (tmp_path / "trace.jsonl").write_text(text)
    (tmp_path / "w.csv").write_text("0,10.0,0.5,Gamma,4.0,0.02\n")
    (tmp_path / "broken.jsonl").write_text(text + '{"timestamp": -1}\n')
    return tmp_path


def read(text: str, folder: Path = Path("/nowhere"), head: str = HEAD) -> Scenario:
    return parse_scenario(head + text, str(folder / "s.toml"))


def arrivals(text: str, folder: Path = Path("/nowhere")) -> Arrivals:
    return read(text, folder).arrivals


def only(text: str, folder: Path = Path("/nowhere"), head: str = HEAD) -> Mistake:
    with pytest.raises(DefinitionErrors) as caught:
        read(text, folder, head)
    (found,) = caught.value.mistakes
    return found


def test_weibull_gaps_are_given_by_their_variation() -> None:
    found = arrivals('kind = "weibull"\nrate = 4.0\ncv = 2.0\nduration = "1m"\n')
    assert found == Arrivals(ArrivalKind.WEIBULL, 60.0, rate=4.0, cv=2.0)


def test_a_day_is_squeezed_into_the_run_unless_its_period_is_given() -> None:
    found = arrivals('kind = "diurnal"\nbase = 1\npeak = 9\nduration = "1m"\n')
    assert found == Arrivals(ArrivalKind.DIURNAL, 60.0, base=1.0, peak=9.0, period_s=60.0)
    found = arrivals('kind = "diurnal"\nbase = 1\npeak = 9\nduration = "1m"\nperiod = "30s"\nphase = 0.25\n')
    assert (found.period_s, found.phase) == (30.0, 0.25)


def test_a_day_may_be_given_by_its_rates() -> None:
    found = arrivals('kind = "diurnal"\nrates = [1, 2.5, 0]\nduration = "1m"\n')
    assert found == Arrivals(ArrivalKind.DIURNAL, 60.0, rates=(1.0, 2.5, 0.0), period_s=60.0)


def test_windows_say_how_long_the_run_is() -> None:
    found = arrivals(
        'kind = "windows"\n[[arrivals.windows]]\nfor = "30s"\nrate = 4\ncv = 2.0\ngaps = "weibull"\n'
        '[[arrivals.windows]]\nfor = "10s"\nrate = 1\n'
    )
    assert found.duration_s == 40.0
    assert found.windows == (Window(30.0, 4.0, 2.0, True), Window(10.0, 1.0))
    assert expected_count(found) == 130.0


def test_windows_of_a_file_keep_their_clients_apart(folder: Path) -> None:
    clients = folder / "clients"
    clients.mkdir()
    (clients / "c-1.csv").write_text("0,10.0,0.5,Gamma,4.0,0.02\n600,20.0,1.0,Gamma,1.0,0.05\n")
    (clients / "c-2.csv").write_text("600,5.0,2.0,Weibull,0.6,0.1\n1200,5.0,2.0,Weibull,0.6,0.1\n")
    found = arrivals('kind = "windows"\nfile = "clients"\nfrom = "300s"\nduration = "60s"\nspeed = 10\n', folder)
    assert found.windows == (
        Window(30.0, 100.0, 0.5),
        Window(30.0, 200.0, 1.0),
        Window(30.0, 0.0, client=1),
        Window(30.0, 50.0, 2.0, True, client=1),
    )
    assert found.duration_s == 60.0
    assert rates_of(found).at(np.array([10.0, 40.0])).tolist() == [100.0, 250.0]
    due_s = due_times_ns(found, draws.stream(1, 0)) / 1e9
    assert len(due_s) == pytest.approx(10_500, rel=0.05)
    assert (np.diff(due_s) >= 0).all()
    assert arrivals('kind = "windows"\nfile = "clients"\n', folder).duration_s == 1800.0


def test_times_are_given_one_by_one() -> None:
    found = arrivals('kind = "times"\nat = [0, 0.25, 0.25, 3]\nduration = "4s"\n')
    assert found == Arrivals(ArrivalKind.TIMES, 4.0, at_s=(0.0, 0.25, 0.25, 3.0))
    due_ns = due_times_ns(found, draws.stream(1, 0))
    assert due_ns.tolist() == [0, 250_000_000, 250_000_000, 3_000_000_000]
    assert expected_count(found) == 4


def test_given_times_are_stretched_with_the_run_and_have_no_rate_to_set() -> None:
    scenario = read('kind = "times"\nat = [0, 1]\nduration = "4s"\n')
    assert override(scenario, duration_s=8.0).arrivals.at_s == (0.0, 2.0)
    with pytest.raises(DefinitionErrors, match="one by one"):
        override(scenario, rate=2.0)


def test_a_closed_loop_has_users_and_no_duration() -> None:
    found = arrivals('kind = "closed"\nconcurrency = 8\nrequests = 100\nthink = { mean = "2s", cv = 0.5 }\n')
    assert found == Arrivals(ArrivalKind.CLOSED, 0.0, concurrency=8, requests=100, think=Think(2.0, 0.5))
    assert arrivals('kind = "closed"\nconcurrency = 8\nrequests = 100\nthink = "2s"\n').think == Think(2.0)
    assert arrivals('kind = "closed"\nconcurrency = 8\nrequests = 100\nthink = { mean = 1 }\n').think == Think(1.0, 1.0)


def test_a_trace_is_found_beside_the_scenario_and_lasts_as_long_as_it_does(folder: Path) -> None:
    found = arrivals('kind = "trace"\nfile = "trace.jsonl"\nspeed = 2\n', folder)
    assert found.duration_s == pytest.approx(10.001)
    assert found.recording is not None
    assert found.recording.path == str(folder / "trace.jsonl")
    assert sum(found.recording.counts) == 41
    assert expected_count(found) == pytest.approx(41)


def test_a_trace_can_begin_late_and_be_cut_short(folder: Path) -> None:
    found = arrivals('kind = "trace"\nfile = "trace.jsonl"\nfrom = "5s"\nduration = "10s"\n', folder)
    assert found.duration_s == 10.0
    assert expected_count(found) == pytest.approx(20, abs=1)


@pytest.mark.parametrize(
    ("text", "line", "what", "fix"),
    [
        ('kind = "windows"\nfile = "trace.jsonl"\n', 6, "cannot be used: line 1", "write start"),
        ('kind = "windows"\nfile = "no"\n', 6, "does not exist", ""),
        ('kind = "windows"\nfile = "w.csv"\nspeed = 10\nduration = 61\n', 8, "last only 60 s at speed 10", "leave"),
        ('kind = "trace"\nfile = "~nosuchuser/x"\n', 6, "leads nowhere", "check the path"),
        (f'kind = "trace"\nfile = "{"x" * 300}"\n', 6, "cannot be read (File name too long)", "check the path"),
        ('kind = "weibull"\nrate = 4\ncv = 11\nduration = 9\n', 7, "cv is out of range", "at most 10"),
        ('kind = "weibull"\nrate = 4\nshape = 2\nduration = 9\n', 7, "unknown key 'shape'", "did you mean"),
        ('kind = "poisson"\nrate = 4\nperiod = 2\nduration = 9\n', 7, "period does not belong", "rate, duration"),
        ('kind = "diurnal"\nbase = 4\npeak = 2\nduration = 9\n', 7, "the day's peak (2) is not above its base (4)", ""),
        ('kind = "diurnal"\npeak = 2\nduration = 9\n', 4, "missing key 'base'", "add base"),
        ('kind = "diurnal"\nbase = 0\npeak = 2\nphase = 2\nduration = 9\n', 8, "phase is out of range", "at most 1"),
        ('kind = "diurnal"\nrates = [1, "x"]\nduration = 9\n', 6, "must be a list of numbers", "[1.0, 4.0"),
        ('kind = "diurnal"\nrates = [1]\nduration = 9\n', 6, "rates has 1 numbers", "2 to 1440"),
        ('kind = "diurnal"\nrates = [0, 0]\nduration = 9\n', 6, "all rates are 0", "raise"),
        ('kind = "diurnal"\nrates = [1, 2]\nbase = 1\nduration = 9\n', 7, "base and rates are both given", "keep"),
        ('kind = "diurnal"\nrates = [1, -2]\nduration = 9\n', 6, "rates is out of range: -2", "at least 0"),
        ('kind = "windows"\n', 4, "missing key 'windows'", "add windows = [{ for"),
        ('kind = "windows"\nwindows = [{ for = 3 }]\n', 6, "missing key 'rate'", "add rate"),
        ('kind = "windows"\nwindows = [{ for = 3, rate = 0 }]\n', 6, "no window has a rate above 0", "raise"),
        ('kind = "windows"\nduration = 3\nwindows = [{ for = 3, rate = 1 }]\n', 6, "is for windows", "themselves"),
        ('kind = "windows"\nwindows = [{ for = 3, rate = 1, gaps = "wiebull" }]\n', 6, "unknown distr", '"weibull"?'),
        ('kind = "times"\nduration = 3\n', 4, "missing key 'at'", "add at"),
        ('kind = "times"\nat = [1, 0]\nduration = 3\n', 6, "at is not in order", "earliest"),
        ('kind = "times"\nat = [1, 3]\nduration = 3\n', 6, "due at 3 s, after the end", "earlier"),
        ('kind = "times"\nat = []\nduration = 3\n', 6, "at has 0 numbers", "1 to 10000"),
        ('kind = "closed"\nrequests = 9\n', 4, "missing key 'concurrency'", "add concurrency"),
        ('kind = "closed"\nconcurrency = 0\nrequests = 9\n', 6, "out of range", "at least 1"),
        ('kind = "closed"\nconcurrency = 2\nrequests = 9\nthink = { cv = 1 }\n', 8, "missing key 'mean'", "add mean"),
        ('kind = "closed"\nconcurrency = 2\nrequests = 2_000_000\n', 7, "out of range", "at most 1e+06"),
        ('kind = "closed"\nconcurrency = 2\nrequests = 9\nduration = 9\n', 8, "duration does not belong", "think"),
        ('kind = "trace"\nfile = "trase.jsonl"\n', 6, "does not exist", 'did you mean "trace.jsonl"?'),
        ('kind = "trace"\n', 4, "missing key 'file'", 'add file = "trace.csv"'),
        ('kind = "trace"\nfile = "."\n', 6, "is a directory", ""),
        ('kind = "trace"\nfile = "broken.jsonl"\n', 6, "line 42", ""),
        ('kind = "trace"\nfile = "trace.jsonl"\nspeed = 200\n', 7, "speed is out of range", "at most 100"),
        ('kind = "trace"\nfile = "trace.jsonl"\nduration = "1h"\n', 7, "lasts only 20.001 s", "leave duration out"),
        ('kind = "trace"\nfile = "trace.jsonl"\nfrom = "1h"\n', 7, "the trace ends at 20 s, before from", "earlier"),
    ],
)  # fmt: skip
def test_a_mistake_in_arrivals_is_named_with_its_line_and_its_fix(
    text: str, line: int, what: str, fix: str, folder: Path
) -> None:
    found = only(text, folder)
    assert what in found.what
    assert found.line == line
    assert fix in found.fix


def test_drift_needs_a_duration() -> None:
    head = 'name = "a"\n[workload]\nprofile = "support-chat"\ndrift = { start = 0.1, end = 0.9 }\n[arrivals]\n'
    assert "no duration to share out" in only('kind = "closed"\nconcurrency = 2\nrequests = 9\n', head=head).what


def test_a_fault_in_a_closed_loop_may_come_at_any_time() -> None:
    fault = '[[faults]]\nkind = "engine.kill"\nat = "1h"\n'
    assert read(f'kind = "closed"\nconcurrency = 2\nrequests = 9\n{fault}').faults[0].at_s == 3600.0


# ---- --rate and --duration


def at(text: str, folder: Path = Path("/nowhere"), **changes: float) -> Arrivals:
    return override(read(text, folder), **changes).arrivals


def test_the_rate_of_a_day_is_its_base_and_the_peak_keeps_its_ratio() -> None:
    found = at('kind = "diurnal"\nbase = 1\npeak = 9\nduration = "1m"\n', rate=2.0)
    assert (found.base, found.peak) == (2.0, 18.0)


def test_the_rate_of_windows_and_of_given_rates_is_their_mean() -> None:
    found = at('kind = "windows"\nwindows = [{ for = 10, rate = 1 }, { for = 30, rate = 5 }]\n', rate=8.0)
    assert [window.rate for window in found.windows] == [2.0, 10.0]
    found = at('kind = "diurnal"\nrates = [1, 3]\nduration = "1m"\n', rate=4.0)
    assert found.rates == (2.0, 6.0)


def test_a_longer_run_stretches_the_day_and_the_windows() -> None:
    assert at('kind = "diurnal"\nbase = 1\npeak = 9\nduration = "1m"\nperiod = 30\n', duration_s=120.0).period_s == 60.0
    found = at('kind = "windows"\nwindows = [{ for = 10, rate = 1 }, { for = 30, rate = 5 }]\n', duration_s=4.0)
    assert [window.for_s for window in found.windows] == [1.0, 3.0]


def test_a_trace_at_another_rate_is_played_faster_and_holds_the_same_requests(folder: Path) -> None:
    scenario = read('kind = "trace"\nfile = "trace.jsonl"\n', folder)
    fast = override(scenario, rate=20.5)
    assert fast.arrivals.speed == pytest.approx(10.0, rel=1e-3)
    assert len(make_plan(scenario, 1)) == len(make_plan(fast, 1)) == 41
    assert rates_of(fast.arrivals).before[-1] == pytest.approx(41)


def test_a_trace_for_a_shorter_time_is_cut_and_keeps_its_speed(folder: Path) -> None:
    scenario = read('kind = "trace"\nfile = "trace.jsonl"\nspeed = 2\n', folder)
    short = override(scenario, duration_s=5.0)
    assert short.arrivals.speed == 2.0
    assert [r.due_ns for r in make_plan(short, 1)[:]] == [250_000_000 * i for i in range(20)]


def test_faults_move_with_the_length_of_the_run(folder: Path) -> None:
    text = 'kind = "trace"\nfile = "trace.jsonl"\n[[faults]]\nkind = "engine.kill"\nat = "10s"\n'
    assert override(read(text, folder), rate=20.5).faults[0].at_s == pytest.approx(1.0, rel=1e-2)
    steady = 'kind = "poisson"\nrate = 2\nduration = 20\n[[faults]]\nkind = "engine.kill"\nat = "10s"\n'
    assert override(read(steady), duration_s=10.0).faults[0].at_s == 5.0


def test_a_trace_that_is_cut_keeps_its_faults_where_they_are(folder: Path) -> None:
    text = 'kind = "trace"\nfile = "trace.jsonl"\n[[faults]]\nkind = "engine.kill"\nat = "10s"\n'
    assert override(read(text, folder), duration_s=15.0).faults[0].at_s == 10.0
    with pytest.raises(DefinitionErrors, match=r"--duration: .* engine.kill starts at 10 s"):
        override(read(text, folder), duration_s=10.0)


def test_a_warm_up_must_fit_into_the_run_as_both_options_leave_it(folder: Path) -> None:
    scenario = read('kind = "trace"\nfile = "trace.jsonl"\n[window]\nwarmup = "5s"\n', folder)
    with pytest.raises(DefinitionErrors, match=r"--rate: .*no longer than the warm-up \(5 s\)"):
        override(scenario, rate=20.5)
    assert override(scenario, rate=1.0, duration_s=30.0).arrivals.duration_s == 30.0


def test_a_stretch_without_a_request_has_no_rate_to_change(folder: Path) -> None:
    rows = [json.dumps(MOONCAKE[0] | {"timestamp": second * 1000}) for second in (0, 100, 101)]
    (folder / "gap.jsonl").write_text("\n".join(rows))
    scenario = read('kind = "trace"\nfile = "gap.jsonl"\nfrom = 20\nduration = 30\n', folder)
    with pytest.raises(DefinitionErrors, match="no request comes in the 30 s"):
        override(scenario, rate=2.0)


@pytest.mark.parametrize(
    ("text", "changes", "what"),
    [
        ('kind = "closed"\nconcurrency = 2\nrequests = 9\n', {"rate": 2.0}, "--rate: a closed loop"),
        ('kind = "closed"\nconcurrency = 2\nrequests = 9\n', {"duration_s": 2.0}, "--duration: a closed loop"),
        ('kind = "trace"\nfile = "trace.jsonl"\n', {"duration_s": 30.0}, "lasts only 20 s"),
        ('kind = "trace"\nfile = "trace.jsonl"\n', {"rate": 3000.0}, "the trace at 14"),
    ],
)
def test_what_a_kind_cannot_do_is_refused(text: str, changes: dict[str, float], what: str, folder: Path) -> None:
    with pytest.raises(DefinitionErrors, match=what):
        override(read(text, folder), **changes)


# ---- what becomes of the files


def test_another_trace_under_the_same_name_is_not_taken_for_it(folder: Path) -> None:
    scenario = read('kind = "trace"\nfile = "trace.jsonl"\n', folder)
    (folder / "trace.jsonl").write_text(json.dumps(MOONCAKE[0]) + "\n" + json.dumps(MOONCAKE[9]) + "\n")
    with pytest.raises(DefinitionErrors, match="is not the file that the scenario was read with"):
        make_plan(scenario, 1)


def test_a_trace_that_is_gone_is_said_to_be(folder: Path) -> None:
    scenario = read('kind = "trace"\nfile = "trace.jsonl"\n', folder)
    (folder / "trace.jsonl").unlink()
    with pytest.raises(DefinitionErrors, match=r"trace\.jsonl: cannot be read"):
        make_plan(scenario, 1)
