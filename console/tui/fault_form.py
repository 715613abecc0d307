"""Which fault to inject now, and how: every kind to the left, what the one under the cursor takes to the right."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from console.tui.snapshot import Snapshot
from scenarios.errors import HarnessError
from scenarios.faults.asked import DEFAULT_LENGTH_S, encode, read_asked
from scenarios.faults.kinds import KINDS, FaultKind, Param, Unit, Via
from scenarios.faults.possible import Setting


def setting_of(snapshot: Snapshot) -> Setting:
    """What is under trial, as far as the journal tells; the runner looks again before it does anything."""
    run, tick = snapshot.run, snapshot.tick
    facts = run.environment if run else {}
    return Setting(
        target=None if run is None or facts.get("engine_ours") is True else run.target,
        launched=facts.get("launched") is True,
        has_pid=facts.get("target_pid") is not None,
        gpus=len(tick.gpus) if tick else 0,
        gpu_note=tick.gpu_note if tick else "",
    )


_LENGTH, _SHARE = "for", "share"  # fields that are no parameters of the kind


class FaultForm(ModalScreen[str]):
    """Dismisses with the argument of a "fault" command; "" for none."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", id="fault.back"),
        Binding("slash", "filter", "Filter", id="fault.filter", key_display="/"),
    ]

    def __init__(self, not_here: dict[str, str]) -> None:
        """not_here: kinds that cannot be brought about against this target, and why."""
        super().__init__()
        self._not_here = not_here
        self._kind: FaultKind | None = None

    def compose(self) -> ComposeResult:
        with Vertical(id="faultbox") as box:
            box.border_title = "Inject a fault"
            box.border_subtitle = "enter inject   tab next field   / filter   esc back"
            with Horizontal():
                with Vertical(id="faultkinds"):
                    yield Input(placeholder="filter", compact=True, id="faultfilter")
                    yield OptionList(id="kinds", markup=False)
                with VerticalScroll(id="faultform"):
                    yield Static(id="faultabout", markup=False)
                    yield Vertical(id="faultfields")
                    yield Static(id="faultproblem", markup=False)

    def on_mount(self) -> None:
        self.set_class(getattr(self.app, "ascii_only", False), "-ascii")
        self._list("")
        self.query_one("#kinds").focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.input.id == "faultfilter":
            self._list(event.value)
        else:
            self._tell("")

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input.id == "faultfilter":
            self.query_one("#kinds").focus()
        else:
            self._inject()

    async def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        await self._show(KINDS[event.option_id or ""])

    def on_option_list_option_selected(self) -> None:
        fields = self.query("#faultfields Input")
        if fields:
            fields.first().focus()
        else:
            self._inject()

    def action_filter(self) -> None:
        self.query_one("#faultfilter").focus()

    def action_back(self) -> None:
        self.dismiss("")

    def _list(self, wanted: str) -> None:
        kinds = self.query_one("#kinds", OptionList)
        kinds.clear_options()
        found = [name for name in KINDS if wanted.strip().lower() in name]
        kinds.add_options(
            [Option(Content.styled(name, "$quiet" if name in self._not_here else ""), id=name) for name in found]
        )
        kinds.highlighted = 0 if found else None

    async def _show(self, kind: FaultKind) -> None:
        if kind is self._kind:
            return
        self._kind = kind
        why = self._not_here.get(kind.name)
        about = Content(kind.about + (f"\n\nnot here: {why}" if why else ""))
        self.query_one("#faultabout", Static).update(about)
        self._tell("")
        fields = self.query_one("#faultfields", Vertical)
        await fields.remove_children()
        rows = [] if kind.instant else [(_LENGTH, f"{DEFAULT_LENGTH_S:g}s", "how long")]
        if kind.via is Via.PROXY:
            rows.append((_SHARE, "1", "share that is hit, 0 to 1"))
        rows += [(param.name, _default(param), _about(param)) for param in kind.params]
        await fields.mount_all(
            Horizontal(
                Label(Content(f"{name:<12}")),
                Input(value, name=name, compact=True),
                Label(Content(words), classes="about"),
            )
            for name, value, words in rows
        )

    def _inject(self) -> None:
        kind = self._kind
        if kind is None:
            return
        if why := self._not_here.get(kind.name):
            self._tell(f"{kind.name} cannot be brought about here: {why}")
            return
        given = {field.name or "": field.value.strip() for field in self.query("#faultfields Input").results(Input)}
        length, share = given.pop(_LENGTH, ""), given.pop(_SHARE, "")
        try:
            self.dismiss(encode(read_asked(kind.name, length, share, given)))
        except HarnessError as error:
            self._tell(str(error))

    def _tell(self, problem: str) -> None:
        self.query_one("#faultproblem", Static).update(Content(problem))


def _default(param: Param) -> str:
    if isinstance(param.default, str):
        return param.default
    return f"{param.default:g}s" if param.unit is Unit.SECONDS else f"{param.default:.15g}"


def _about(param: Param) -> str:
    if param.words:
        return ", ".join(param.words)
    unit = {Unit.BYTES: "bytes: ", Unit.RATE: "bytes/s: "}.get(param.unit, "")
    return unit + param.about
