"""What the operator asks of a run while it goes on: rows of the journal, obeyed and answered by events."""

from __future__ import annotations

import asyncio

from scenarios.faults.asked import AskedWrongly, decode
from scenarios.faults.words import params_in_words
from scenarios.journal import Command, JournalWriter
from scenarios.runner.fault_board import FaultBoard
from scenarios.runner.record import Record


class Commands:
    """Obeys each command once, in their order. taken: the number of the last one."""

    def __init__(self, journal: JournalWriter, record: Record, stop: asyncio.Event, faults: FaultBoard) -> None:
        self.taken = 0
        self._journal = journal
        self._record = record
        self._stop = stop
        self._faults = faults

    async def obey(self) -> None:
        """Obey what was asked since the last time. Raises JournalError."""
        for command in await asyncio.to_thread(self._journal.take_commands, self.taken):
            self.taken = command.id
            self._obey(command)

    def _obey(self, command: Command) -> None:
        match command.kind:
            case "stop":
                self._stop.set()
            case "fault":
                self._inject(command)
            case "end_faults":
                count = self._faults.end_all("the operator ended it")
                what = "no fault is on" if not count else f"ends {count} fault{'s' if count > 1 else ''}"
                self._record.emit("operator.end_faults", what)
            case _:
                self._record.emit("operator.unknown", f"no command {command.kind}")

    def _inject(self, command: Command) -> None:
        try:
            fault = decode(command.argument)
        except AskedWrongly as error:
            self._record.emit("fault.refused", f"{command.argument[:200]}: {error}")
            return
        length = f" for {fault.for_s:g}s" if fault.for_s else ""
        words = f": {words}" if (words := params_in_words(fault)) else ""
        self._record.emit("operator.fault", f"asks for {fault.kind}{length}{words}")
        self._faults.inject(fault, command.id)
