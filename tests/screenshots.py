"""Screenshots of real runs for the documentation: `python -m tests.screenshots [--out FOLDER] [SCENARIO ...]`.

Each scenario is started the way the console starts it, as a process of its own; the app is attached without a terminal
and drawn mid-run at two sizes, and once more with the verdict. Only where a run really goes is there a picture of it.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot

from console import terminal
from console.commands.start import default_launcher
from console.tui.app import SeatrialApp
from console.tui.bridge import Bridge
from console.tui.snapshot import Phase
from console.tui.verdict import VerdictView
from scenarios.catalogue import names

SIZES = ((160, 48), (80, 24))
PATIENCE_S = 900.0


class NoPicture(Exception):
    """The run did not get as far as its picture."""


async def until(pilot: Pilot[int], what: str, condition: Callable[[], bool]) -> None:
    app = pilot.app
    assert isinstance(app, SeatrialApp)
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        if app.snapshot.phase in (Phase.GONE, Phase.FAILED, Phase.UNREADABLE):
            raise NoPicture(f"the run is {app.snapshot.phase.value} before {what}: {app.snapshot.problem}")
        if time.monotonic() > give_up_at:
            raise NoPicture(f"no {what} in {PATIENCE_S:g} s")
        await pilot.pause(0.1)
    await pilot.pause(0.3)


async def picture(app: SeatrialApp, pilot: Pilot[int], size: tuple[int, int], file: Path) -> None:
    await pilot.resize_terminal(*size)
    await pilot.pause(0.3)
    save(file, app.export_screenshot(title="seatrial"))


def save(file: Path, svg: str) -> None:
    """Write the picture; it asks for fonts of the reader's machine only, not for some on the web."""
    file.write_text(re.sub(r',\s*url\("https?:[^"]*"\)\s*format\("\w+"\)', "", svg), encoding="utf-8")
    terminal.note(str(file))


async def scenario(name: str, journal: Path, folder: Path, share: float) -> None:
    app = SeatrialApp(journal.parent.parent, journal, None, False, ascii_only=False)
    async with app.run_test(size=SIZES[0]) as pilot:

        def far_enough() -> bool:
            tick = app.snapshot.tick
            return tick is not None and tick.t_s >= share * tick.duration_s

        await until(pilot, f"{share:.0%} of the run", far_enough)
        if not isinstance(app.screen, Bridge):
            raise NoPicture("the run was over before it could be drawn")
        for size in SIZES:
            await picture(app, pilot, size, folder / f"{name}-{size[0]}x{size[1]}.svg")
        await until(pilot, "the verdict", lambda: isinstance(app.screen, VerdictView))
        await picture(app, pilot, SIZES[0], folder / f"{name}-verdict-{SIZES[0][0]}x{SIZES[0][1]}.svg")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="default: the whole catalogue")
    parser.add_argument("--out", type=Path, default=Path("docs/screenshots"), help="default: docs/screenshots")
    parser.add_argument("--runs-dir", type=Path, help="default: a folder that is thrown away")
    parser.add_argument("--at", type=float, default=0.6, metavar="SHARE", help="share of the run (default 0.6)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="seatrial-screenshots-") as scratch:
        launch = default_launcher((args.runs_dir or Path(scratch)).absolute())
        for name in args.scenarios or names():
            terminal.note(f"{name} ...")
            try:
                asyncio.run(scenario(name, launch(name), args.out, args.at))
            except NoPicture as error:
                terminal.say(f"{name}: {error}")
                return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
