"""The holders of the kinds that clients are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from scenarios.faults.clients import behaviours
from scenarios.faults.holder.hold import Hold

CLIENT_HOLDERS: Mapping[str, Callable[[Hold], None]] = MappingProxyType(
    {
        "clients.abuser": behaviours.abuser,
        "clients.hang_up": behaviours.hang_up,
        "clients.herd": behaviours.herd,
        "clients.huge_upload": behaviours.huge_upload,
        "clients.long_contexts": behaviours.long_contexts,
        "clients.retry_storm": behaviours.retry_storm,
        "clients.slow_readers": behaviours.slow_readers,
        "clients.slowloris": behaviours.slowloris,
    }
)
