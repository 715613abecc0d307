"""The function of each kind of fault that is held: HOLDERS[kind](hold); the rules are in hold.py.

Each family of kinds has a file of its own with a table; this one puts them together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from scenarios.faults.clients.kinds import CLIENT_HOLDERS
from scenarios.faults.holder.engine_files import FILE_HOLDERS
from scenarios.faults.holder.engine_processes import PROCESS_HOLDERS
from scenarios.faults.holder.hold import Hold
from scenarios.faults.holder.host import HOST_HOLDERS

Holder = Callable[[Hold], None]

HOLDERS: Mapping[str, Holder] = MappingProxyType({**PROCESS_HOLDERS, **FILE_HOLDERS, **HOST_HOLDERS, **CLIENT_HOLDERS})
