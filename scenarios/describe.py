"""What a scenario is, in the few words that lists, previews and outlines use. Pure."""

from __future__ import annotations

from pathlib import Path

from scenarios.definition import ArrivalKind, Arrivals, Clients, Lengths, Part, Spread, Tenant, Think
from scenarios.rates import rates_of


def arrivals_in_words(arrivals: Arrivals) -> list[str]:
    """What sets these arrivals apart from others of their kind, beside duration and rate."""
    match arrivals.kind:
        case ArrivalKind.GAMMA | ArrivalKind.WEIBULL:
            return [f"cv {arrivals.cv:g}"]
        case ArrivalKind.DIURNAL:
            return [f"a day of {arrivals.period_s:g} s"]
        case ArrivalKind.WINDOWS:
            return [f"{len(arrivals.windows)} windows"]
        case ArrivalKind.TRACE if arrivals.recording is not None:
            begin = f", from {arrivals.recording.from_s:g} s" if arrivals.recording.from_s else ""
            return [f"{Path(arrivals.recording.path).name}{begin} at speed {arrivals.speed:g}"]
        case ArrivalKind.TIMES:
            return [f"{len(arrivals.at_s):,} times, one by one"]
        case ArrivalKind.CLOSED:
            return [f"{arrivals.concurrency:,} users", *think_in_words(arrivals.think)]
    return []


def peak_rate(arrivals: Arrivals) -> float | None:
    """The highest rate, requests per second; None where the answers decide it."""
    return None if arrivals.kind is ArrivalKind.CLOSED else rates_of(arrivals).highest


def think_in_words(think: Think) -> list[str]:
    if not think.mean_s:
        return []
    return [f"{think.mean_s:g} s of thought" + (f" (cv {think.cv:g})" if think.cv else "")]


def part_in_words(part: Part) -> list[str]:
    """The settings of an entry of the mix; nothing for a profile as it comes."""
    if part.sessions is not None:
        return [f"{_numbers(part.sessions.turns)} turns", *think_in_words(part.sessions.think)]
    if part.dataset is not None:
        return [Path(part.dataset.path).name]
    if part.replay is not None:
        cuts = (("prompts", part.replay.prompt_max), ("answers", part.replay.output_max))
        shrunk = [f"1/{part.replay.shrink} of the length"] if part.replay.shrink > 1 else []
        capped = [f"{what} up to {most:,} tokens" for what, most in cuts if most]
        return [f"lengths of {Path(part.replay.path).name}", *shrunk, *capped]
    if part.synthetic is not None:
        made = part.synthetic
        words = [f"{_numbers(made.prompt_tokens)} tokens in", f"{_numbers(made.output_tokens)} out"]
        if made.reuse:
            shared = f"one of {made.prefixes:,} beginnings" if made.prefixes > 1 else "the same beginning"
            words.append(f"{made.reuse * 100:g} % share {shared} of {made.prefix_tokens:,} tokens")
        return words
    return []


def tenants_in_words(tenants: tuple[Tenant, ...]) -> list[str]:
    whole = sum(tenant.weight for tenant in tenants)
    return [f"{tenant.name} {tenant.weight / whole * 100:.3g} %" for tenant in tenants]


def clients_in_words(clients: Clients) -> list[str]:
    words = []
    if (slow := clients.slow_reader) is not None:
        words.append(f"{slow.share * 100:g} % read {slow.bytes_per_s:g} bytes a second")
    if (leaves := clients.disconnect) is not None:
        events = "event" if leaves.after_events == 1 else "events"
        words.append(f"{leaves.share * 100:g} % hang up after {leaves.after_events:,} {events}")
    if (again := clients.retry) is not None:
        pause = f"{again.wait_s:g} s" if again.wait_s else "at once"
        growing = f", {again.factor:g} times longer each" if again.factor > 1 and again.wait_s else ""
        together = f", all on the {again.align_s:g} s" if again.align_s else ""
        words.append(f"{again.share * 100:g} % try up to {again.attempts} times ({pause}{growing}{together})")
    return words


def _numbers(spec: Lengths) -> str:
    match spec.spread:
        case Spread.CONSTANT:
            return f"{spec.low:,}"
        case Spread.UNIFORM:
            return f"{spec.low:,} to {spec.high:,}"
    return f"about {spec.mean:,g}"
