"""Customer support of the fictional shop Harbor & Pine: conversations of one to many turns with a fixed policy.

The policy is not in the prompt: the model knows it by heart. Order numbers, addresses and the state of an order come
from the conversation or the customer record in the system prompt. In era B the policy, the prices and the delivery
table are others, order numbers have a new form, and four intents are new.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from scenarios.profiles.shop import (
    ANSWERS_A,
    ANSWERS_B,
    DAYS,
    DELIVERY_A,
    DELIVERY_B,
    FIRST_NAMES,
    PRODUCTS_A,
    PRODUCTS_B,
    STATES,
    STREETS,
)
from scenarios.profiles.support_words import OUT_OF_SCOPE, OUT_OF_SCOPE_ANSWER, THAT_ORDER, WORDINGS
from scenarios.profiles.task import Era, Message, Task

SYSTEM = "You are the support assistant of Harbor & Pine, an outdoor shop. Answer briefly and follow the shop policy."

INTENTS_A = (
    "returns", "refund", "cancel", "exchange", "address", "status", "status", "recall",
    "delivery time", "delivery cost", "price", "warranty", "care", "hours", "contact", "greeting", "thanks",
    "out of scope",
)  # fmt: skip
INTENTS_B = (
    "returns", "refund", "cancel", "exchange", "address", "status", "status",
    "delivery time", "delivery cost", "price", "warranty", "care", "hours", "greeting", "thanks",
    "loyalty points", "trade-in", "repair", "drone delivery",
)  # fmt: skip
OPENERS = ("", "", "", "", "Hi, ", "Hello, ", "Good morning, ", "Sorry, one more thing: ", "Please help: ")
CLOSERS = ("", "", "", "", "", " Thanks.", " Thank you!", " It is urgent.")
NEEDS_ORDER = frozenset({"returns", "refund", "cancel", "exchange", "address", "status", "recall", "drone delivery"})


@dataclass(frozen=True, slots=True)
class Order:
    """One order of the customer: its number as written, its state and the day it is due."""

    number: str
    state: str
    day: str


@dataclass(frozen=True, slots=True)
class Turn:
    """A question, its true answer, what it was about, and the order that it leaves in focus."""

    question: str
    answer: str
    intent: str
    focus: Order | None


def draw_order(rng: random.Random, era: Era) -> Order:
    """A new order; five digits in era A, a lettered form in era B."""
    digits = "".join(rng.choices("0123456789", k=5))
    number = digits if era is Era.A else f"HP-{rng.choice('KLMRT')}{digits}"
    return Order(number, rng.choice(STATES), rng.choice(DAYS))


def record(name: str, orders: list[Order]) -> str:
    """The customer record, as the shop's software puts it after the system prompt."""
    listed = "; ".join(f"order {order.number} is {order.state}, due {order.day}" for order in orders)
    return f"Customer: {name}. Record: {listed}."


def draw_turn(rng: random.Random, era: Era, intent: str, orders: list[Order], focus: Order | None) -> Turn:
    """One turn of that intent; `focus` is the order last spoken of, which "it" stands for."""
    answers = ANSWERS_A if era is Era.A else ANSWERS_B
    products = PRODUCTS_A if era is Era.A else PRODUCTS_B
    delivery = DELIVERY_A if era is Era.A else DELIVERY_B
    question = rng.choice(WORDINGS[intent])
    fields: dict[str, str] = {}
    if intent in NEEDS_ORDER:
        if focus is not None and (intent == "recall" or rng.random() < 0.4):
            order = focus
            spoken = rng.choice(THAT_ORDER)
        else:
            order = rng.choice(orders)
            spoken = f"order {order.number}"
        focus = order
        fields |= {"spoken": spoken, "order": order.number, "state": order.state, "day": order.day}
    match intent:
        case "returns" | "refund" | "cancel" | "exchange" | "hours" | "contact":
            answer = str(getattr(answers, intent))
        case "address":
            fields["address"] = f"{rng.randint(1, 99)} {rng.choice(STREETS)}"
            answer = answers.address
        case "status":
            answer = "Order {order} is {state}. It is due on {day}."
        case "recall":
            answer = "Your order number is {order}."
        case "delivery time" | "delivery cost":
            country = rng.choice(sorted(delivery))
            fields |= {"country": country, "days": str(delivery[country].days), "cost": str(delivery[country].cost)}
            timed = intent == "delivery time"
            answer = "Delivery to {country} takes {days} days." if timed else "Delivery to {country} costs {cost} EUR."
        case "price" | "warranty" | "care" | "trade-in" | "repair":
            name = rng.choice(sorted(products))
            product = products[name]
            fields |= {
                "product": name,
                "price": str(product.price),
                "years": str(product.warranty),
                "care": product.care,
            }
            fields["credit"] = str(product.price // 5)
            answer = {
                "price": "The {product} costs {price} EUR.",
                "warranty": "The {product} has a warranty of {years} years.",
                "care": "To clean the {product}, {care}.",
                "trade-in": "We give you {credit} EUR for a used {product}.",
                "repair": "We repair the {product} for free for {years} years.",
            }[intent]
        case "loyalty points":
            fields["points"] = str(rng.randint(2, 90) * 100)
            answer = "{points} Pine points are worth " + str(int(fields["points"]) // 100) + " EUR."
        case "drone delivery":
            answer = "Order {order} comes by drone within 3 hours."
        case "greeting":
            answer = "Hello! How can I help you?"
        case "thanks":
            answer = "You are welcome. Have a good day outdoors!"
        case _:
            fields["topic"] = rng.choice(OUT_OF_SCOPE)
            answer = OUT_OF_SCOPE_ANSWER
    return Turn(polish(rng, question.format(**fields), intent), answer.format(**fields), intent, focus)


def polish(rng: random.Random, question: str, intent: str) -> str:
    """Politeness around a question, and now and then the small carelessness of a person typing."""
    if intent not in {"greeting", "thanks"}:
        opener, closer = rng.choice(OPENERS), rng.choice(CLOSERS)
        if opener and not question.startswith(("I ", "I'")):
            question = question[0].lower() + question[1:]
        question = f"{opener}{question}{closer}"
    return question.lower() if rng.random() < 0.1 else question


def conversation(rng: random.Random, era: Era, turns: int) -> tuple[str, list[Turn]]:
    """A customer record and that many turns."""
    count = rng.choice((1, 1, 1, 2, 2, 3))
    orders = [draw_order(rng, era) for _ in range(count)]
    drawn: list[Turn] = []
    focus: Order | None = None
    for _ in range(turns):
        intent = rng.choice(INTENTS_A if era is Era.A else INTENTS_B)
        while intent == "recall" and focus is None:
            intent = rng.choice(INTENTS_A)
        turn = draw_turn(rng, era, intent, orders, focus)
        focus = turn.focus
        drawn.append(turn)
    return record(rng.choice(FIRST_NAMES), orders), drawn


@dataclass(frozen=True, slots=True)
class SupportChat:
    """Support conversations; `long_share` of them run over many turns, up to about 900 tokens."""

    name: str = "support-chat"
    about: str = "Multi-turn customer support of an outdoor shop with a fixed policy"
    long_share: float = 0.08
    long_turns: tuple[int, int] = (8, 20)

    def sample(self, rng: random.Random, era: Era) -> Task:
        """Draw a conversation and ask for its last answer."""
        turns = rng.randint(*self.long_turns) if rng.random() < self.long_share else rng.choice((1, 1, 1, 2, 2, 3, 4))
        return asked(*conversation(rng, era, turns))


def asked(known: str, drawn: list[Turn]) -> Task:
    """The task of the last turn; the earlier answers are the true ones, whatever the model said."""
    messages = [Message("system", f"{SYSTEM}\n{known}")]
    for turn in drawn[:-1]:
        messages += [Message("user", turn.question), Message("assistant", turn.answer)]
    last = drawn[-1]
    messages.append(Message("user", last.question))
    return Task(
        messages=tuple(messages),
        prompt="",
        expected=last.answer,
        max_tokens=48,
        segment=last.intent,
        numbers={"turns": float(len(drawn)), "question_chars": float(len(last.question))},
    )


def without_record(task: Task) -> Task:
    """The same task with neither role nor record, for questions whose answer needs none of it."""
    return replace(task, messages=tuple(message for message in task.messages if message.role != "system"))
