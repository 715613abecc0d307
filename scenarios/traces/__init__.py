"""Recorded traffic, read from the files that others publish and from our own journals."""

from scenarios.traces.read import read_trace
from scenarios.traces.servegen import ClientWindow, Windows, read_windows
from scenarios.traces.trace import Trace, TraceKind, replayed, shrunk

__all__ = ["ClientWindow", "Trace", "TraceKind", "Windows", "read_trace", "read_windows", "replayed", "shrunk"]
