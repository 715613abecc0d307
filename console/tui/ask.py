"""Questions over the bridge: each with its answers as a list, a letter for each, and the safe one first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option


class Answer(NamedTuple):
    """One way to answer: its letter, the value it gives, and its words."""

    key: str
    value: str
    words: str


class Ask(ModalScreen[str]):
    """Dismisses with the value of the chosen answer; escape gives ""."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "choose('')", "Cancel", id="ask.cancel")]

    def __init__(self, title: str, question: str, answers: Sequence[Answer]) -> None:
        super().__init__()
        self._heading = title
        self._question = question
        self._answers = tuple(answers)

    def compose(self) -> ComposeResult:
        with Vertical(id="box") as box:
            box.border_title = Content(self._heading)
            yield Static(Content(self._question), id="question")
            options = [
                Option(Content.assemble((f" {a.key:>3} ", "bold $accent"), f" {a.words}"), id=a.value or "cancel")
                for a in self._answers
            ]
            yield OptionList(*options, id="answers", markup=False)

    def on_mount(self) -> None:
        self.set_class(getattr(self.app, "ascii_only", False), "-ascii")
        for answer in self._answers:
            if answer.key != "esc":
                self._bindings.bind(answer.key, f"choose('{answer.value}')", answer.words, show=False)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss("" if event.option_id == "cancel" else event.option_id or "")

    def action_choose(self, value: str) -> None:
        self.dismiss(value)


def stop_question(run: str) -> Ask:
    """Whether to stop the run."""
    return Ask(
        "Stop the run",
        f"Run {run} stops sending, waits for what is in flight and judges what there is.",
        [Answer("n", "", "no, let it go on"), Answer("y", "stop", "yes, stop it")],
    )


def quit_question(run: str, readonly: bool) -> Ask:
    """What is to become of a run that is still on."""
    answers = [
        Answer("l", "leave", "leave it running; `seatrial watch` comes back to it"),
        Answer("s", "stop", "stop it and leave"),
        Answer("esc", "", "stay here"),
    ]
    return Ask("Quit", f"Run {run} is still on.", [a for a in answers if a.value != "stop" or not readonly])


def sure_question(what: str) -> Ask:
    """Once more before a fault."""
    question = "It goes into the journal, and the run is judged with it; u ends it before its time."
    return Ask(f"{what}?", question, [Answer("n", "", "no"), Answer("y", "yes", f"yes, {what}")])
