"""Faults that are held: by a process each, under a guardian, so that they end and are undone whatever happens."""

from scenarios.faults.holder.injector import HolderInjector
from scenarios.faults.holder.subject import Subject

__all__ = ["HolderInjector", "Subject"]
