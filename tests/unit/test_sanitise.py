"""The sanitiser: nothing that acts on a screen comes out of it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.sanitise import MARKS, markdown_cell, view

NASTY = (
    "\x00\x07\x1b\x7f\x80\x85\x9b\x9d\u200b\u200d\u200e\u202a\u202e\u2066\u2069\u2028\u2029"
    "\ufeff\u00ad\ue000\ud800\udfff\U000e0041\n\t\r e"
)
anything = st.text(
    st.one_of(st.characters(categories=None), st.sampled_from(NASTY), st.characters(categories=["Mn", "Me", "Cs"])),
    max_size=80,
)


def dangerous(char: str) -> bool:
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@settings(max_examples=300, deadline=None)
@given(anything, st.booleans(), st.integers(1, 120))
def test_output_is_harmless_bounded_and_stable(text: str, lines: bool, limit: int) -> None:
    shown = view(text, limit, lines=lines)
    assert len(shown) <= limit
    assert not [char for char in shown if dangerous(char) and not (lines and char == "\n")]
    assert view(shown, limit, lines=lines) == shown
    run = 0
    for char in shown:
        run = run + 1 if unicodedata.category(char) in {"Mn", "Me"} else 0
        assert run <= MARKS


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_printable_text_without_marks_is_kept(text: str) -> None:
    assert view(text, 10_000) == text


def test_control_characters_become_pictures_and_sequences_lose_their_power() -> None:
    assert view("a\x1b[2Jb\x00\x7f\t\r") == "a␛[2Jb␀␡␉␍"
    assert view("\x9b2J\u202eabc\u200b") == "\\u{009B}2J\\u{202E}abc\\u{200B}"
    assert view("\x1b]52;c;aGk=\x07") == "␛]52;c;aGk=␇"


def test_line_feeds_are_shown_or_kept_as_asked() -> None:
    assert view("a\nb") == "a␊b"
    assert view("a\nb", lines=True) == "a\nb"
    assert view("é\nb\u2028c", lines=True) == "é\nb\\u{2028}c"


def test_ordinary_writing_of_other_languages_is_kept() -> None:
    for text in ("Grüße, 你好　世界", "नमस्ते दुनिया", "שָׁלוֹם", "a\u00a0b", "สวัสดี", "☀️ 👍🏽"):
        assert view(text) == text


def test_a_stack_of_marks_is_bounded_and_counted() -> None:
    assert view("e" + "\u0301" * 3) == "e" + "\u0301" * 3
    assert view("e" + "\u0301" * 10 + "x") == "e" + "\u0301" * 3 + "⟨+7 marks⟩x"
    assert view("\u0301x") == "◌\u0301x"


def test_a_long_text_says_how_much_is_left_out() -> None:
    shown = view("x" * 5_000, 100)
    assert len(shown) <= 100
    head, _, tail = shown.partition("… (+")
    assert int(tail.rstrip(")").replace(",", "")) + len(head) == 5_000
    assert view("x" * 100, 100) == "x" * 100
    assert view("abcdefgh", 4) == "abc…"
    assert view("\x9b" * 50, 30).count("\\u{009B}") == 2


def test_a_limit_below_one_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        view("x", 0)


def test_a_megabyte_of_anything_is_no_trouble() -> None:
    for unit in ("x", "\x1b", "e\u0301", "\u0301", "\u202e", "語", "\ud800"):
        text = unit * (1_000_000 // len(unit))
        assert len(view(text)) <= 4_000
        assert view(text, 10_000_000)


def test_a_markdown_cell_stays_one_cell_without_markup() -> None:
    assert markdown_cell("a|b\n<img src=x> *b* _c_ `d` [e](f) \\") == (
        "a\\|b␊&lt;img src=x&gt; \\*b\\* \\_c\\_ \\`d\\` \\[e\\](f) \\\\"
    )


@settings(max_examples=100, deadline=None)
@given(anything)
def test_a_markdown_cell_holds_no_bare_markup(text: str) -> None:
    cell = markdown_cell(text)
    bare = cell.replace("\\\\", "")
    for mark in "|`*_[]~":
        assert mark not in bare.replace(f"\\{mark}", "")
    assert not set("<>\n") & set(cell)
