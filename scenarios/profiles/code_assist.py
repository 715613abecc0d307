"""Code completion: the lines before the cursor in, the rest of the line out, as a raw prompt without a chat.

Era A is plain Python over the shop's client library `harborpine`. In era B the client is asynchronous with other method
names, tables are handled with polars, and records are pydantic models; the plain idioms are still there in part.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scenarios.profiles.task import Era, Task

# plural -> singular
NOUNS: Mapping[str, str] = {
    "orders": "order", "items": "item", "users": "user", "products": "product", "payments": "payment",
    "parcels": "parcel", "reviews": "review", "invoices": "invoice", "tickets": "ticket", "carts": "cart",
    "refunds": "refund", "stores": "store",
}  # fmt: skip
NUMBERS = ("price", "weight", "count", "amount", "tax", "rating", "age", "discount")
FLAGS = ("paid", "active", "shipped", "visible", "open", "valid", "late", "returned")
KEYS = ("id", "name", "code", "email", "city", "status")
READERS: Mapping[str, tuple[str, str]] = {
    "json": ("json", "json.load(file)"),
    "csv": ("csv", "list(csv.DictReader(file))"),
    "toml": ("tomllib", "tomllib.load(file)"),
    "pickle": ("pickle", "pickle.load(file)"),
    "text": ("pathlib", "file.read()"),
}
VERBS: Mapping[str, str] = {
    "cancel": "cancelled",
    "ship": "shipped",
    "refund": "refunded",
    "archive": "archived",
    "approve": "approved",
}

Snippet = tuple[str, str, str]  # segment, prompt, completion
Maker = Callable[[random.Random], Snippet]


def _noun(rng: random.Random) -> tuple[str, str]:
    return rng.choice(sorted(NOUNS.items()))


def _sum(rng: random.Random) -> Snippet:
    (many, one), number = _noun(rng), rng.choice(NUMBERS)
    head = f'def total_{number}({many}):\n    """Return the sum of {number} over {many}."""\n    return '
    return "sum", head, f"sum({one}.{number} for {one} in {many})"


def _filter(rng: random.Random) -> Snippet:
    (many, one), flag = _noun(rng), rng.choice(FLAGS)
    head = f'def {flag}_{many}({many}):\n    """Return the {many} that are {flag}."""\n    return '
    return "filter", head, f"[{one} for {one} in {many} if {one}.{flag}]"


def _sort(rng: random.Random) -> Snippet:
    (many, one), number = _noun(rng), rng.choice(NUMBERS)
    head = f'def by_{number}({many}):\n    """Return the {many} sorted by {number}."""\n    return '
    return "sort", head, f"sorted({many}, key=lambda {one}: {one}.{number})"


def _index(rng: random.Random) -> Snippet:
    (many, one), key = _noun(rng), rng.choice(KEYS)
    head = f'def index_by_{key}({many}):\n    """Map each {key} to its {one}."""\n    return '
    return "index", head, f"{{{one}.{key}: {one} for {one} in {many}}}"


def _largest(rng: random.Random) -> Snippet:
    (many, one), number = _noun(rng), rng.choice(NUMBERS)
    head = f'def largest({many}):\n    """Return the {one} with the largest {number}."""\n    return '
    return "largest", head, f"max({many}, key=lambda {one}: {one}.{number})"


def _read(rng: random.Random) -> Snippet:
    kind = rng.choice(sorted(READERS))
    module, call = READERS[kind]
    many, _ = _noun(rng)
    return "read", f"import {module}\n\nwith open(path) as file:\n    {many} = ", call


def _guard(rng: random.Random) -> Snippet:
    (_, one), number = _noun(rng), rng.choice(NUMBERS)
    head = f"def set_{number}({one}, {number}):\n    if {number} < 0:\n        raise "
    return "guard", head, f'ValueError("{number} must not be negative")'


def _assert(rng: random.Random) -> Snippet:
    (_, one), (_, other) = _noun(rng), _noun(rng)
    count, more = rng.randint(2, 99), rng.randint(2, 99)
    name, wrong = rng.sample(("tent", "stove", "boots", "rope", "mug", "map"), 2)
    lines = [f'{one}.add("{name}", {count})', f'{one}.add("{wrong}", {more})']
    rng.shuffle(lines)
    head = f"def test_{other}():\n    {one} = make_{one}()\n    " + "\n    ".join(lines)
    return "assert", f'{head}\n    assert {one}.count("{name}") == ', str(count)


def _init(rng: random.Random) -> Snippet:
    _, one = _noun(rng)
    fields = [*rng.sample(KEYS, 2), rng.choice(NUMBERS)]
    at = rng.randint(1, 2)
    done = "".join(f"\n        self.{field} = {field}" for field in fields[:at])
    head = f"class {one.title()}:\n    def __init__(self, {', '.join(fields)}):{done}\n        "
    return "init", head, f"self.{fields[at]} = {fields[at]}"


CLIENT = "from harborpine import Client\n\nclient = Client(token)\n"


def _get(rng: random.Random) -> Snippet:
    _, one = _noun(rng)
    return "client get", f"{CLIENT}# fetch one {one}\n{one} = client.", f"get_{one}({one}_id)"


def _list(rng: random.Random) -> Snippet:
    (many, _), key = _noun(rng), rng.choice(KEYS)
    return "client list", f"{CLIENT}# all {many} with this {key}\n{many} = client.", f"list_{many}({key}={key})"


def _update(rng: random.Random) -> Snippet:
    (_, one), verb = _noun(rng), rng.choice(sorted(VERBS))
    return "client update", f"{CLIENT}# {verb} the {one}\nclient.", f'update_{one}({one}_id, status="{VERBS[verb]}")'


POLARS = "import polars as pl\n\n\n"
SHOP = "from harborpine.aio import Shop\n\n\nasync def main(token):\n    shop = await Shop.connect(token)\n"


def _get_b(rng: random.Random) -> Snippet:
    many, one = _noun(rng)
    return "aio get", f"{SHOP}    # fetch one {one}\n    {one} = await shop.", f"{many}.fetch({one}_id)"


def _list_b(rng: random.Random) -> Snippet:
    (many, _), key = _noun(rng), rng.choice(KEYS)
    return (
        "aio list",
        f"{SHOP}    # all {many} with this {key}\n    {many} = await shop.",
        f"{many}.where({key}={key}).collect()",
    )


def _update_b(rng: random.Random) -> Snippet:
    (many, one), verb = _noun(rng), rng.choice(sorted(VERBS))
    return "aio update", f"{SHOP}    # {verb} the {one}\n    await shop.", f"{many}.{verb}({one}_id)"


def _polars_sum(rng: random.Random) -> Snippet:
    (many, _), number = _noun(rng), rng.choice(NUMBERS)
    head = f'{POLARS}def total_{number}({many}: pl.DataFrame):\n    """Return the sum of {number}."""\n    return '
    return "polars sum", head, f'{many}["{number}"].sum()'


def _polars_filter(rng: random.Random) -> Snippet:
    (many, _), flag = _noun(rng), rng.choice(FLAGS)
    head = (
        f'{POLARS}def {flag}_{many}({many}: pl.DataFrame):\n    """Return the {many} that are {flag}."""\n    return '
    )
    return "polars filter", head, f'{many}.filter(pl.col("{flag}"))'


def _model(rng: random.Random) -> Snippet:
    _, one = _noun(rng)
    head = f"from models import {one.title()}\n\nwith open(path) as file:\n    {one} = "
    return "pydantic read", head, f"{one.title()}.model_validate_json(file.read())"


MAKERS_A: tuple[Maker, ...] = (
    _sum,
    _filter,
    _sort,
    _index,
    _largest,
    _read,
    _guard,
    _assert,
    _init,
    _get,
    _list,
    _update,
)
MAKERS_B: tuple[Maker, ...] = (
    _get_b, _list_b, _update_b, _polars_sum, _polars_filter, _model, _sort, _guard, _init, _index,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CodeAssist:
    """Raw completions; the answer is the rest of the line."""

    name: str = "code-assist"
    about: str = "Python completion over a shop's client library, as raw prompts"

    def sample(self, rng: random.Random, era: Era) -> Task:
        """Draw one kind of snippet and its names."""
        segment, prompt, completion = rng.choice(MAKERS_A if era is Era.A else MAKERS_B)(rng)
        return Task(
            messages=(),
            prompt=prompt,
            expected=completion,
            max_tokens=48,
            segment=segment,
            numbers={"prompt_chars": float(len(prompt)), "prompt_lines": float(prompt.count("\n") + 1)},
        )
