"""`[workload]` with settings: sessions, datasets, traces, made-up text, mixes of them, tenants and clients."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scenarios.definition import (
    Clients,
    Disconnect,
    Lengths,
    Part,
    Retrying,
    Scenario,
    Sessions,
    SlowReader,
    Spread,
    Synthetic,
    Tenant,
    Think,
    Workload,
)
from scenarios.errors import DefinitionErrors, Mistake
from scenarios.scenario_file import parse_scenario

TAIL = '[arrivals]\nkind = "poisson"\nrate = 2.0\nduration = "30s"\n'
ROWS = [{"timestamp": 100 * i, "input_length": 900, "output_length": 20, "hash_ids": [0, i]} for i in range(9)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "trace.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (tmp_path / "asked.jsonl").write_text('{"prompt": "a", "answer": "b"}\n{"prompt": "c"}\n')
    (tmp_path / "open.jsonl").write_text('{"prompt": "a"}\n')
    (tmp_path / "broken.jsonl").write_text('{"prompt": "a"}\n{"nothing": 1}\n')
    return tmp_path


def read(text: str, folder: Path = Path("/nowhere"), tail: str = TAIL) -> Scenario:
    return parse_scenario(f'name = "a"\n[workload]\n{text}\n{tail}', str(folder / "s.toml"))


def workload(text: str, folder: Path = Path("/nowhere"), tail: str = TAIL) -> Workload:
    return read(text, folder, tail).workload


def only(text: str, folder: Path = Path("/nowhere"), tail: str = TAIL) -> Mistake:
    with pytest.raises(DefinitionErrors) as caught:
        read(text, folder, tail)
    (found,) = caught.value.mistakes
    return found


def test_a_profile_as_it_comes_has_no_settings() -> None:
    assert workload('profile = "support-chat"') == Workload((("support-chat", 1.0),))


def test_sessions_have_turns_and_a_pause() -> None:
    found = workload('profile = "support-chat"\nturns = { min = 2, max = 6 }\nthink = "3s"').part("support-chat")
    assert found.sessions == Sessions(Lengths(Spread.UNIFORM, 2, 6), Think(3.0))
    found = workload('profile = "support-chat"\nturns = 4').part("support-chat")
    assert found.sessions == Sessions(Lengths(Spread.CONSTANT, 4, 4, 4.0))


def test_a_dataset_knows_whether_it_has_answers(folder: Path) -> None:
    found = workload('profile = "dataset"\nfile = "asked.jsonl"\nmax_tokens = 9', folder).part("dataset").dataset
    assert found is not None
    assert (found.path, found.answers, found.max_tokens) == (str(folder / "asked.jsonl"), True, 9)
    accuracy = '[[gates]]\nmetric = "accuracy"\nmin = 0.5\n'
    assert read('profile = "dataset"\nfile = "asked.jsonl"', folder, TAIL + accuracy).gates
    found_mistake = only('profile = "dataset"\nfile = "open.jsonl"', folder, TAIL + accuracy)
    assert "cannot measure accuracy" in found_mistake.what
    assert "whose answers are known" in found_mistake.fix


def test_a_trace_takes_the_file_of_the_arrivals_unless_it_names_one(folder: Path) -> None:
    text = 'profile = "trace"\nshrink = 16\nprompt_max = 40\noutput_max = 9\nexact_output = false'
    tail = '[arrivals]\nkind = "trace"\nfile = "trace.jsonl"\n'
    found = workload(text, folder, tail).part("trace").replay
    assert found is not None
    assert found.path == str(folder / "trace.jsonl")
    assert (found.shrink, found.prompt_max, found.output_max, found.exact_output) == (16, 40, 9, False)
    assert workload(text + '\nfile = "trace.jsonl"', folder).part("trace").replay == found


def test_made_up_text_has_lengths_and_beginnings_in_common() -> None:
    found = workload(
        'profile = "synthetic"\nprompt_tokens = { mean = 300, cv = 0.4, max = 900 }\noutput_tokens = 20\n'
        "prefix_tokens = 128\nprefixes = 4\nreuse = 0.8"
    ).part("synthetic")
    prompts = Lengths(Spread.LOGNORMAL, 1, 900, 300.0, 0.4)
    assert found.synthetic == Synthetic(prompts, Lengths(Spread.CONSTANT, 20, 20, 20.0), 128, 4, 0.8)


def test_a_prefix_is_shared_by_all_unless_said_otherwise() -> None:
    text = 'profile = "synthetic"\nprompt_tokens = 300\noutput_tokens = 20\n'
    assert (made := workload(text + "prefix_tokens = 9").part("synthetic").synthetic) is not None
    assert (made.prefixes, made.reuse) == (1, 1.0)
    assert (made := workload(text).part("synthetic").synthetic) is not None
    assert made.reuse == 0.0


def test_a_mix_holds_several_of_one_profile_under_names_of_their_own() -> None:
    found = workload(
        "[workload.mix]\nrecommend = 1\nsupport-chat = { weight = 2, turns = 3 }\n"
        'short = { profile = "synthetic", weight = 3, prompt_tokens = 9, output_tokens = 9 }\n'
        'long = { profile = "synthetic", weight = 4, prompt_tokens = 99, output_tokens = 9 }\n'
    )
    assert found.mix == (("recommend", 1.0), ("support-chat", 2.0), ("short", 3.0), ("long", 4.0))
    assert found.part("recommend") == Part("recommend")
    assert found.part("short").profile == found.part("long").profile == "synthetic"
    assert found.part("short") != found.part("long")
    assert found.profiles == {"recommend", "support-chat", "synthetic"}


def test_tenants_have_weights_and_the_name_of_a_variable() -> None:
    found = workload(
        'profile = "it-ops"\n[workload.tenants]\nacme = 3\nbig-bank = { weight = 1 }\nx = { weight = 1, key_env = "K" }'
    )
    assert found.tenants == (
        Tenant("acme", 3.0, "SEATRIAL_API_KEY_ACME"),
        Tenant("big-bank", 1.0, "SEATRIAL_API_KEY_BIG_BANK"),
        Tenant("x", 1.0, "K"),
    )


def test_clients_read_slowly_leave_and_try_again() -> None:
    found = workload(
        'profile = "it-ops"\n[workload.clients]\nslow_reader = { share = 0.1, bytes_per_s = 200 }\n'
        "disconnect = { share = 0.2, after_events = 3 }\n"
        'retry = { attempts = 4, wait = "1s", factor = 2, align = "10s" }'
    )
    assert found.clients == Clients(SlowReader(0.1, 200.0), Disconnect(0.2, 3), Retrying(1.0, 4, 1.0, 2.0, 10.0))


SYNTHETIC = 'profile = "synthetic"\noutput_tokens = 9\n'


@pytest.mark.parametrize(
    ("text", "line", "what", "fix"),
    [
        ('profile = "it-ops"\nturns = 3', 4, "turns does not belong to the profile it-ops", "it-ops takes no settings"),
        ('profile = "synthetic"\nturns = 3\nprompt_tokens = 9\noutput_tokens = 9', 4, "turns does not", "prefixes"),
        ('profile = "support-chat"\nthink = 3', 2, "missing key 'turns'", "add turns = { min"),
        ('profile = "support-chat"\nturns = 21', 4, "out of range", "at most 20"),
        ('profile = "support-chat"\nturns = { min = 5, max = 2 }', 4, "min (5) is above max (2)", "swap"),
        ('profile = "support-chat"\nturns = { min = 5 }', 4, "missing key 'max'", "add max = 20"),
        ('profile = "support-chat"\nturns = "many"', 4, "turns must be a whole number", ""),
        ('profile = "dataset"', 2, "missing key 'file'", 'file = "questions.jsonl"'),
        ('profile = "dataset"\nfile = "askt.jsonl"', 4, "does not exist", 'did you mean "asked.jsonl"?'),
        ('profile = "dataset"\nfile = "broken.jsonl"', 4, "line 2: none of messages", "name the field"),
        ('profile = "trace"\n', 2, "missing key 'file'", "arrivals of kind"),
        ('profile = "trace"\nfile = "trace.jsonl"\nshrink = 7', 5, "blocks of 512 tokens", "power of two"),
        (SYNTHETIC, 2, "missing key 'prompt_tokens'", "add prompt_tokens = 200"),
        (SYNTHETIC + "prompt_tokens = { mean = 9, spread = 'even' }", 5, "unknown spread 'even'", "uniform"),
        (SYNTHETIC + "prompt_tokens = { spread = 'uniform', mean = 9, min = 1, max = 2 }", 5, "mean does not", "min"),
        (SYNTHETIC + "prompt_tokens = 9\nreuse = 0.5", 6, "reuse needs to know how long", "add prefix_tokens"),
        (SYNTHETIC + "prompt_tokens = 9\nexact_output = 1", 6, "must be true or false", "exact_output = true"),
        ('mix = { "support-chat" = { turns = 3 } }', 3, "missing key 'weight'", "add weight"),
        ('mix = { "support-chat" = { weight = 1, turnz = 3 } }', 3, "unknown key 'turnz'", '"turns"?'),
        ('mix = { talk = { weight = 1, turns = 3 } }', 3, "missing key 'profile'", "add profile"),
        ('mix = { talk = { weight = 1, profile = "support-cat" } }', 3, "unknown profile", '"support-chat"?'),
        ('mix = { odd = { weight = 1, profile = "synthetic" } }', 3, "cannot be another profile", "name of its own"),
        ('mix = { safety = { weight = 1, profile = "it-ops" } }', 3, "cannot be another profile", "name of its own"),
        ('mix = { talk = 1 }', 3, "unknown profile 'talk'", "choose one of"),
        ('mix = { dataset = 1 }', 3, "missing key 'file'", "add file"),
        ('mix = { "it-ops" = 1 }\nturns = 3', 4, "unknown key 'turns'", "tenants"),
        ('profile = "it-ops"\n[workload.tenants]\n"a b" = 1', 5, "'a b' is no name of a tenant", "letters"),
        ('profile = "it-ops"\n[workload.tenants]\nacme = 0', 4, "no tenant has a weight above 0", "raise"),
        ('profile = "it-ops"\n[workload.tenants]\nacme = {}', 5, "missing key 'weight'", "add"),
        ('profile = "it-ops"\n[workload.tenants]\nacme = { weight = 1, key_env = "sk-1" }', 5, "no name of", "never"),
        ('profile = "it-ops"\n[workload.clients]\nslow_raeder = {}', 5, "unknown key 'slow_raeder'", '"slow_reader"?'),
        ('profile = "it-ops"\nslow_reader = {}', 4, "unknown key 'slow_reader'", "[workload.clients]"),
        ('profile = "it-ops"\n[workload.clients]\nretry = { attempts = 1 }', 5, "out of range", "at least 2"),
        ('profile = "it-ops"\n[workload.clients]\ndisconnect = { share = 0.5 }', 5, "missing key 'after_events'", ""),
        (
            'profile = "it-ops"\n[workload.clients]\nslow_reader = { share = 0.6, bytes_per_s = 9 }\n'
            "disconnect = { share = 0.6, after_events = 1 }", 6, "1.2 of all requests together", "sum at 1",
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_a_workload_is_named_with_its_line_and_its_fix(
    text: str, line: int, what: str, fix: str, folder: Path
) -> None:
    found = only(text, folder)
    assert what in found.what
    assert fix in found.fix
    assert found.line == line


def test_what_has_no_known_answer_has_no_accuracy() -> None:
    gate = '[[gates]]\nmetric = "accuracy"\nmin = 0.5\n'
    text = 'profile = "synthetic"\nprompt_tokens = 9\noutput_tokens = 9'
    assert "cannot measure accuracy" in only(text, tail=TAIL + gate).what
    assert read(text + "\nsafety_share = 0.1", tail=TAIL + gate).gates


def test_a_trace_cannot_drift(folder: Path) -> None:
    found = only('profile = "trace"\nfile = "trace.jsonl"\ndrift = { start = 0.1, end = 0.9 }', folder)
    assert "cannot drift" in found.what
