"""IT operations: a few log lines in, host, cause and action out.

Era A logs are plain text lines. In era B most of the fleet writes JSON or Kubernetes events, hosts are pods, four new
causes have appeared, and two known causes are left to the autoscaler.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from scenarios.profiles.task import Era, Message, Task

SYSTEM = "You are the on-call assistant of Harbor & Pine. Read the log and answer with host, cause and action."
ASKS = ("What is wrong?", "Diagnose this.", "Which host, which cause, what to do?", "Please triage.")
SERVICES = ("api", "cart", "search", "payments", "stock", "mail", "login", "images")
NOISE = (
    "INFO request served in {n} ms",
    "INFO cache hit ratio 0.{n}",
    "DEBUG worker {n} is idle",
    "INFO health check ok",
    "INFO rotated log, {n} files kept",
    "WARN slow query took {n} ms",
)

# cause -> the action, and how the log words it
CAUSES_A: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "disk full": ("clean old files", ("write failed: no space left on device", "disk usage at {p} % on /var/lib")),
    "out of memory": ("raise the memory limit", ("killed process {n}: out of memory", "cannot allocate {n} MB")),
    "db pool exhausted": (
        "raise the pool size",
        ("timeout waiting for a connection, pool {s}/{s} in use", "no free connection in pool of {s}"),
    ),
    "certificate expired": (
        "renew the certificate",
        ("TLS handshake failed: certificate has expired", "x509: certificate expired {s} hours ago"),
    ),
    "dns failure": (
        "check the resolver",
        ("could not resolve host db-{s}.internal", "lookup db-{s}.internal: no such host"),
    ),
    "clock skew": (
        "restart time sync",
        ("token used before issued, clock is off by {n} s", "time drift of {n} s against ntp"),
    ),
    "deadlock": (
        "retry the transaction",
        ("deadlock detected in table orders", "lock wait timeout after {s} s in table orders"),
    ),
    "bad deploy": (
        "roll back the release",
        ("error rate {p} % since release {n}", "release {n} fails {p} % of requests"),
    ),
    "port in use": (
        "stop the old process",
        ("bind: address already in use, port 80{s}", "cannot listen on port 80{s}"),
    ),
    "queue backlog": ("add two workers", ("queue length is {n}000 and growing", "oldest message waits {n} s")),
}
CAUSES_B: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "gpu fell off the bus": ("drain the node", ("NVRM: Xid 79, GPU {s} has fallen off the bus",)),
    "image pull failure": (
        "fix the registry secret",
        ("Back-off pulling image, ErrImagePull", "ImagePullBackOff on attempt {s}"),
    ),
    "rate limited upstream": ("spread the calls", ("upstream answered 429, retry after {s} s",)),
    "token budget spent": ("raise the token budget", ("llm gateway: monthly token budget of {n}k spent",)),
}
# In the new world two known causes are handled otherwise: the platform heals itself or scales.
ACTIONS_B: Mapping[str, str] = {"out of memory": "let the autoscaler act", "queue backlog": "let the autoscaler act"}


def _fill(rng: random.Random, text: str) -> str:
    return text.format(n=rng.randint(100, 990), p=rng.randint(21, 99), s=rng.randint(10, 64))


def _text_log(rng: random.Random, host: str, others: list[str], phrase: str) -> str:
    hour, minute = rng.randint(0, 23), rng.randint(0, 57)
    entries = [f"{other} {_fill(rng, rng.choice(NOISE))}" for other in others]
    entries.insert(rng.randint(0, len(entries)), f"{host} ERROR {phrase}")
    return "\n".join(f"{hour:02d}:{minute + index:02d} {entry}" for index, entry in enumerate(entries))


def _json_log(rng: random.Random, host: str, others: list[str], phrase: str) -> str:
    entries = [(other, "info", _fill(rng, "request served in {n} ms")) for other in others]
    entries.insert(rng.randint(0, len(entries)), (host, "error", phrase))
    start = rng.randint(1_780_000_000, 1_789_999_999)
    return "\n".join(
        f'{{"ts":{start + index},"pod":"{pod}","sev":"{severity}","body":"{body}"}}'
        for index, (pod, severity, body) in enumerate(entries)
    )


def _event_log(rng: random.Random, host: str, others: list[str], phrase: str) -> str:
    entries = [f"{rng.randint(2, 59)}s  Normal   Pulled     pod/{other}  container image present" for other in others]
    entries.insert(rng.randint(0, len(entries)), f"{rng.randint(2, 59)}s  Warning  Unhealthy  pod/{host}  {phrase}")
    return "LAST SEEN  TYPE  REASON  OBJECT  MESSAGE\n" + "\n".join(entries)


def _pod(rng: random.Random, service: str) -> str:
    return f"{service}-{''.join(rng.choices('bcdfghjklmnpqrstvwxz2456789', k=5))}"


@dataclass(frozen=True, slots=True)
class ItOps:
    """Log lines; the answer names host, cause and action."""

    name: str = "it-ops"
    about: str = "Log lines of a shop's platform: which host, which cause, what to do"

    def sample(self, rng: random.Random, era: Era) -> Task:
        """Draw a cause and a log around it."""
        style = "text" if era is Era.A else rng.choice(("text", "json", "json", "event"))
        fresh = era is Era.B and (style == "event" or rng.random() < 0.35)
        cause = rng.choice(sorted(CAUSES_B if fresh else CAUSES_A))
        action, phrases = (CAUSES_B if cause in CAUSES_B else CAUSES_A)[cause]
        if era is Era.B:
            action = ACTIONS_B.get(cause, action)
        phrase = _fill(rng, rng.choice(phrases))
        services = rng.sample(SERVICES, rng.randint(1, 4))
        hosts = [_pod(rng, s) if style != "text" else f"{s}-{rng.randint(1, 12)}" for s in services]
        write = {"text": _text_log, "json": _json_log, "event": _event_log}[style]
        log = write(rng, hosts[0], hosts[1:], phrase)
        return Task(
            messages=(Message("system", SYSTEM), Message("user", f"{log}\n{rng.choice(ASKS)}")),
            prompt="",
            expected=f"host: {hosts[0]}\ncause: {cause}\naction: {action}",
            max_tokens=64,
            segment=cause if style == "text" else f"{cause}, {style} log",
            numbers={"lines": float(len(services)), "log_chars": float(len(log))},
        )
