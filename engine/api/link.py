"""The API process's side of the decode process: start it, hear it, see it die or hang, start it again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from enum import Enum

from msgspec.structs import replace

from engine import wire
from engine.api.asks import Answer, Asks, Question
from engine.api.child import DecodeChild, spawn_decode
from engine.api.metrics import Metrics
from engine.api.tickets import Ticket, Tickets
from engine.config import EngineConfig
from engine.errors import Unavailable
from engine.model_files import ModelFiles
from engine.process import log
from engine.restarts import RestartBudget
from engine.silence import Silence, judge, limit_s

WATCH_S = 0.1


class LinkState(Enum):
    """Where the decode process stands."""

    STARTING = "starting"
    READY = "ready"
    STALLED = "stalled"
    RESTARTING = "restarting"
    GAVE_UP = "dead"
    CLOSED = "stopped"


class DecodeLink:
    """One decode process at a time. All methods run in the event loop's thread."""

    def __init__(
        self, config: EngineConfig, child: DecodeChild, metrics: Metrics, report: Callable[[str, str], None]
    ) -> None:
        self._config = config
        self._child = child
        self._metrics = metrics
        self._report = report
        self._budget = RestartBudget(config.max_deaths, config.restart_window_s)
        self._transport: asyncio.Transport | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._restarter: asyncio.Task[None] | None = None
        self._receiver: _Receiver | None = None
        self._pauses: asyncio.Queue[float] = asyncio.Queue()
        self._files = ModelFiles(config)
        self._first_hello: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._heard_ns = time.monotonic_ns()
        self._silence_limit_s = config.hang_timeout_s
        self._stalled_at = (0.0, 0.0)
        """When it stalled, and the processor time it had used by then."""
        self._fatal = ""
        self.state = LinkState.STARTING
        self.detail = "the model is loading"
        self.facts: wire.ModelFacts | None = None
        self.tickets = Tickets(config.slots, config.queue_limit)
        self.asks = Asks(self.tickets.recent)

    @property
    def pid(self) -> int:
        """Of the decode process, which may be starting; 0 between two of them."""
        return 0 if self._child.process.returncode is not None else self._child.pid

    @property
    def silent_s(self) -> float:
        """Seconds since the decode process was last heard."""
        return (time.monotonic_ns() - self._heard_ns) / 1e9

    async def start(self) -> str:
        """Connect to the child and wait for its model. Returns "" or why it did not become ready."""
        await self._connect()
        self._watcher = asyncio.create_task(self._watch(), name="decode-watch")
        self._restarter = asyncio.create_task(self._restart(), name="decode-restart")
        try:
            async with asyncio.timeout(self._config.start_timeout_s):
                await self._first_hello
        except TimeoutError:
            return f"the model was not loaded after {self._config.start_timeout_s:g} s"
        return self._fatal

    def submit(
        self, command: Callable[[int], wire.Submit], received_ns: int, key: str = "", deadline_ns: int = 0
    ) -> Ticket:
        """Open a ticket and send its request, which `command` makes from an id; key and deadline are set here.

        Raises Overloaded or Unavailable.
        """
        self._check_up()
        ticket = self.tickets.issue(received_ns, key)
        self._send(replace(command(ticket.id), key=key, deadline_ns=deadline_ns))
        return ticket

    async def ask(self, command: Callable[[int], Question], received_ns: int, key: str = "") -> Answer:
        """The answer to a question, which `command` makes from an id. Its `error` says why it is empty.

        Raises Overloaded, or Unavailable when the decode process is or goes away.
        """
        self._check_up()
        self.asks.check(received_ns, key)
        question = command(self.tickets.next_id())
        if isinstance(question, wire.Embed):
            question = replace(question, key=key)
        answer = self.asks.open(question.id, key)
        self._send(question)
        try:
            return await answer
        except asyncio.CancelledError:
            if isinstance(question, wire.Embed):
                self._send(wire.Cancel(question.id))
            raise

    def close_ticket(self, ticket: Ticket) -> None:
        """The request is done with. If it had not finished, its slot and memory are freed at the next step."""
        if self.tickets.close(ticket):
            self._send(wire.Cancel(ticket.id))

    def fail_open(self, why: str) -> None:
        """Every open request and question gets a terminal error now."""
        self.tickets.fail_all(why)
        self.asks.fail_all(why)

    async def drained(self) -> None:
        """Wait until no request and no question is open."""
        await self.tickets.drained()
        await self.asks.drained()

    async def close(self) -> None:
        """End the decode process and wait until it is gone."""
        self.state, self.detail = LinkState.CLOSED, "the engine is shutting down"
        for task in (self._watcher, self._restarter):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        await self._bury()

    def _check_up(self) -> None:
        if self.state is not LinkState.READY and self.state is not LinkState.STALLED:
            raise Unavailable(f"The engine cannot answer now: {self.detail}.", code=f"engine_{self.state.value}")

    def _send(self, command: wire.Command) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(wire.pack(command))

    async def _connect(self) -> None:
        self._heard_ns = time.monotonic_ns()
        self._receiver = receiver = _Receiver(self)
        transport, _protocol = await asyncio.get_running_loop().create_connection(
            lambda: receiver, sock=self._child.sock
        )
        self._transport = transport

    def heard(self, frame: wire.Frame) -> None:
        """A frame came in."""
        self._heard_ns = time.monotonic_ns()
        if isinstance(frame, wire.Step):
            self._on_step(frame)
        elif isinstance(frame, wire.Hello):
            self._on_hello(frame)
        elif isinstance(frame, wire.Tokens | wire.Vector):
            self.asks.answered(frame)
        else:
            self._fatal = frame.message

    def _on_hello(self, hello: wire.Hello) -> None:
        self.facts = hello.facts
        self._silence_limit_s = limit_s(self._config.hang_timeout_s, hello.slowest_step_s)
        restarted = self.state is LinkState.RESTARTING
        self.state, self.detail = LinkState.READY, ""
        self._metrics.on_start(hello.facts.slots, hello.facts.ctx, self._config.queue_limit)
        if not self._first_hello.done():
            self._first_hello.set_result(None)
        if restarted:
            self._report("recovered", f"decode process {hello.pid} is ready")

    def _on_step(self, step: wire.Step) -> None:
        if self.state is LinkState.STALLED:
            self.state, self.detail = LinkState.READY, ""
            self._metrics.up.set(1)
            self._report("recovered", "the decode loop moves again")
        metrics, tickets = self._metrics, self.tickets
        for admitted in step.admitted:
            if ticket := tickets.admit(admitted):
                metrics.queue.observe(max(0.0, (admitted.t_ns - ticket.received_ns) / 1e9))
                metrics.tokens.labels("prompt").inc(admitted.prompt_tokens)
                metrics.cached.inc(admitted.cached_tokens)
        for output in step.outputs:
            tickets.deliver(step.t_ns, output)
            if output.finish:
                self.asks.ended(output.id)
        metrics.on_step(step)

    def lost(self, receiver: _Receiver) -> None:
        """A socket closed. If it is the current one, the decode process died."""
        if receiver is not self._receiver or self.state in (LinkState.CLOSED, LinkState.GAVE_UP):
            return
        if self.state is LinkState.STARTING:
            self._fatal = self._fatal or "the decode process died while the model was loading"
            self.state, self.detail = LinkState.GAVE_UP, self._fatal
            if not self._first_hello.done():
                self._first_hello.set_result(None)
            return
        self._died(self._fatal or "its socket closed")

    def _died(self, why: str) -> None:
        self._fatal = ""
        pid = self._child.pid
        log("api", "decode_died", pid=pid, why=why)
        self._metrics.on_death()
        self.state, self.detail = LinkState.RESTARTING, f"the decode process died ({why}) and is being restarted"
        self.fail_open("the decode process died while answering; send the request again")
        self._report("died", f"decode process {pid}: {why}")
        pause_s = self._budget.after_death(time.monotonic())
        if pause_s is None:
            count, window_s = self._budget.limit, self._budget.window_s
            self.state = LinkState.GAVE_UP
            self.detail = f"the decode process died {count} times in {window_s:g} s (last: {why}); restart the engine"
            log("api", "gave_up", why=why)
            self._report("gave_up", self.detail)
        else:
            self._pauses.put_nowait(pause_s)

    async def _restart(self) -> None:
        while True:
            pause_s = await self._pauses.get()
            await self._bury()
            if await self._files.whole(self._wait_for_model, lambda: False):
                pause_s = 0.0
            self._report("restarting", f"decode process, after {pause_s:g} s")
            await asyncio.sleep(pause_s)
            self._metrics.restarts.inc()
            try:
                self._child = spawn_decode(self._config)
            except OSError as error:
                self._died(f"it cannot be started: {error.strerror}")
                continue
            self._report("spawned", f"decode process {self._child.pid}")
            await self._connect()

    def _wait_for_model(self, problem: str) -> None:
        self.detail = f"the decode process died and is restarted as soon as its model can be read ({problem})"
        log("api", "waiting", model=problem)
        self._report("waiting", f"for the model: {problem}")

    async def _bury(self) -> None:
        self._receiver = None
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        child = self._child
        child.kill()
        await asyncio.get_running_loop().run_in_executor(None, child.process.wait)

    async def _watch(self) -> None:
        """Mark the engine stalled at half the limit, kill the decode process at the limit."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(WATCH_S)
            if time.monotonic() - before > WATCH_S + 0.5:
                continue  # this process was held up itself: read what is waiting first
            if self.state is LinkState.RESTARTING:
                if self._child.process.poll() is None and self.silent_s > self._config.start_timeout_s:
                    self._child.kill()
            elif self.state is LinkState.READY or self.state is LinkState.STALLED:
                await self._listen()

    async def _listen(self) -> None:
        silent_s, stalled = self.silent_s, self.state is LinkState.STALLED
        heard = judge(silent_s, self._silence_limit_s, self._working_share() if stalled else 0.0)
        if heard is not Silence.NORMAL and not stalled:
            self._stalled_at = time.monotonic(), self._child.cpu_s()
            self.state, self.detail = LinkState.STALLED, "the decode loop stalled"
            self._metrics.up.set(0)
            log("api", "decode_stalled", silent_s=silent_s)
            self._report("stalled", f"nothing heard for {silent_s:.1f} s")
        elif heard is Silence.HUNG:
            log("api", "decode_hung", silent_s=silent_s)
            self._report("hung", f"decode process {self._child.pid}: nothing heard for {silent_s:.1f} s")
            self._fatal = f"it hung for {silent_s:.1f} s and was killed"
            self._child.kill()
            # A large model is freed for seconds; until then it is not hung again.
            await asyncio.get_running_loop().run_in_executor(None, self._child.process.wait)

    def _working_share(self) -> float:
        """Cores that the decode process used since it stalled."""
        at_s, cpu_s = self._stalled_at
        return (self._child.cpu_s() - cpu_s) / max(time.monotonic() - at_s, 1e-3)


class _Receiver(asyncio.Protocol):
    """Feeds one child's frames to the link; after its connection is lost it stays silent."""

    def __init__(self, link: DecodeLink) -> None:
        self._link = link
        self._unpacker = wire.Unpacker()

    def data_received(self, data: bytes) -> None:
        for body in self._unpacker.feed(data):
            self._link.heard(wire.frame_decoder.decode(body))

    def connection_lost(self, exc: Exception | None) -> None:
        self._link.lost(self)
