"""The console's app: attaches to a journal, hands its state to the bridge, and turns keys into commands."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from textual import work
from textual.app import App
from textual.binding import Binding
from textual.screen import Screen

from console import terminal
from console.errors import ConsoleError
from console.exits import Exit, exit_of
from console.launch import Launch
from console.tui import clean
from console.tui.ask import quit_question, stop_question, sure_question
from console.tui.bridge import Bridge
from console.tui.fault_form import FaultForm, setting_of
from console.tui.follow import PATIENCE_S, Follower, Following, newest_running
from console.tui.help import Help
from console.tui.messages import Frame, Launched, LaunchFailed, Nothing, Sent
from console.tui.picker import Catalogue, Picker, catalogue
from console.tui.snapshot import Phase, Snapshot
from console.tui.theme import DAY, NIGHT
from console.tui.verdict import VerdictView
from scenarios.errors import HarnessError
from scenarios.faults.asked import decode
from scenarios.faults.possible import not_possible
from scenarios.journal import send_command
from scenarios.sanitise import view

HANDLED = (HarnessError, ConsoleError, sqlite3.Error, OSError)
_ENDS = {
    Phase.FAILED: Exit.TARGET,
    Phase.INTERRUPTED: Exit.INTERRUPTED,
    Phase.GONE: Exit.INCONCLUSIVE,
    Phase.UNREADABLE: Exit.USAGE,
}
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGINT") if hasattr(signal, name))


class SeatrialApp(App[int]):
    """Its return code is the verdict's exit code when the run has ended, and 0 when it is left running."""

    TITLE = "seatrial"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = False

    def __init__(
        self,
        runs_dir: Path,
        journal: Path | None,
        launch: Launch | None,
        readonly: bool,
        *,
        read_catalogue: Catalogue = catalogue,
        follower: Callable[..., Follower] = Follower,
        ascii_only: bool | None = None,
    ) -> None:
        super().__init__()
        self._runs_dir = runs_dir
        self._journal = journal
        self._launch = launch
        self.readonly = readonly
        self._read_catalogue = read_catalogue
        self._follower = follower
        self.ascii_only = not terminal.encodes(sys.__stdout__ or sys.stdout) if ascii_only is None else ascii_only
        self._following: Following | None = None
        self._source = 0
        self.snapshot = Snapshot()  # the newest state known
        self._held: Snapshot | None = None  # what the view shows while it is paused
        self._launching = False
        self.register_theme(NIGHT)
        self.register_theme(DAY)
        self.theme = NIGHT.name

    # -- the run that is followed

    def get_default_screen(self) -> Screen[None]:
        return Bridge(ascii_only=self.ascii_only)

    def on_mount(self) -> None:
        self._handle_signals()

    def on_ready(self) -> None:
        if self._journal is not None:
            self.follow(self._journal)
        else:
            self._look_for_a_run()

    def on_unmount(self) -> None:
        if self._following is not None:
            self._following.stop()
        for number in _SIGNALS:
            with suppress(NotImplementedError, RuntimeError, ValueError):
                asyncio.get_running_loop().remove_signal_handler(number)

    def follow(self, journal: Path, patience_s: float = 0.0) -> None:
        """Attach to the journal; whatever was followed before is let go."""
        if self._following is not None:
            self._following.stop()
        self._source += 1
        self._journal = journal
        self._held = None
        source = self._source
        self._following = Following(
            partial(self._follower, journal, patience_s=patience_s),
            lambda snapshot: self._deliver(snapshot, source),
        )
        self._take(Snapshot(run_id=clean.text(journal.parent.name), phase=Phase.OPENING))
        self._following.start()

    @work(thread=True)
    def _look_for_a_run(self) -> None:
        journal = newest_running(self._runs_dir)
        self.post_message(Launched(journal) if journal is not None else Nothing())

    def _deliver(self, snapshot: Snapshot, source: int) -> None:
        self.post_message(Frame(snapshot, source))

    def on_frame(self, message: Frame) -> None:
        if message.source == self._source:
            self._take(message.snapshot)

    def on_nothing(self) -> None:
        self._take(Snapshot())
        self.action_pick()

    def _take(self, snapshot: Snapshot) -> None:
        before, self.snapshot = self.snapshot, snapshot
        ended = snapshot.document is not None and before.document is None
        if ended:
            self._held = None
        if self._held is None:
            self._bridge.show(snapshot)
        if (before.phase, before.document is None) != (snapshot.phase, snapshot.document is None):
            self._bridge.refresh_bindings()
        if ended:
            if self.screen is self._bridge:
                self.action_verdict()
            else:
                self.say("The run has ended; v on the bridge shows its verdict.")

    @property
    def _bridge(self) -> Bridge:
        bridge = self.screen_stack[0]
        assert isinstance(bridge, Bridge)
        return bridge

    # -- keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hidden where this console may not, greyed where there is nothing to act on."""
        live = self.snapshot.phase.live
        if action in ("fault", "stop"):
            return False if self.readonly else True if live else None
        if action == "end_faults":
            on = live and self.snapshot.tick is not None and bool(self.snapshot.tick.faults)
            return False if self.readonly else True if on else None
        if action == "pause":
            return True if live or self._held is not None else None
        if action == "verdict":
            return self.snapshot.document is not None
        return not (action == "pick" and self.readonly)

    def action_help(self) -> None:
        table = [b for b in Bridge.BINDINGS if isinstance(b, Binding)]
        self.push_screen(Help(b for b in table if self.check_action(b.action.removeprefix("app."), ()) is not False))

    def action_theme(self) -> None:
        self.theme = DAY.name if self.theme == NIGHT.name else NIGHT.name

    def action_verdict(self) -> None:
        self.push_screen(VerdictView(self.snapshot, ascii_only=self.ascii_only))

    def action_pause(self) -> None:
        if self._held is None:
            self._held = replace(self.snapshot, paused=True)
            self._bridge.show(self._held)
        else:
            self._held = None
            self._bridge.show(self.snapshot)

    def action_pick(self) -> None:
        may_start = self._launch is not None and not self.readonly
        self.push_screen(Picker(self._read_catalogue, may_start=may_start, ascii_only=self.ascii_only), self._start)

    def action_stop(self) -> None:
        self.push_screen(stop_question(self.snapshot.short_id), self._stop)

    def action_fault(self) -> None:
        self.push_screen(FaultForm(not_possible(setting_of(self.snapshot))), self._fault)

    def action_end_faults(self) -> None:
        self._send("end_faults")

    def action_leave(self) -> None:
        if self.snapshot.phase.live:
            self.push_screen(quit_question(self.snapshot.short_id, self.readonly), self._leave)
        else:
            self._finish()

    async def action_quit(self) -> None:
        """ctrl+q, from anywhere: leave at once; a live run goes on."""
        self._finish()

    # -- what they lead to

    def _start(self, name: str | None) -> None:
        if not name or self._launch is None:
            return
        if self._launching or self.snapshot.phase.live or self.snapshot.phase is Phase.OPENING:
            self.say("A run is still on; stop it first (x).", "warning")
            return
        self._launching = True
        self.say(f"Starting {name}")
        # A thread of its own: quitting does not wait for a launch that takes its time.
        threading.Thread(target=self._start_runner, args=(self._launch, name), daemon=True).start()

    def _start_runner(self, launch: Launch, name: str) -> None:
        try:
            self.post_message(Launched(launch(name)))
        except HANDLED as error:
            self.post_message(LaunchFailed(str(error)))

    def on_launched(self, message: Launched) -> None:
        self._launching = False
        self.follow(message.journal, PATIENCE_S)

    def on_launch_failed(self, message: LaunchFailed) -> None:
        self._launching = False
        self.say(f"The run did not start: {message.why}", "error")

    def _fault(self, what: str | None) -> None:
        if what:
            self.push_screen(sure_question(decode(what).kind), partial(self._inject, what))

    def _inject(self, what: str, sure: str | None) -> None:
        if sure:
            self._send("fault", what)

    def _stop(self, answer: str | None) -> None:
        if answer:
            self._send("stop")

    def _leave(self, what: str | None) -> None:
        if what == "stop":
            self._send("stop", then_exit=True)
        elif what == "leave":
            self._finish()

    @work(thread=True, group="commands")
    def _send(self, kind: str, argument: str = "", then_exit: bool = False) -> None:
        problem = "there is no run"
        if self._journal is not None:
            try:
                send_command(self._journal, kind, argument)
                problem = ""
            except HANDLED as error:
                problem = str(error)
        self.post_message(Sent(f"{kind} {argument}".rstrip(), problem, then_exit))

    def on_sent(self, message: Sent) -> None:
        if message.problem:
            self.say(f"The command did not get through: {message.problem}", "error")
        elif message.then_exit:
            self._finish(Exit.INTERRUPTED)
        else:
            self.say(f"Asked the run: {message.what}")

    def say(self, words: str, severity: str = "information") -> None:
        """A short notice; never markup."""
        level = {"warning": "warning", "error": "error"}.get(severity, "information")
        self.notify(view(words, 600, lines=True), severity=level, timeout=6, markup=False)  # type: ignore[arg-type]

    def _finish(self, code: int | None = None) -> None:
        code = self._code() if code is None else code
        self.exit(code, return_code=code)

    def _code(self) -> int:
        if self.snapshot.document is not None:
            return int(exit_of(self.snapshot.document))
        return int(_ENDS.get(self.snapshot.phase, Exit.GO))

    def _handle_signals(self) -> None:
        """Textual leaves the alternate screen on when it is killed; so a signal is a way to exit like any other."""
        for number in _SIGNALS:
            with suppress(NotImplementedError, RuntimeError, ValueError):  # not the main thread, or no such thing here
                asyncio.get_running_loop().add_signal_handler(number, self._finish, 128 + number)


def run_console(runs_dir: Path, journal: Path | None, launch: Launch | None, readonly: bool) -> int:
    """Open the console and stay until it is left; the exit code of the process."""
    app = SeatrialApp(runs_dir, journal, launch, readonly)
    result = app.run()
    code = result if result is not None else app.return_code or 0
    if app.snapshot.phase.live and app._journal != journal:  # of the run it was opened on, the caller tells
        run = app.snapshot.run_id
        terminal.note(f"run {app.snapshot.short_id} is still at work; `seatrial watch {run}` comes back to it")
    return code
