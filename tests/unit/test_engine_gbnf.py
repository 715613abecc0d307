"""llama.cpp's grammar notation."""

from __future__ import annotations

import time

import pytest
from constraint_walks import accepts, constraints, model, vocab
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.decode.constraint import Constraints
from engine.decode.gbnf import GbnfError, to_lark
from engine.decode.vocabulary import Vocabulary
from engine.wire import Constraint

__all__ = ["constraints", "model", "vocab"]  # fixtures


def test_gbnf_is_rewritten_with_rules_that_do_not_recur_as_terminals() -> None:
    grammar = 'root ::= list\nlist ::= "[" item ("," item)* "]" | none\nnone ::= "[]"\nitem ::= list | digit\n'
    assert to_lark(grammar + "digit ::= [0-9] # one") == (
        'start: r0\nr0: r1\nr1: "[" r3 ( "," r3 ) * "]" | T2\nT2: "[]"\nr3: r1 | T4\nT4: /[\\x{30}-\\x{39}]/\n'
    )


@pytest.mark.parametrize(
    ("grammar", "text"),
    [
        (r'root ::= "\x41\u00e9\U0001f600\n\"\\"', 'Aé😀\n"\\'),
        ('root ::= "#" "::=" ";" # a comment with "quotes" ::= and (brackets', "#::=;"),
        (r"root ::= [^a-z\]/]{2} [-+] [a\-z] [\[\]]", "A1--]"),
        ("root ::= . .", "\na"),
        ('root ::= "a"{2} "b"{0,1} "c"{1,}', "aacc"),
        ("root ::= | " + '"x"', ""),
        ('root ::= ("a" | ) "b"', "b"),
        ('root ::=\n  "a"\n  | "b"\r\n', "b"),
        ('root ::= a\na ::= "x"\n\n# the end', "x"),
        (r'root ::= [\u00e0-\u00ff]+ "/"', "éàÿ/"),
    ],
)
def test_gbnf_means_what_it_says(constraints: Constraints, vocab: Vocabulary, grammar: str, text: str) -> None:
    assert accepts(constraints, vocab, Constraint("gbnf", grammar), text)


@pytest.mark.parametrize(
    ("grammar", "problem"),
    [
        ("", "no rule named root"),
        ('x ::= "a"', "no rule named root"),
        ("root ::= a", "no rule named a"),
        ('root ::= "a"\n\nroot ::= "b"', "line 3: the rule root is there already"),
        ('"a" root', "line 1: expected"),
        ("root ::= *", "line 1: nothing stands before"),
        ('root ::= "a"**', "repeats a repetition"),
        ('root ::= "a"{3,2}', "wrong way round"),
        ("root ::= [z-a]", "wrong way round"),
        (r'root ::= "\q"', r"no escape \\q"),
        (r'root ::= "\ud800"', "no character"),
        (r"root ::= [\U00110000]", "no character"),
        ("root ::= [^]", "names no character"),
        ('root ::= "a', "is not GBNF"),
        ("root ::= [a", "is not GBNF"),
        ('root ::= "a"{²}', "is not GBNF"),
        ('root ::= "a"\n}', "line 2: "),
    ],
)
def test_what_is_no_gbnf_is_named_with_its_line(grammar: str, problem: str) -> None:
    with pytest.raises(GbnfError, match=problem):
        to_lark(grammar)


@settings(max_examples=300)
@given(st.text('root:= \n"[]()|*+?{}^-\\x41,.#ab', max_size=50))
def test_garbage_in_gbnf_is_an_error_of_gbnf(text: str) -> None:
    try:
        lark = to_lark("root ::= " + text)
    except GbnfError:
        return
    assert lark.startswith("start: ")


def test_a_long_gbnf_takes_time_in_proportion() -> None:
    rules = "".join(f'r{i} ::= r{i + 1} "{i}"\n' for i in range(3000))
    start = time.perf_counter()
    assert to_lark("root ::= r0\n" + rules + 'r3000 ::= "x"').count("\n") == 3003
    assert time.perf_counter() - start < 2
