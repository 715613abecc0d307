"""The proxy in the path of the planned requests: faults of the network and of answers."""

from scenarios.faults.proxy.injector import ProxyInjector

__all__ = ["ProxyInjector"]
