"""The proxy in the path of the planned requests: faults of the network and of answers."""

from __future__ import annotations

from scenarios.faults.proxy.injector import ProxyInjector

__all__ = ["ProxyInjector"]
