"""Every kind of fault there is, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from scenarios.faults.kinds.clients import CLIENTS
from scenarios.faults.kinds.content import CONTENT
from scenarios.faults.kinds.engine import ENGINE
from scenarios.faults.kinds.host import HOST
from scenarios.faults.kinds.kind import FaultKind, Need, Param, Unit, Via
from scenarios.faults.kinds.network import NETWORK

__all__ = ["KINDS", "FaultKind", "Need", "Param", "Unit", "Via"]

KINDS: Mapping[str, FaultKind] = MappingProxyType(
    {kind.name: kind for kind in (*NETWORK, *CONTENT, *ENGINE, *HOST, *CLIENTS)}
)
