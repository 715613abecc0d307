"""The http.* and stream.* kinds: what each makes of one answer, as transforms of its bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from scenarios.faults.proxy.answers.bytewise import Bytewise
from scenarios.faults.proxy.answers.edits import Coalesce, Duplicate, Reorder, SplitCharacter, Stall, Truncate
from scenarios.faults.proxy.answers.headers import HeaderLost
from scenarios.faults.proxy.answers.statuses import Refusal
from scenarios.faults.proxy.answers.stream import EventStream
from scenarios.faults.proxy.transform import Transform

__all__ = ["TRANSFORMS"]

Params = Mapping[str, float | str]

_INJECTED = "a fault was injected here"

# kind -> from its parameters, as in the kind and all of them, a transform for one answer
TRANSFORMS: Mapping[str, Callable[[Params], Transform]] = MappingProxyType(
    {
        "http.error": lambda params: Refusal(int(params["status"]), _INJECTED),
        "http.too_many": lambda params: Refusal(429, _INJECTED, float(params["retry_after"])),
        "http.error_in_200": lambda params: Refusal(200, _INJECTED),
        "http.header_lost": lambda params: HeaderLost(str(params["header"])),
        "stream.truncate": lambda params: EventStream(Truncate(int(params["after"]))),
        "stream.duplicate": lambda params: EventStream(Duplicate(int(params["event"]))),
        "stream.reorder": lambda params: EventStream(Reorder(int(params["event"]))),
        "stream.coalesce": lambda params: EventStream(Coalesce(int(params["events"]))),
        "stream.bytewise": lambda params: Bytewise(float(params["delay"])),
        "stream.split_character": lambda params: EventStream(SplitCharacter(float(params["delay"]))),
        "stream.stall": lambda params: EventStream(Stall(int(params["after"]), float(params["delay"]))),
    }
)
