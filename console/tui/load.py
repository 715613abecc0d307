"""GPU load by NVML, and the engine; without a GPU the panel says why and shows what the engine takes of the host."""

from __future__ import annotations

from console.tui.chart import Scale, Trace, Window, dots, framed, sample
from console.tui.paint import Drawing, Line, Role, Span, flow, line, wrap
from console.tui.snapshot import Snapshot
from console.tui.units import NONE, gib, percent, rate, whole
from scenarios.tick import EngineSample, GpuSample, Tick


def draw(snapshot: Snapshot, cells: int, rows: int, ascii_only: bool) -> Drawing:
    """GPUs, engine, then GPU utilisation (or the host's CPU) over the run."""
    tick = snapshot.tick
    if tick is None:
        return Drawing((line(("no sample yet", Role.DIM)),), "GPU")
    head = _gpus(tick, cells, rows) + _engine(tick, cells)
    chart = _chart(snapshot, cells, rows - len(head), ascii_only)
    return Drawing(tuple(head + chart)[:rows], *_titles(tick))


def _titles(tick: Tick) -> tuple[str, str]:
    charted = "chart: util %" if tick.gpus else "chart: host CPU %"
    if len(tick.gpus) == 1:
        return f"GPU {tick.gpus[0].index}  {tick.gpus[0].name}", charted
    return (f"{len(tick.gpus)} GPUs  {tick.gpus[0].name}" if tick.gpus else "Engine (no GPU)"), charted


def _gpus(tick: Tick, cells: int, rows: int) -> list[Line]:
    if not tick.gpus:
        return wrap(f"no GPU: {tick.gpu_note or 'none found'}", cells, 2, Role.DIM)
    if len(tick.gpus) == 1:
        return _one(tick.gpus[0], cells)
    room = max(rows // 2 - 1, 1)
    shown = tick.gpus if len(tick.gpus) <= room else tick.gpus[: room - 1]
    out = [_compact(gpu, cells) for gpu in shown]
    if len(shown) < len(tick.gpus):
        out.append(line((f"+{len(tick.gpus) - len(shown)} more GPUs", Role.DIM)))
    return out


def _one(gpu: GpuSample, cells: int) -> list[Line]:
    share = gpu.memory_used / gpu.memory_total if gpu.memory_used is not None and gpu.memory_total else None
    chips = [
        _pair("util", percent(gpu.utilisation), " %"),
        _pair("", whole(gpu.power_w), " W"),
        _pair("", whole(gpu.temperature_c), " °C"),
    ]
    memory = _pair("mem", f"{gib(gpu.memory_used)} / {gib(gpu.memory_total)}", " GiB")
    if cells >= 36:
        memory = (*memory, *line("   ", percent(share), (" %", Role.DIM)))
    return [*flow(chips, cells, 2, "   " if cells >= 36 else "  "), memory]


def _compact(gpu: GpuSample, cells: int) -> Line:
    """One GPU on one line; the total memory and then the temperature give way."""
    unit = "G" if cells < 30 else " GiB"
    used = f"{gib(gpu.memory_used)}/{gib(gpu.memory_total)}" if cells >= 46 else gib(gpu.memory_used)
    return (
        *line((f"{gpu.index:>2} ", Role.DIM), f"{percent(gpu.utilisation):>3}", (" %", Role.DIM)),
        *line(f"{used:>{13 if cells >= 46 else 7}}", (unit, Role.DIM)),
        *line(f"{whole(gpu.power_w):>5}", (" W", Role.DIM)),
        *(line(f"{whole(gpu.temperature_c):>4}", (" °C", Role.DIM)) if cells >= 30 else ()),
    )


def _engine(tick: Tick, cells: int) -> list[Line]:
    engine = tick.engine
    if engine.state == "external":
        host = _pair("host cpu", percent(tick.host_cpu), " %"), _pair("mem", percent(tick.host_memory), " %")
        return [line(("external target", Role.DIM)), *flow(host, cells, 1)]
    wide = cells >= 36
    slots = f"{NONE if engine.running is None else engine.running}/{NONE if engine.slots is None else engine.slots}"
    chips = [
        _state(engine, wide),
        _pair("slots", slots),
        _pair("cpu", rate(engine.cpu), " cores" if wide else ""),
        _pair("rss", gib(engine.rss), " GiB"),
        _pair("kv", percent(engine.kv_used), " %"),
    ]
    if engine.restarts:
        chips.append(line(("restarts ", Role.WARN), whole(engine.restarts)))
    return flow(chips, cells, 3, "   " if wide else "  ")


def _state(engine: EngineSample, wide: bool) -> Line:
    glyph, role = ("●", Role.GOOD) if engine.state in ("ready", "running") else ("◐", Role.WARN)
    return line((f"{glyph} ", role), ("engine " if wide else "", Role.DIM), (engine.state, role))


def _pair(name: str, value: str, unit: str = "") -> Line:
    return line((f"{name} " if name else "", Role.DIM), Span(value), (unit, Role.DIM))


def _chart(snapshot: Snapshot, cells: int, rows: int, ascii_only: bool) -> list[Line]:
    if rows < 3:
        return []
    points = snapshot.points
    window = Window(0.0, snapshot.end_s, [(band.start_s, band.end_s) for band in snapshot.bands])
    gpus = bool(snapshot.tick and snapshot.tick.gpus)
    values = sample([p.t_s for p in points], [p.gpu if gpus else p.host_cpu for p in points], window, dots(cells))
    trace = Trace(values, Role.FIRST, filled=True)
    return framed([trace], Scale(1.0, None, ("100", "")), window, cells, rows, ascii_only=ascii_only)
