"""What is under trial and what this machine has, as far as it can be known before anything is started."""

from __future__ import annotations

from scenarios.faults.possible import Setting


def setting(target: str | None, *, launched: bool = False, has_pid: bool = False) -> Setting:
    """The setting of a trial of `target` (None: one that is started here) on this machine."""
    from engine.telemetry import GpuMonitor

    monitor = GpuMonitor()
    try:
        return Setting(
            target=target, launched=launched, has_pid=has_pid, gpus=len(monitor.sample()), gpu_note=monitor.note
        )
    finally:
        monitor.close()
