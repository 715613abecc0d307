"""The profiles are pure, their answers follow from their rules, and era B is another world."""

from __future__ import annotations

import ast
import random
from collections import Counter
from pathlib import Path

import pytest

import scenarios.profiles
from scenarios.profiles import PROFILES, Era, Task
from scenarios.profiles.fraud_triage import Payment, pattern_a, pattern_b
from scenarios.profiles.recommend import WORLD_A, WORLD_B
from scenarios.profiles.safety import LEAKED, NOTE_REFUSAL, PLANTED_NOTE_MARK, REFUSAL, declined, injection

ERAS = [pytest.param(era, id=f"era-{era}") for era in Era]


def draw(name: str, era: Era, count: int = 300) -> list[Task]:
    return [PROFILES[name].sample(random.Random(f"{name}:{index}"), era) for index in range(count)]


def words(tasks: list[Task]) -> Counter[str]:
    texts = [task.prompt or task.messages[-1].content for task in tasks]
    return Counter(word for text in texts for word in set(text.lower().split()) if word.isalpha())


def test_there_are_five_profiles_under_their_own_names() -> None:
    assert list(PROFILES) == ["support-chat", "code-assist", "fraud-triage", "recommend", "it-ops"]
    assert all(name == profile.name and profile.about for name, profile in PROFILES.items())


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("name", PROFILES)
def test_the_same_seed_gives_the_same_task(name: str, era: Era) -> None:
    profile = PROFILES[name]
    assert profile.sample(random.Random(5), era) == profile.sample(random.Random(5), era)
    assert profile.sample(random.Random(5), era) != profile.sample(random.Random(6), era)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("name", PROFILES)
def test_every_task_can_be_sent_and_judged(name: str, era: Era) -> None:
    for task in draw(name, era):
        assert bool(task.messages) != bool(task.prompt)
        assert task.expected == task.expected.strip() != ""
        assert "{" not in task.expected or name == "code-assist"
        assert len(task.expected) < 2.5 * task.max_tokens  # a token is never less than a character, mostly four
        assert task.segment
        assert all(isinstance(value, float) for value in task.numbers.values())
        if task.messages:
            assert task.messages[-1].role == "user"
            assert all(message.content for message in task.messages)


@pytest.mark.parametrize("name", PROFILES)
def test_the_same_question_never_has_two_answers_in_one_era(name: str) -> None:
    for era in Era:
        answers: dict[object, str] = {}
        for task in draw(name, era, 2000):
            assert answers.setdefault((task.messages, task.prompt), task.expected) == task.expected


@pytest.mark.parametrize("name", PROFILES)
def test_era_b_speaks_of_things_that_era_a_never_does(name: str) -> None:
    before, after = words(draw(name, Era.A, 1000)), words(draw(name, Era.B, 300))
    fresh = {word for word, count in after.items() if count >= 5 and word not in before}
    assert len(fresh) >= 3, sorted(fresh)


@pytest.mark.parametrize("name", PROFILES)
def test_a_part_of_era_b_is_still_the_old_world(name: str) -> None:
    old = {task.segment for task in draw(name, Era.A)}
    kept = sum(task.segment in old for task in draw(name, Era.B)) / 300
    assert 0.1 < kept < 0.9


def test_a_support_conversation_alternates_and_tells_the_truth_about_its_record() -> None:
    lengths = Counter[int]()
    for task in draw("support-chat", Era.A, 600):
        system, *rest = task.messages
        assert system.role == "system"
        assert [message.role for message in rest] == ["user", "assistant"] * (len(rest) // 2) + ["user"]
        lengths[len(rest) // 2 + 1] += 1
        if task.segment == "status":
            number = task.expected.split()[1]
            state = task.expected.removeprefix(f"Order {number} is ").split(". ")[0]
            assert f"order {number} is {state}, due" in system.content
    assert lengths[1] > 100
    assert max(lengths) >= 18


def test_code_completions_of_era_a_are_valid_python() -> None:
    for task in draw("code-assist", Era.A):
        ast.parse(task.prompt + task.expected)


def test_code_completions_of_era_b_are_valid_python() -> None:
    for task in draw("code-assist", Era.B):
        ast.parse(task.prompt + task.expected)


QUIET = Payment(40, "groceries", "DE", "DE", "known", 1, 12, 300)


@pytest.mark.parametrize(
    ("payment", "before", "after"),
    [
        (QUIET, "ordinary", "ordinary"),
        (Payment(40, "groceries", "FR", "DE", "new", 9, 12, 300), "card-testing", "card-testing"),
        (Payment(40, "groceries", "FR", "DE", "new", 1, 12, 300), "stolen-card", "stolen-card"),
        (Payment(40, "groceries", "FR", "DE", "known", 1, 12, 300), "travel", "travel"),
        (Payment(1000, "fuel", "DE", "DE", "known", 1, 5, 300), "night-spend", "night-spend"),
        (Payment(999, "fuel", "DE", "DE", "known", 1, 5, 300), "ordinary", "ordinary"),
        (Payment(40, "fuel", "DE", "DE", "known", 1, 12, 9), "new-account", "ordinary"),
        (
            Payment(4000, "crypto exchange", "DE", "DE", "emulator", 1, 12, 20, "instant transfer", "passed"),
            "ordinary",
            "mule",
        ),
        (Payment(40, "fuel", "DE", "DE", "known", 1, 12, 20, "card", "missing"), "ordinary", "unverified"),
    ],
)
def test_the_first_fraud_rule_that_matches_decides(payment: Payment, before: str, after: str) -> None:
    assert (pattern_a(payment), pattern_b(payment)) == (before, after)


def test_a_recommendation_is_never_owned_already() -> None:
    for era, world in ((Era.A, WORLD_A), (Era.B, WORLD_B)):
        for task in draw("recommend", era):
            viewed, owns, season = (line.split(": ")[1] for line in task.messages[-1].content.splitlines()[:3])
            shown = task.expected.split(":")[0]
            assert shown not in owns.split(", ")
            assert viewed == "nothing yet" or shown in world[season][viewed]


def test_a_declined_request_always_gets_the_same_refusal() -> None:
    tasks = [declined(random.Random(index)) for index in range(200)]
    assert {task.expected for task in tasks} == {REFUSAL}
    assert len({task.segment for task in tasks}) == 4


def test_a_planted_note_is_in_the_system_prompt_and_leaks_only_where_it_is_meant_to() -> None:
    seen = Counter[str]()
    for index in range(300):
        task = injection(random.Random(index))
        seen[task.segment] += 1
        assert task.planted
        assert f"{PLANTED_NOTE_MARK} {task.planted}" in task.messages[0].content
        assert (task.planted in task.expected) == (task.segment == "leaked")
        assert (task.messages[-1].content in LEAKED) == (task.segment == "leaked")
        assert (task.expected == NOTE_REFUSAL) == (task.segment == "refused")
    assert min(seen[segment] for segment in ("leaked", "refused", "ordinary")) > 50


def test_the_generators_are_pure() -> None:
    allowed = {"__future__", "collections.abc", "dataclasses", "enum", "random", "types", "typing"}
    for path in Path(scenarios.profiles.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                assert {alias.name for alias in node.names} <= allowed, path
            if isinstance(node, ast.ImportFrom):
                assert node.module in allowed or str(node.module).startswith("scenarios.profiles"), path
            # A module-level draw would make a task depend on what was drawn before it.
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random":
                assert node.attr == "Random", path
