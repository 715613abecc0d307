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
    "abort", "blast_radius", "matrix", "chaos",
)  # fmt: skip
HARMFUL = ("faults", "matrix", "chaos")  # tables that make something go wrong on purpose
# profile -> the keys of its own, beside which it takes none
PART_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "support-chat": ("turns", "think"),
        "dataset": ("file", "max_tokens"),
        "trace": ("file", "shrink", "prompt_max", "output_max", "exact_output"),
        "synthetic": ("prompt_tokens", "output_tokens", "prefix_tokens", "prefixes", "reuse", "exact_output"),
    }
)
ALL_PART_KEYS = tuple(dict.fromkeys(key for keys in PART_KEYS.values() for key in keys))
WORKLOAD_KEYS = ("profile", "mix", "drift", "safety_share", "tenants", "clients")
MIX_KEYS = ("profile", "weight")
LENGTH_KEYS = ("spread", "mean", "cv", "min", "max")
TENANT_KEYS = ("weight", "key_env")
# client behaviour -> its keys
CLIENT_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "slow_reader": ("share", "bytes_per_s"),
        "disconnect": ("share", "after_events"),
        "retry": ("share", "attempts", "wait", "factor", "align"),
    }
)
DRIFT_KEYS = ("start", "end")
SLO_KEYS = ("ttft_s", "tpot_s", "e2e_s")
SEARCH_KEYS = ("share", "confidence", "precision", "probes", "probe", "low", "high")
ENGINE_KEYS = ("slots", "ctx", "queue_limit", "threads")
KEEP_KEYS = ("answers", "prompts")
GATE_KEYS = ("metric", "max", "min", "confidence", "name", "sequential", "over", "phase")
WINDOW_KEYS = ("warmup",)
# kind -> its keys, each with an example; an empty example: the key may be left out
ARRIVAL_KEYS: Mapping[ArrivalKind, Mapping[str, str]] = MappingProxyType(
    {
        ArrivalKind.CONSTANT: {"rate": "4.0", "duration": '"1m"'},
        ArrivalKind.POISSON: {"rate": "4.0", "duration": '"1m"'},
        ArrivalKind.GAMMA: {"rate": "4.0", "cv": "", "duration": '"1m"'},
        ArrivalKind.WEIBULL: {"rate": "4.0", "cv": "", "duration": '"1m"'},
        ArrivalKind.RAMP: {"base": "1.0", "peak": "20.0", "duration": '"1m"'},
        ArrivalKind.SPIKE: {"base": "4.0", "peak": "20.0", "spike_at": "", "spike_for": "", "duration": '"1m"'},
        ArrivalKind.DIURNAL: {"base": "", "peak": "", "rates": "", "period": "", "phase": "", "duration": '"1m"'},
        ArrivalKind.WINDOWS: {
            "windows": '[{ for = "30s", rate = 4.0, cv = 2.0 }]',
            "file": "",
            "speed": "",
            "from": "",
            "duration": "",
        },
        ArrivalKind.TRACE: {"file": '"trace.csv"', "speed": "", "from": "", "duration": ""},
        ArrivalKind.TIMES: {"at": "[0.0, 0.5, 2.0]", "duration": '"4s"'},
        ArrivalKind.CLOSED: {"concurrency": "8", "requests": "200", "think": ""},
    }
)
ALL_ARRIVAL_KEYS = ("kind", *dict.fromkeys(key for keys in ARRIVAL_KEYS.values() for key in keys))
PIECE_KEYS = ("for", "rate", "cv", "gaps")
THINK_KEYS = ("mean", "cv")
FAULT_KEYS = ("kind", "at", "random", "for", "until", "share", "hits")  # beside the parameters of the kind
RANDOM_KEYS = ("times", "from", "to")
CONDITION_KEYS = ("metric", "above", "below", "for")
BLAST_KEYS = ("share", "at_once", "length")
MATRIX_KEYS = ("faults", "slot", "lead", "length")
CHAOS_KEYS = ("budget", "faults", "most_faults", "most_requests", "settle")
PROFILE_NAMES = (*PROFILES, "dataset", "trace", "synthetic", ODD_PROFILE)

# Where a key that was put under the wrong table belongs.
HOMES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(TOP_KEYS, "the top of the file"),
        **dict.fromkeys((*WORKLOAD_KEYS, *ALL_PART_KEYS), "[workload]"),
        **dict.fromkeys(CLIENT_KEYS, "[workload.clients]"),
        **dict.fromkeys((key for key in ALL_ARRIVAL_KEYS if key not in ALL_PART_KEYS), "[arrivals]"),
        **dict.fromkeys(SLO_KEYS, "[slo]"),
        **dict.fromkeys(SEARCH_KEYS, "[search]"),
        **dict.fromkeys(ENGINE_KEYS, "[engine]"),
        **dict.fromkeys(KEEP_KEYS, "[keep]"),
        **dict.fromkeys(("metric", "max", "min", "confidence", "sequential", "over", "phase"), "[[gates]]"),
        **dict.fromkeys(WINDOW_KEYS, "[window]"),
        **dict.fromkeys(("at", "part", "random", "until", "hits"), "[[faults]]"),
        **dict.fromkeys(("above", "below"), "[[abort]]"),
        "at_once": "[blast_radius]",
        **dict.fromkeys(("slot", "lead"), "[matrix]"),
        **dict.fromkeys(("budget", "most_faults", "most_requests", "settle"), "[chaos]"),
    }
)
