"""A planned request as a job: the bytes that go out, and what of the plan the sending needs."""

from __future__ import annotations

from collections.abc import Mapping

from scenarios.load.exchange import Job
from scenarios.load.target import Target, wire_bytes
from scenarios.request import PlannedRequest


def job_of(
    request: PlannedRequest,
    target: Target,
    api_keys: Mapping[str, str],
    *,
    followed: bool = False,
) -> Job:
    """The request as bytes and settings; one that cannot be written becomes a job with a defect, not an exception.

    A tenant without a key of its own has the run's. `followed`: others may wait for its end.
    """
    try:
        wire, defect = wire_bytes(request, target, api_keys.get(request.tenant) or None), ""
    except ValueError as error:
        wire, defect = b"", str(error)
    raw = bool(request.raw)
    return Job(
        index=request.index,
        due_ns=request.due_ns,
        wire=wire,
        timeout_s=request.timeout_s,
        stream=request.stream,
        raw=raw,
        head=wire.startswith(b"HEAD "),
        contract=request.method == "POST" and not raw,
        raw_chunks_s=request.raw_chunks_s,
        hang_up_after_s=request.hang_up_after_s,
        hang_up_after_events=request.hang_up_after_events,
        read_bytes_per_s=request.read_bytes_per_s,
        defect=defect,
        after=request.after,
        think_ns=round(request.think_s * 1e9),
        followed=followed,
        retry=request.retry,
        tenant=request.tenant,
    )
