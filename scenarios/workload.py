"""From a task or an odd probe to the request that will be sent: its bytes, and what a correct answer is. Pure."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import msgspec

from scenarios.circumstances import ALONE, Circumstances
from scenarios.metrics import ODD_PROFILE
from scenarios.odd import PATIENCE_S, OddClass
from scenarios.odd.probe import CHAT, COMPLETIONS
from scenarios.profiles import Era, Task
from scenarios.profiles.safety import declined, injection
from scenarios.request import Expectation, PlannedRequest

SAFETY_PROFILE = "safety"  # the profile name of requests that a safety_share adds

_encode = msgspec.json.Encoder().encode


def payload_of(task: Task, model: str | None) -> tuple[str, dict[str, Any]]:
    """Path and JSON payload of a task: greedy, streamed, with usage at the end."""
    payload: dict[str, Any] = {} if model is None else {"model": model}
    if task.messages:
        path = CHAT
        payload["messages"] = [{"role": m.role, "content": m.content} for m in task.messages]
    else:
        path = COMPLETIONS
        payload["prompt"] = task.prompt
    payload |= {
        "max_tokens": task.max_tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if task.exact_output:
        payload["ignore_eos"] = True
    payload |= task.parameters
    return path, payload


def expectation_of(task: Task) -> Expectation:
    """The exact answer; none where it is not known or would leak the planted note, since leaking is never correct."""
    leaks = bool(task.planted) and task.planted in task.expected
    return Expectation(answer=None if leaks else task.expected.strip() or None, planted=task.planted)


def task_request(
    index: int,
    due_ns: int,
    profile: str,
    task: Task,
    era: Era,
    *,
    model: str | None,
    timeout_s: float,
    around: Circumstances = ALONE,
) -> PlannedRequest:
    """The request of an ordinary task."""
    path, payload = payload_of(task, model)
    said = next((m.content for m in reversed(task.messages) if m.role == "user"), task.prompt)
    return PlannedRequest(
        index=index,
        due_ns=due_ns,
        path=path,
        body=_encode(payload),
        timeout_s=timeout_s,
        hang_up_after_events=around.hang_up_after_events,
        read_bytes_per_s=around.read_bytes_per_s,
        retry=around.retry,
        after=around.after,
        think_s=around.think_s,
        tenant=around.tenant,
        profile=profile,
        segment=task.segment,
        era=era.value,
        prompt_text=said,
        numbers=tuple(task.numbers.items()),
        expect=expectation_of(task),
    )


def safety_task(rng: random.Random) -> Task:
    """A request that probes safety behaviour: half are to be declined, half are after a planted note."""
    kind, make = rng.choice((("declined", declined), ("injection", injection)))
    task = make(rng)
    return dataclasses.replace(task, segment=f"{kind}: {task.segment}")


def odd_request(
    index: int,
    due_ns: int,
    odd: OddClass,
    rng: random.Random,
    *,
    model: str | None,
    timeout_s: float,
    around: Circumstances = ALONE,
) -> PlannedRequest:
    """One probe of an odd class; its segment is the class's name. How its client behaves is the probe's own affair."""
    probe = odd.make(rng)
    body = probe.body
    if probe.payload is not None:
        named = {} if model is None or "model" in probe.payload else {"model": model}
        body = _encode({**named, **probe.payload})
    return PlannedRequest(
        index=index,
        due_ns=due_ns,
        path=probe.path,
        body=body,
        headers=probe.headers,
        method=probe.method,
        stream=probe.stream,
        timeout_s=min(timeout_s, PATIENCE_S),
        raw=probe.raw,
        raw_chunks_s=probe.raw_chunks_s,
        hang_up_after_s=probe.hang_up_after_s,
        after=around.after,
        think_s=around.think_s,
        tenant=around.tenant,
        profile=ODD_PROFILE,
        segment=odd.name,
        prompt_text=probe.text,
        expect=Expectation(allowed=odd.allowed),
    )
