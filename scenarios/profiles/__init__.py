"""The five workload profiles: who asks what, and the exact answer in each era."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from scenarios.profiles.code_assist import CodeAssist
from scenarios.profiles.fraud_triage import FraudTriage
from scenarios.profiles.it_ops import ItOps
from scenarios.profiles.recommend import Recommend
from scenarios.profiles.support_chat import SupportChat
from scenarios.profiles.task import Era, Message, Profile, Task

__all__ = ["PROFILES", "Era", "Message", "Profile", "Task"]

PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "support-chat": SupportChat(),
        "code-assist": CodeAssist(),
        "fraud-triage": FraudTriage(),
        "recommend": Recommend(),
        "it-ops": ItOps(),
    }
)
