"""The keys of every section, the limits of a plan, and where a key that was put elsewhere belongs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from scenarios.definition import ArrivalKind
from scenarios.metrics import ODD_PROFILE
from scenarios.profiles import PROFILES

MOST_REQUESTS = 1_000_000
LONGEST_S = 7 * 86400.0
FASTEST = 100_000.0  # requests per second

TOP_KEYS = (
    "name", "about", "timeout", "workload", "arrivals", "slo", "search", "engine", "faults", "gates", "window", "keep",
)  # fmt: skip
WORKLOAD_KEYS = ("profile", "mix", "drift", "safety_share")
DRIFT_KEYS = ("start", "end")
SLO_KEYS = ("ttft_s", "tpot_s", "e2e_s")
SEARCH_KEYS = ("share", "confidence", "precision", "probes", "probe", "low", "high")
ENGINE_KEYS = ("slots", "ctx", "queue_limit", "threads")
KEEP_KEYS = ("answers", "prompts")
GATE_KEYS = ("metric", "max", "min", "confidence", "name", "sequential", "over")
WINDOW_KEYS = ("warmup",)
# kind -> its keys, each with an example; an empty example: the key may be left out
ARRIVAL_KEYS: Mapping[ArrivalKind, Mapping[str, str]] = MappingProxyType(
    {
        ArrivalKind.CONSTANT: {"rate": "4.0"},
        ArrivalKind.POISSON: {"rate": "4.0"},
        ArrivalKind.GAMMA: {"rate": "4.0", "cv": ""},
        ArrivalKind.RAMP: {"base": "1.0", "peak": "20.0"},
        ArrivalKind.SPIKE: {"base": "4.0", "peak": "20.0", "spike_at": "", "spike_for": ""},
    }
)
ALL_ARRIVAL_KEYS = ("kind", "duration", "rate", "cv", "base", "peak", "spike_at", "spike_for")
# kind -> parameter -> allowed values, the first one being the default
FAULT_KINDS: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"engine.kill": MappingProxyType({"part": ("all", "api", "decode")})}
)
PROFILE_NAMES = (*PROFILES, ODD_PROFILE)

# Where a key that was put under the wrong table belongs.
HOMES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(TOP_KEYS, "the top of the file"),
        **dict.fromkeys(WORKLOAD_KEYS, "[workload]"),
        **dict.fromkeys(ALL_ARRIVAL_KEYS, "[arrivals]"),
        **dict.fromkeys(SLO_KEYS, "[slo]"),
        **dict.fromkeys(SEARCH_KEYS, "[search]"),
        **dict.fromkeys(ENGINE_KEYS, "[engine]"),
        **dict.fromkeys(KEEP_KEYS, "[keep]"),
        **dict.fromkeys(("metric", "max", "min", "confidence", "sequential", "over"), "[[gates]]"),
        **dict.fromkeys(WINDOW_KEYS, "[window]"),
        **dict.fromkeys(("at", "part"), "[[faults]]"),
    }
)
