"""Recommendation: what a shopper looks at, owns and in which season, to the one product to show next.

The rule: every product has three companions in order, one list for summer and one for winter; show the first that the
shopper does not own. A shopper who looks at nothing gets the season's bestseller. In era B tastes have moved (the lists
of half the products are others, the bestsellers too), three new product lines and a monsoon have arrived.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from scenarios.profiles.task import Era, Message, Task

SYSTEM = "You recommend products of Harbor & Pine. Name one product and why."
ASKS = ("What do we show next?", "Recommend one product.", "Which product fits?", "What should we suggest?")
NO_VIEW = "nothing yet"

Companions = Mapping[str, tuple[str, str, str]]

SUMMER_A: Companions = {
    "tent": ("sleeping mat", "camp stove", "lantern"),
    "sleeping bag": ("sleeping mat", "pillow", "liner"),
    "hiking boots": ("trekking poles", "merino socks", "gaiters"),
    "backpack": ("water bottle", "rain cover", "first aid kit"),
    "camp stove": ("gas canister", "cook set", "mug"),
    "climbing rope": ("harness", "chalk bag", "helmet"),
    "trail shoes": ("running vest", "cap", "merino socks"),
    "rain jacket": ("rain trousers", "dry bag", "cap"),
    "kayak paddle": ("dry bag", "life vest", "water shoes"),
    "fishing rod": ("tackle box", "landing net", "cap"),
    "bike helmet": ("bike gloves", "repair kit", "bottle cage"),
    "binoculars": ("field guide", "tripod", "cap"),
}
WINTER_A: Companions = {
    "tent": ("lantern", "snow pegs", "sleeping mat"),
    "sleeping bag": ("liner", "down booties", "pillow"),
    "hiking boots": ("gaiters", "ice grips", "merino socks"),
    "backpack": ("thermos", "rain cover", "head torch"),
    "camp stove": ("thermos", "gas canister", "wind screen"),
    "climbing rope": ("ice axe", "helmet", "harness"),
    "trail shoes": ("ice grips", "head torch", "running tights"),
    "rain jacket": ("fleece", "wool hat", "gloves"),
    "kayak paddle": ("dry suit", "gloves", "dry bag"),
    "fishing rod": ("hand warmer", "thermos", "tackle box"),
    "bike helmet": ("bike light", "gloves", "mudguard"),
    "binoculars": ("hand warmer", "tripod", "field guide"),
}
BESTSELLER_A: Mapping[str, str] = {"summer": "water bottle", "winter": "wool hat"}

_MOVED_SUMMER: Companions = {
    "tent": ("power station", "camp stove", "lantern"),
    "hiking boots": ("merino socks", "blister kit", "trekking poles"),
    "backpack": ("hydration bladder", "air tag", "rain cover"),
    "trail shoes": ("running belt", "cap", "gps watch"),
    "rain jacket": ("pack umbrella", "rain trousers", "dry bag"),
    "bike helmet": ("phone mount", "bike gloves", "repair kit"),
    "e-bike": ("folding lock", "phone mount", "bike helmet"),
    "paddle board": ("life vest", "electric pump", "dry bag"),
    "roof tent": ("power station", "annex", "ladder mat"),
}
_MOVED_WINTER: Companions = {
    "tent": ("power station", "lantern", "snow pegs"),
    "hiking boots": ("heated socks", "ice grips", "gaiters"),
    "backpack": ("avalanche beacon", "thermos", "head torch"),
    "trail shoes": ("reflective vest", "ice grips", "head torch"),
    "rain jacket": ("heated vest", "fleece", "gloves"),
    "bike helmet": ("helmet liner", "bike light", "gloves"),
    "e-bike": ("battery cover", "folding lock", "bike light"),
    "paddle board": ("dry suit", "gloves", "electric pump"),
    "roof tent": ("tent heater", "annex", "power station"),
}
_MONSOON: Companions = {
    product: (second, "poncho", first) for product, (first, second, _third) in {**SUMMER_A, **_MOVED_SUMMER}.items()
}

WORLD_A: Mapping[str, Companions] = {"summer": SUMMER_A, "winter": WINTER_A}
WORLD_B: Mapping[str, Companions] = {
    "summer": {**SUMMER_A, **_MOVED_SUMMER},
    "winter": {**WINTER_A, **_MOVED_WINTER},
    "monsoon": _MONSOON,
}
BESTSELLER_B: Mapping[str, str] = {"summer": "gps watch", "winter": "heated vest", "monsoon": "poncho"}

OWNED_A = (
    "kettle",
    "map",
    "compass",
    "whistle",
    "towel",
    "multitool",
    "sunscreen",
    "hammock",
    "cool box",
    "camping chair",
)
OWNED_B = ("solar panel", "trail camera", "power bank", "multitool", "hammock", "drone", "action camera", "towel")


@dataclass(frozen=True, slots=True)
class Recommend:
    """One shopper in, one product and the reason out."""

    name: str = "recommend"
    about: str = "A shopper's view, season and wardrobe, to the one product to show next"

    def sample(self, rng: random.Random, era: Era) -> Task:
        """Draw a shopper, and how many of the three companions he already owns (none, one or two)."""
        world, bestseller, plain = (
            (WORLD_A, BESTSELLER_A, OWNED_A) if era is Era.A else (WORLD_B, BESTSELLER_B, OWNED_B)
        )
        season = rng.choice(sorted(world))
        basket = rng.randint(10, 190) if era is Era.A else rng.randint(60, 480)
        owned = rng.sample(plain, rng.randint(1, 3))
        if rng.random() < 0.08:
            viewed, skipped = NO_VIEW, 0
            expected = f"{bestseller[season]}: bestseller of the {season}"
            segment = "bestseller"
        else:
            viewed = rng.choice(sorted(world[season]))
            companions = world[season][viewed]
            skipped = rng.choice((0, 0, 1, 1, 2))
            owned += companions[:skipped]
            if skipped == 0 and rng.random() < 0.5:
                owned.append(companions[1])
            rng.shuffle(owned)
            expected = f"{companions[skipped]}: goes with the {viewed} in {season}"
            segment = ("first choice", "second choice", "third choice")[skipped]
            if era is Era.B and (season not in WORLD_A or companions != WORLD_A[season].get(viewed)):
                segment = f"{segment}, moved"
        lines = (
            f"viewed: {viewed}",
            f"owns: {', '.join(owned)}",
            f"season: {season}",
            f"basket: {basket} EUR",
            rng.choice(ASKS),
        )
        return Task(
            messages=(Message("system", SYSTEM), Message("user", "\n".join(lines))),
            prompt="",
            expected=expected,
            max_tokens=40,
            segment=segment,
            numbers={"basket_eur": float(basket), "owned": float(len(owned))},
        )
