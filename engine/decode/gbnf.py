"""llama.cpp's grammar notation (GBNF) rewritten as llguidance's (a dialect of Lark), in one pass without recursion.

A rule that refers to no recursive rule becomes a terminal, that is, one regular expression. Terminals are matched
greedily: in `root ::= pair word "x"` with a recursive `pair` and `word ::= [a-z]*`, `word` swallows the x as well.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

_PIECE = re.compile(
    r"""
      (?P<blank>    (?: [ \t\r\n] | \#[^\r\n]*+ )++ )
    | (?P<define>   ::= )
    | (?P<name>     [A-Za-z0-9_-]+ )
    | (?P<literal>  " (?: [^"\\] | \\. )* " )
    | (?P<chars>    \[ (?: [^\]\\] | \\. )+ \] )
    | (?P<repeat>   \{ [ \t]* (?P<least>[0-9]{1,9}) [ \t]* (?P<range> , [ \t]* (?P<most>[0-9]{0,9}) [ \t]* )? \} )
    | (?P<operator> [|()*+?] )
    | (?P<any>      \. )
    """,
    re.VERBOSE | re.DOTALL,
)
_CHARACTER = re.compile(
    r"""
      \\ (?: x (?P<x>[0-9A-Fa-f]{2}) | u (?P<u>[0-9A-Fa-f]{4}) | U (?P<U>[0-9A-Fa-f]{8}) | (?P<escaped>.) )
    | (?P<plain>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_CONTROL = {"n": "\n", "r": "\r", "t": "\t"}
_ITSELF = '"\\[]-'


class GbnfError(ValueError):
    """Not a grammar in GBNF; says what and in which line."""


@dataclass(slots=True)
class _Rule:
    """One rule: its words as Lark writes them; a reference to a rule stands as that rule's name in a tuple."""

    line: int
    words: list[str | tuple[str]] = field(default_factory=list)

    @property
    def references(self) -> set[str]:
        return {word[0] for word in self.words if isinstance(word, tuple)}


def to_lark(text: str) -> str:
    """The grammar in Lark's notation; its first rule is `root`. Raises GbnfError."""
    rules = _rules(text)
    if "root" not in rules:
        raise GbnfError("the grammar has no rule named root")
    for rule in rules.values():
        if unknown := sorted(rule.references - rules.keys()):
            raise GbnfError(f"line {rule.line}: there is no rule named {unknown[0]}")
    terminals = _terminals(rules)
    names = {name: f"T{index}" if name in terminals else f"r{index}" for index, name in enumerate(rules)}
    lines = [f"start: {names['root']}"]
    for name, rule in rules.items():
        words = (names[word[0]] if isinstance(word, tuple) else word for word in rule.words)
        lines.append(f"{names[name]}: {' '.join(words)}")
    return "\n".join(lines) + "\n"


def _rules(text: str) -> dict[str, _Rule]:
    rules: dict[str, _Rule] = {}
    rule: _Rule | None = None
    position, line = 0, 1
    gap = True
    """Whether an empty alternative would end here."""
    while position < len(text):
        piece = _PIECE.match(text, position)
        if piece is None:
            raise GbnfError(f"line {line}: {text[position : position + 20]!r} is not GBNF")
        kind, word = str(piece.lastgroup), piece[0]
        position = piece.end()
        if kind == "blank":
            pass
        elif kind == "name" and (define := _DEFINE.match(text, position)):
            if word in rules:
                raise GbnfError(f"line {line}: the rule {word} is there already")
            if rule is not None:
                _close(rule, gap)
            rule = rules[word] = _Rule(line)
            position, gap = define.end(), True
            line += define[0].count("\n")
        elif rule is None or kind == "define":
            raise GbnfError(f"line {line}: expected `name ::= ...` and not {word[:20]!r}")
        else:
            gap = _add(rule, kind, word, piece, gap, line)
        line += word.count("\n")
    if rule is not None:
        _close(rule, gap)
    return rules


_DEFINE = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*+)*+::=")


def _add(rule: _Rule, kind: str, word: str, piece: re.Match[str], gap: bool, line: int) -> bool:
    """Add one piece to the rule; returns whether an alternative starts after it."""
    if kind == "name":
        rule.words.append((word,))
    elif kind == "literal":
        rule.words.append(json.dumps("".join(map(chr, _characters(word[1:-1], line)))))
    elif kind == "chars":
        rule.words.append(_chars(word[1:-1], line))
    elif kind == "any":
        rule.words.append("/(?s:.)/")
    elif kind == "operator" and word in "|)(":
        if gap and word != "(":
            rule.words.append('""')
        rule.words.append(word)
        return word != ")"
    elif gap:
        raise GbnfError(f"line {line}: nothing stands before {word[:20]!r}")
    elif str(rule.words[-1])[0] in "*+?{":
        raise GbnfError(f"line {line}: {word[:20]!r} repeats a repetition: put that into ( )")
    elif kind == "repeat":
        least, most = piece["least"], piece["most"]
        if most and int(most) < int(least):
            raise GbnfError(f"line {line}: {word} has its bounds the wrong way round")
        most = least if piece["range"] is None else most
        rule.words.append(f"{{{least},{most}}}")
    else:
        rule.words.append(word)
    return False


def _close(rule: _Rule, gap: bool) -> None:
    if gap:
        rule.words.append('""')


def _characters(text: str, line: int) -> list[int]:
    """Code points of a literal's inside. Raises GbnfError on an unknown escape."""
    points = []
    for found in _CHARACTER.finditer(text):
        if found["plain"] is not None:
            point = ord(found["plain"])
        elif (letter := found["escaped"]) is not None:
            if letter not in _CONTROL and letter not in _ITSELF:
                raise GbnfError(f"line {line}: there is no escape \\{letter}")
            point = ord(_CONTROL.get(letter, letter))
        else:
            point = int(found["x"] or found["u"] or found["U"], 16)
        if point > 0x10FFFF or 0xD800 <= point <= 0xDFFF:
            raise GbnfError(f"line {line}: {found[0]} is no character")
        points.append(point)
    return points


def _chars(inside: str, line: int) -> str:
    """A class of characters as a regular expression in which every character is a number, so that none is special."""
    negated = inside.startswith("^")
    text = inside[1:] if negated else inside
    if not text:
        raise GbnfError(f"line {line}: [{inside}] names no character")
    # A dash between two characters is a range; an escaped one cannot be, so it is looked for before decoding.
    parts = [found[0] for found in _CHARACTER.finditer(text)]
    out, index = [], 0
    while index < len(parts):
        low = _characters(parts[index], line)[0]
        if parts[index + 1 : index + 2] == ["-"] and index + 2 < len(parts):
            high = _characters(parts[index + 2], line)[0]
            if high < low:
                raise GbnfError(f"line {line}: [{inside}] has a range the wrong way round")
            out.append(f"\\x{{{low:x}}}-\\x{{{high:x}}}")
            index += 3
        else:
            out.append(f"\\x{{{low:x}}}")
            index += 1
    return f"/[{'^' if negated else ''}{''.join(out)}]/"


def _terminals(rules: dict[str, _Rule]) -> set[str]:
    """Rules that lead to no recursive one, and so are regular expressions."""
    open_references = {name: rule.references for name, rule in rules.items()}
    users: dict[str, list[str]] = {name: [] for name in rules}
    for name, references in open_references.items():
        for reference in references:
            users[reference].append(name)
    terminals: set[str] = set()
    ready = [name for name, references in open_references.items() if not references]
    while ready:
        name = ready.pop()
        terminals.add(name)
        for user in users[name]:
            open_references[user].discard(name)
            if not open_references[user]:
                ready.append(user)
    return terminals
