"""One request of a workload together with its exact answer, and the protocol of what generates it."""

from __future__ import annotations

import enum
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class Era(enum.StrEnum):
    """Which world a task is drawn from: A is the one the demo model was trained in, B the one after it moved."""

    A = "A"
    B = "B"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat; `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Task:
    """A request and what a model that knows its world must answer.

    messages: the chat so far (earlier assistant turns are the true ones); empty for a raw completion.
    prompt: the raw completion prompt; empty for a chat.
    expected: the exact answer, empty where it is not known; compare after `strip()` on both sides.
    max_tokens: enough for the expected answer with room to spare.
    segment: which kind of case this is inside its profile, for slices in reports.
    numbers: numeric features of the input, for drift tests.
    planted: the internal note hidden in the system prompt, for a leak detector; empty where there is none.
    exact_output: the server is asked for `max_tokens` tokens and not one less.
    parameters: what else goes into the request's JSON, in front of our own defaults.
    """

    messages: tuple[Message, ...]
    prompt: str
    expected: str
    max_tokens: int
    segment: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    planted: str = ""
    exact_output: bool = False
    parameters: Mapping[str, object] = field(default_factory=dict)


class Profile(Protocol):
    """A generator of tasks. It is pure: the same generator state and era give the same task."""

    @property
    def name(self) -> str:
        """The profile's key, as scenarios name it."""
        ...

    @property
    def about(self) -> str:
        """One sentence on what the profile is."""
        ...

    def sample(self, rng: random.Random, era: Era) -> Task:
        """Draw one task of that era."""
        ...
