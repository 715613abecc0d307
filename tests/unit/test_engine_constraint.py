"""Constraints: what they allow, what is refused, and that nothing a request holds ends more than itself."""

from __future__ import annotations

import gc
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from constraint_walks import accepts, allowed, constraints, model, vocab, walk, write

from engine.decode.constraint import MAX_TEXT_BYTES, Constraints
from engine.decode.vocabulary import Vocabulary
from engine.errors import ConstraintError
from engine.wire import Constraint

__all__ = ["constraints", "model", "vocab"]  # fixtures
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("seed", range(12))
def test_json_is_any_object(constraints: Constraints, vocab: Vocabulary, seed: int) -> None:
    assert isinstance(json.loads(walk(constraints, vocab, Constraint("json"), seed)), dict)


def test_json_is_nothing_but_an_object(constraints: Constraints, vocab: Vocabulary) -> None:
    json_object = Constraint("json")
    for text in ("{}", '{"a": [1, -2.5e3, "é\\n", null, {"b": true}]}', '{\n  "a": 1\n}'):
        assert accepts(constraints, vocab, json_object, text)
    for text in ("[]", "1", '"a"', "", "{", ' {"a": 1}', "{} "):
        assert not accepts(constraints, vocab, json_object, text)


def test_blanks_between_parts_of_json_do_not_go_on_for_ever(constraints: Constraints, vocab: Vocabulary) -> None:
    matcher = constraints.compile(Constraint("json"))
    write(matcher, vocab, "{")
    blanks = 0
    while tokens := [t for t in allowed(matcher, vocab) if vocab.piece(t) and not vocab.piece(t).strip()]:
        matcher.accept(tokens[0])
        blanks += 1
        assert blanks <= 22
    assert blanks
    matcher.close()


@pytest.mark.parametrize("seed", range(5))
def test_an_answer_to_a_regular_expression_matches_it(constraints: Constraints, vocab: Vocabulary, seed: int) -> None:
    pattern = "(red|green)/[0-9]{2,4}( é+\n)?"
    assert re.fullmatch(pattern, walk(constraints, vocab, Constraint("regex", pattern), seed))


SUMS = {
    "lark": 'start: sum\nsum: sum "+" NUMBER | NUMBER | "(" sum ")"\nNUMBER: /[0-9]{1,3}/\n',
    "gbnf": 'root ::= sum # a sum\nsum ::= sum "+" number | number |\n  "(" sum ")"\nnumber ::= [0-9]{1,3}\n',
}


@pytest.mark.parametrize("kind", SUMS)
def test_a_grammar_is_kept_to(constraints: Constraints, vocab: Vocabulary, kind: str) -> None:
    sums = Constraint(kind, SUMS[kind])
    for text in ("1", "12+345", "((7+1))", "(1+2)+3"):
        assert accepts(constraints, vocab, sums, text)
    for text in ("", "1+", "1234", "(1", "a", "1 + 2"):
        assert not accepts(constraints, vocab, sums, text)


def test_end_tokens_are_allowed_exactly_where_the_answer_may_end(constraints: Constraints, vocab: Vocabulary) -> None:
    matcher = constraints.compile(Constraint("regex", "ab?"))
    assert not vocab.ends & set(allowed(matcher, vocab))
    assert not matcher.finished
    write(matcher, vocab, "a")
    assert vocab.ends < set(allowed(matcher, vocab))
    assert not matcher.finished
    write(matcher, vocab, "b")
    assert vocab.ends == set(allowed(matcher, vocab))
    assert matcher.finished
    matcher.close()


def test_a_language_of_the_empty_text_is_finished_at_once(constraints: Constraints, vocab: Vocabulary) -> None:
    matcher = constraints.compile(Constraint("regex", ""))
    assert matcher.finished
    assert vocab.ends == set(allowed(matcher, vocab))
    matcher.close()


def test_text_never_allows_a_control_token_but_its_name_does(constraints: Constraints, vocab: Vocabulary) -> None:
    (start,) = vocab.tokenize("<|im_start|>", special=True)
    matcher = constraints.compile(Constraint("regex", "(?s:.)*"))
    assert start not in allowed(matcher, vocab)
    matcher.close()
    matcher = constraints.compile(Constraint("lark", 'start: <|im_start|> "a"'))
    assert allowed(matcher, vocab) == [start]
    matcher.close()


def test_a_certain_text_may_be_cut_into_tokens_in_any_way(constraints: Constraints, vocab: Vocabulary) -> None:
    matcher = constraints.compile(Constraint("regex", "hello"))
    pieces = {vocab.piece(token) for token in allowed(matcher, vocab)}
    assert {b"h", b"he"} <= pieces
    assert all(b"hello".startswith(piece) for piece in pieces)
    matcher.close()


def test_logits_that_are_left_keep_their_values(constraints: Constraints, vocab: Vocabulary) -> None:
    matcher = constraints.compile(Constraint("regex", "[ab]"))
    logits = np.arange(vocab.size, dtype=np.float32)
    matcher.ban(logits)
    left = np.flatnonzero(np.isfinite(logits))
    assert {vocab.piece(int(token)) for token in left} == {b"a", b"b"}
    assert list(logits[left]) == list(left)
    matcher.close()


def rules(count: int) -> str:
    return "start: r0\n" + "".join(f"r{i}: r{i + 1}\n" for i in range(count)) + f'r{count}: "x"'


REFUSED = {
    "no JSON": ("json_schema", "{"),
    "no object": ("json_schema", "[]"),
    "nothing": ("json_schema", ""),
    "schema false": ("json_schema", "false"),
    "deep schema": ("json_schema", '{"items":' * 5000 + "{}" + "}" * 5000),
    "deep constant": ("json_schema", '{"const":' + "[" * 20_000 + "]" * 20_000 + "}"),
    "unknown type": ("json_schema", '{"type":"widget"}'),
    "wrong type of type": ("json_schema", '{"type":5}'),
    "bad pattern": ("json_schema", '{"type":"string","pattern":"("}'),
    "look-around": ("json_schema", '{"type":"string","pattern":"(?=a)b"}'),
    "contradictory items": ("json_schema", '{"type":"array","minItems":5,"maxItems":2}'),
    "contradictory lengths": ("json_schema", '{"type":"string","minLength":3,"maxLength":1}'),
    "contradictory bounds": ("json_schema", '{"type":"integer","minimum":5,"maximum":2}'),
    "all of false": ("json_schema", '{"allOf":[false]}'),
    "empty enum": ("json_schema", '{"enum":[]}'),
    "refers to itself only": ("json_schema", '{"$ref":"#"}'),
    "refers to the network": ("json_schema", '{"$ref":"http://127.0.0.1:9/schema.json"}'),
    "refers to a file": ("json_schema", '{"$ref":"file:///etc/passwd"}'),
    "unsupported keyword": ("json_schema", '{"type":"array","uniqueItems":true}'),
    "unknown format": ("json_schema", '{"type":"string","format":"nonsense"}'),
    "lone surrogate escaped": ("json_schema", '{"const":"\\ud800"}'),
    "endless number": ("json_schema", '{"type":"number","minimum":1e999}'),
    "hard multiple": ("json_schema", '{"type":"integer","multipleOf":1000003}'),
    "lone surrogate": ("regex", "\ud800"),
    "deep groups": ("regex", "(" * 30_000 + "a" + ")" * 30_000),
    "open group": ("regex", "("),
    "huge repetition": ("regex", "a{99999999999999999999}"),
    "many optional parts": ("regex", "a?" * 20_000),
    "no text": ("regex", "[^\\s\\S]"),
    "text that is no UTF-8": ("regex", "(?-u)\\xff"),
    "deep groups in a grammar": ("lark", "start: " + "(" * 30_000 + '"a"' + ")" * 30_000),
    "rules that overflow the stack": ("lark", rules(4000)),
    "rules that take for ever": ("lark", 'start: c::0\nc::_: "" | c::incr(_) c::incr(_) | "a"'),
    "rules that panic": ("lark", 'start: a::0\na::_: [a::incr(_)] "x" %if lt(_, 1000000)'),
    "terminals that double": (
        "lark",
        "start: T0\n" + "".join(f"T{i}: T{i + 1} T{i + 1}\n" for i in range(60)) + 'T60: "x"',
    ),
    "only left recursion": ("lark", "start: start"),
    "no rule": ("lark", ""),
    "unknown rule": ("lark", "start: nope"),
    "file to import": ("lark", '%import ../../../etc/passwd\nstart: "a"'),
    "token out of range": ("lark", "start: <[99999999999]>"),
    "NUL in a grammar": ("lark", 'start: "a\0b"'),
    "no root": ("gbnf", 'a ::= "x"'),
    "deep groups in GBNF": ("gbnf", "root ::= " + "(" * 30_000 + '"a"' + ")" * 30_000),
    "unknown kind": ("telepathy", "x"),
    "too long": ("regex", "a" * (MAX_TEXT_BYTES + 1)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_constraint_that_cannot_be_used_is_refused_and_the_next_one_is_served(
    constraints: Constraints, vocab: Vocabulary, name: str
) -> None:
    kind, text = REFUSED[name]
    with pytest.raises(ConstraintError) as caught:
        constraints.compile(Constraint(kind, text))
    message = str(caught.value)
    assert 0 < len(message) <= 600
    assert "x-guidance" not in message
    assert "backtrace" not in message
    assert accepts(constraints, vocab, Constraint("regex", "a"), "a")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("regex", "a{1000000000}"),
        ("regex", "(a|b)*a(a|b){60}"),
        ("lark", 'start: a{1000000000}\na: "x" | "y" a'),
        ("lark", 'start: start start start | "a" | ""'),
        ("json_schema", '{"type":"array","minItems":1000000000}'),
        ("json_schema", '{"type":"string","minLength":1000000000}'),
        ("json_schema", '{"type":"array","items":{"$ref":"#"},"minItems":1}'),
        ("json_schema", json.dumps({"enum": [f"{i * 7919:x}" for i in range(5000)]})),
    ],
)
def test_a_language_without_an_end_in_sight_is_served_for_as_long_as_tokens_are_wanted(
    constraints: Constraints, vocab: Vocabulary, kind: str, text: str
) -> None:
    matcher = constraints.compile(Constraint(kind, text))
    start = time.monotonic()
    for _ in range(40):
        words = [token for token in allowed(matcher, vocab) if token not in vocab.ends]
        if not words:
            break
        matcher.accept(words[0])
    assert time.monotonic() - start < 10
    matcher.close()


def test_a_schema_cannot_choose_how_it_is_compiled(constraints: Constraints, vocab: Vocabulary) -> None:
    options = {"whitespace_pattern": "x*", "item_separator": ";", "lenient": True}
    schema = Constraint("json_schema", json.dumps({"type": "array", "items": {"const": 1}, "x-guidance": options}))
    assert accepts(constraints, vocab, schema, "[1, 1]")
    assert not accepts(constraints, vocab, schema, "[1;1]")
    lenient = {"type": "array", "uniqueItems": True, "x-guidance": options}
    with pytest.raises(ConstraintError, match="uniqueItems"):
        constraints.compile(Constraint("json_schema", json.dumps(lenient)))


def helpers() -> list[psutil.Process]:
    """The children of constraint processes, oldest first."""
    found = [
        child
        for process in psutil.Process().children()
        if any("engine.decode.matching" in word for word in process.cmdline())
        for child in process.children()
    ]
    return sorted(found, key=lambda process: process.create_time())


def wait_until_gone(processes: list[psutil.Process]) -> None:
    _gone, alive = psutil.wait_procs(processes, timeout=10)
    assert not alive


def test_the_death_of_a_matcher_is_the_end_of_its_own_request_only(vocab: Vocabulary) -> None:
    constraints = Constraints(vocab)
    before = {process.pid for process in helpers()}
    one = constraints.compile(Constraint("regex", "[ab]*"))
    (child,) = [process for process in helpers() if process.pid not in before]
    other = constraints.compile(Constraint("regex", "[ab]*"))
    write(one, vocab, "a")
    assert not one.finished
    child.kill()
    wait_until_gone([child])
    for _ in range(2):
        with pytest.raises(ConstraintError, match="too complex"):
            write(one, vocab, "aa")
    write(other, vocab, "abba")
    assert vocab.eos in allowed(other, vocab)
    one.close()
    other.close()
    constraints.close()


def test_a_dead_constraint_process_is_started_again(vocab: Vocabulary) -> None:
    constraints = Constraints(vocab)
    constraints.compile(Constraint("regex", "a")).close()
    (process,) = [
        child
        for child in psutil.Process().children()
        if any("engine.decode.matching" in word for word in child.cmdline()) and not child.children()
    ][-1:]
    process.kill()
    wait_until_gone([process])
    assert accepts(constraints, vocab, Constraint("regex", "a"), "a")
    constraints.close()


def test_closing_or_forgetting_a_matcher_ends_its_process(vocab: Vocabulary) -> None:
    constraints = Constraints(vocab)
    before = {process.pid for process in helpers()}
    matchers = [constraints.compile(Constraint("json")) for _ in range(3)]
    made = [process for process in helpers() if process.pid not in before]
    assert len(made) == 3
    matchers[0].close()
    matchers[0].close()
    matchers.clear()
    gc.collect()
    wait_until_gone(made)
    constraints.close()
    constraints.close()


PROGRAM = """
import psutil
from engine.config import DEMO_MODEL
from engine.decode.constraint import Constraints
from engine.decode.model import Model
from engine.wire import Constraint

constraints = Constraints(Model(DEMO_MODEL, gpu_layers=0, lora=()).vocab)
matcher = constraints.compile(Constraint("json"))
print(*(process.pid for process in psutil.Process().children(recursive=True)), flush=True)
input()
"""


def test_constraint_processes_end_when_the_decode_process_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as decode:
        assert decode.stdout is not None
        processes = [psutil.Process(int(pid)) for pid in decode.stdout.readline().split()]
        assert len(processes) == 2
        decode.kill()
        wait_until_gone(processes)


def test_a_token_that_was_banned_fails_its_own_request_for_good(constraints: Constraints, vocab: Vocabulary) -> None:
    matcher = constraints.compile(Constraint("regex", "aaa"))
    (wrong,) = vocab.tokenize("b", special=False)
    matcher.accept(wrong)
    with pytest.raises(ConstraintError) as first:
        allowed(matcher, vocab)
    with pytest.raises(ConstraintError) as second:
        matcher.accept(wrong)
    assert str(first.value) == str(second.value)
    matcher.close()


def test_a_model_without_end_tokens_takes_no_constraints() -> None:
    class Endless:
        ends = frozenset[int]()

    with pytest.raises(ConstraintError, match="no end token"):
        Constraints(Endless()).compile(Constraint("json"))  # type: ignore[arg-type]
