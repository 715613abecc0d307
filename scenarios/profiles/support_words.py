"""How customers word their questions, by intent."""

from __future__ import annotations

from collections.abc import Mapping

THAT_ORDER = ("that order", "this order", "my order", "it")

WORDINGS: Mapping[str, tuple[str, ...]] = {
    "returns": (
        "I want to return {spoken}.",
        "How can I send {spoken} back?",
        "Can I still return {spoken}?",
        "What do I do to return {spoken}?",
    ),
    "refund": (
        "When do I get the money back for {spoken}?",
        "How long does the refund for {spoken} take?",
        "I am waiting for my refund for {spoken}.",
    ),
    "cancel": (
        "Please cancel {spoken}.",
        "I would like to cancel {spoken}.",
        "Can you cancel {spoken} for me?",
    ),
    "exchange": (
        "I need {spoken} in another size.",
        "Can I exchange {spoken}?",
        "The size of {spoken} is wrong, can you swap it?",
    ),
    "address": (
        "Please send {spoken} to {address}.",
        "I have moved. Can {spoken} go to {address}?",
        "Change the address of {spoken} to {address}.",
    ),
    "status": (
        "Where is {spoken}?",
        "When will {spoken} arrive?",
        "What is the status of {spoken}?",
        "Has {spoken} left yet?",
    ),
    "recall": (
        "What was my order number again?",
        "Can you repeat the order number?",
        "Which order were we talking about?",
    ),
    "delivery time": (
        "How long does delivery to {country} take?",
        "How many days until a parcel gets to {country}?",
        "I live in {country}. How fast do you deliver?",
    ),
    "delivery cost": (
        "What does delivery to {country} cost?",
        "How much is shipping to {country}?",
        "I live in {country}. What do I pay for delivery?",
    ),
    "price": (
        "What does the {product} cost?",
        "How much is the {product}?",
        "Tell me the price of the {product}.",
    ),
    "warranty": (
        "How long is the warranty on the {product}?",
        "My {product} broke. Is it still under warranty?",
        "What warranty does the {product} have?",
    ),
    "care": (
        "How do I clean the {product}?",
        "My {product} is dirty. What should I do?",
        "How should I care for the {product}?",
    ),
    "hours": ("When are you open?", "What are your opening hours?", "Are you open on Saturday?"),
    "contact": ("Can I call you?", "What is your phone number?", "How can I talk to a person?"),
    "greeting": ("Hello!", "Hi there", "Good morning", "Hello, is anyone there?", "Hey", "Good evening!"),
    "thanks": (
        "Thanks!",
        "Thank you, that was all.",
        "Great, thanks a lot.",
        "Perfect, bye!",
        "That helps, thank you.",
    ),
    "out of scope": (
        "Can you tell me about {topic}?",
        "What do you think about {topic}?",
        "I have a question about {topic}.",
        "Write a poem about {topic}.",
        "Explain {topic} to me.",
    ),
    "loyalty points": (
        "What are my {points} Pine points worth?",
        "I have {points} points in the PineClub app. How much is that?",
    ),
    "trade-in": (
        "What do I get if I trade in my {product}?",
        "I would like to sell my used {product} through ReGear.",
    ),
    "repair": (
        "Can your repair bar fix my {product}?",
        "The zip of my {product} needs a repair. What does it cost?",
    ),
    "drone delivery": (
        "Can {spoken} come by drone?",
        "I chose drone delivery for {spoken}. When does it land?",
    ),
}

OUT_OF_SCOPE = (
    "the weather", "football", "politics", "the stock market", "cooking pasta", "the moon", "history", "movies",
    "quantum physics", "my homework", "the capital of France", "dinosaurs", "music", "the news", "poetry", "cats",
    "machine learning", "the meaning of life", "chess", "my taxes", "cars", "religion", "the sea", "space travel",
)  # fmt: skip
OUT_OF_SCOPE_ANSWER = "I can only help with Harbor & Pine orders and products."
