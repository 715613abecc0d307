"""What is under trial: the embedded engine, a server that is started for the run, or one that somebody else runs."""

from scenarios.runner.target.target import EmbeddedTarget, LaunchedTarget, RemoteTarget, Target, target_of

__all__ = ["EmbeddedTarget", "LaunchedTarget", "RemoteTarget", "Target", "target_of"]
