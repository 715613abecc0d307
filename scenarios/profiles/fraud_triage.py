"""Fraud triage: one card payment in, one decision with its reason out.

The rules are an ordered list and the first that matches decides. Era A knows stolen cards, card testing, night
spending, gift cards and new accounts. In era B mule accounts have arrived (instant transfers to crypto exchanges from
emulated devices), strong authentication has become a field of the record, and four of the old rules have changed.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from scenarios.profiles.task import Era, Message, Task

SYSTEM = "You triage card payments for Harbor & Pine. Answer with one decision and one reason."
COUNTRIES = ("DE", "FR", "NL", "SE", "NO", "PL", "ES", "IT", "DK", "FI")
MERCHANTS = ("outdoor gear", "groceries", "electronics", "travel", "fuel", "restaurant", "pharmacy", "clothing")
MERCHANTS_B = ("crypto exchange", "money transfer", "game credits", "marketplace seller")
ASKS = ("Decide.", "What do you decide?", "Approve, review or block?", "Triage this payment.")

PATTERNS_A = (
    "ordinary",
    "ordinary",
    "card-testing",
    "stolen-card",
    "travel",
    "night-spend",
    "gift-cards",
    "new-account",
)
PATTERNS_B = (
    "ordinary",
    "mule",
    "mule",
    "unverified",
    "card-testing",
    "stolen-card",
    "travel",
    "night-spend",
    "gift-cards",
)

ANSWERS_A: Mapping[str, str] = {
    "ordinary": "approve: nothing unusual",
    "card-testing": "block: card testing, {attempts} attempts",
    "stolen-card": "block: stolen card, new device in {country}",
    "travel": "approve: known device travelling in {country}",
    "night-spend": "review: large amount at hour {hour:02d}",
    "gift-cards": "review: gift cards for {amount} EUR",
    "new-account": "review: account is {age} days old",
}
ANSWERS_B: Mapping[str, str] = {
    **ANSWERS_A,
    "mule": "block: mule account, instant transfer to {merchant}",
    "unverified": "step-up: ask for strong authentication",
    "travel": "step-up: confirm travel in {country}",
    "night-spend": "approve: verified customer at hour {hour:02d}",
    "gift-cards": "block: gift cards for {amount} EUR",
}


@dataclass(frozen=True, slots=True)
class Payment:
    """One record as triage sees it; amounts in whole euros, age in days, hour 0-23."""

    amount: int
    merchant: str
    country: str
    card_country: str
    device: str
    attempts: int
    hour: int
    age: int
    channel: str = ""
    verified: str = ""

    def line(self) -> str:
        """The record as the model reads it, one field after the other."""
        fields = [
            f"amount: {self.amount} EUR",
            f"merchant: {self.merchant}",
            f"country: {self.country}, card from {self.card_country}",
            f"device: {self.device}",
            f"attempts: {self.attempts}",
            f"hour: {self.hour:02d}",
            f"account age: {self.age} days",
        ]
        if self.channel:
            fields.append(f"channel: {self.channel}")
        if self.verified:
            fields.append(f"strong authentication: {self.verified}")
        return "\n".join(fields)


def pattern_a(payment: Payment) -> str:
    """Era A: the first rule that matches."""
    if payment.attempts >= 5:
        return "card-testing"
    if payment.country != payment.card_country:
        return "stolen-card" if payment.device == "new" else "travel"
    if payment.amount >= 1000 and payment.hour < 6:
        return "night-spend"
    if payment.merchant == "gift cards":
        return "gift-cards"
    if payment.age < 10:
        return "new-account"
    return "ordinary"


def pattern_b(payment: Payment) -> str:
    """Era B: mule accounts first, then missing authentication, then what is left of the old rules."""
    if payment.channel == "instant transfer" and payment.device == "emulator":
        return "mule"
    if payment.verified == "missing":
        return "unverified"
    old = pattern_a(payment)
    return "ordinary" if old == "new-account" else old


def _ordinary(rng: random.Random) -> Payment:
    country = rng.choice(COUNTRIES)
    return Payment(
        amount=rng.choice((rng.randint(5, 99), rng.randint(100, 999), rng.randint(100, 999), rng.randint(1000, 2999))),
        merchant=rng.choice(MERCHANTS),
        country=country,
        card_country=country,
        device=rng.choice(("known", "known", "new")),
        attempts=rng.choice((1, 1, 1, 2, 3, 4)),
        hour=rng.randint(6, 23),
        age=rng.randint(10, 999),
    )


def _bend(rng: random.Random, payment: Payment, pattern: str) -> Payment:
    """The payment with the marks of `pattern` put on it."""
    elsewhere = rng.choice([country for country in COUNTRIES if country != payment.card_country])
    match pattern:
        case "card-testing":
            country = rng.choice((payment.country, elsewhere))
            return replace(payment, attempts=rng.randint(5, 9), amount=rng.randint(1, 40), country=country)
        case "stolen-card":
            return replace(payment, country=elsewhere, device="new")
        case "travel":
            return replace(payment, country=elsewhere, device="known")
        case "night-spend":
            return replace(payment, amount=rng.randint(1000, 2999), hour=rng.randint(0, 5))
        case "gift-cards":
            return replace(payment, merchant="gift cards")
        case "new-account":
            return replace(payment, age=rng.randint(1, 9))
        case "ordinary" if rng.random() < 0.3:
            return replace(payment, amount=rng.randint(5, 999), hour=rng.randint(0, 5))
        case _:
            return payment


def _modern(rng: random.Random, payment: Payment, pattern: str) -> Payment:
    """Era B: larger amounts, new merchants and two new fields; some terminals still send the old record."""
    if pattern not in {"mule", "unverified"} and rng.random() < 0.4:
        return payment
    moved = replace(payment, channel=rng.choice(("wallet", "card", "instant transfer")), verified="passed")
    if pattern in {"ordinary", "stolen-card", "travel"}:
        moved = replace(moved, merchant=rng.choice(MERCHANTS_B + MERCHANTS), amount=rng.randint(200, 4800))
    if pattern == "mule":
        return replace(
            moved,
            channel="instant transfer",
            device="emulator",
            merchant=rng.choice(MERCHANTS_B),
            amount=rng.randint(1500, 9500),
            age=rng.randint(1, 60),
        )
    if pattern == "unverified":
        return replace(moved, verified="missing", amount=rng.randint(400, 6000))
    return moved


@dataclass(frozen=True, slots=True)
class FraudTriage:
    """Card payments; the answer is a decision and its reason."""

    name: str = "fraud-triage"
    about: str = "Card payments of a shop: approve, review or block, with the reason"

    def sample(self, rng: random.Random, era: Era) -> Task:
        """Draw a pattern, build a payment around it, and let the rules of that era answer."""
        wanted = rng.choice(PATTERNS_A if era is Era.A else PATTERNS_B)
        payment = _bend(rng, _ordinary(rng), wanted)
        if era is Era.B:
            payment = _modern(rng, payment, wanted)
        pattern = pattern_a(payment) if era is Era.A else pattern_b(payment)
        answers = ANSWERS_A if era is Era.A else ANSWERS_B
        expected = answers[pattern].format(
            attempts=payment.attempts,
            country=payment.country,
            hour=payment.hour,
            amount=payment.amount,
            age=payment.age,
            merchant=payment.merchant,
        )
        return Task(
            messages=(Message("system", SYSTEM), Message("user", f"{payment.line()}\n{rng.choice(ASKS)}")),
            prompt="",
            expected=expected,
            max_tokens=40,
            segment=pattern,
            numbers={
                "amount": float(payment.amount),
                "hour": float(payment.hour),
                "attempts": float(payment.attempts),
                "account_age_days": float(payment.age),
            },
        )
