"""The decode loop: commands in, llama.cpp steps, frames out."""

from __future__ import annotations

import heapq
import socket
import threading
import time

from engine import wire
from engine.decode.answer import Answer, NotNumbers
from engine.decode.embeddings import Embeddings
from engine.decode.frame import Frame
from engine.decode.images import is_image, span_at
from engine.decode.inbox import Inbox
from engine.decode.llama import Interrupted, Llama, NoRoom
from engine.decode.outcome import admit, apply, by_adapter
from engine.decode.pace import Pace
from engine.decode.planning import plan
from engine.decode.preparing import Prepared, Preparer
from engine.decode.projector import Part
from engine.decode.schedule import Chosen, Chunk, DecodeRow, Ended, Ending, Plan, Schedule, Sequence
from engine.decode.settings import DecodeSettings
from engine.decode.text import TextAssembler
from engine.decode.warmup import Speed
from engine.errors import ConstraintError, DecodeError
from engine.process import log

IDLE_BEAT_S = 0.2
"""An idle loop sends a heartbeat this often."""
_FEW = 64
"""Deadlines of requests that have ended are swept out only beyond so many."""


class DecodeLoop:
    """Owns the model, the schedule and the socket to the API process."""

    def __init__(self, llama: Llama, peer: socket.socket, settings: DecodeSettings, speed: Speed) -> None:
        self._llama = llama
        self._peer = peer
        self._isolate_keys = settings.isolate_keys
        self._news = threading.Event()
        self._inbox = Inbox(peer, self._news.set)
        self._preparer = Preparer(llama, self._news.set)
        self._embeddings = Embeddings(llama)
        self._pace = Pace(settings.step_target_s, speed.token_s, most=4 * llama.chunk)
        self._state = Schedule(
            slots=llama.slots,
            ctx=llama.ctx,
            chunk=llama.chunk,
            budget=llama.chunk,
            aligned=llama.deterministic,
            sharing=settings.prefix_cache and llama.shares,
            worth=speed.worth,
        )
        self._answers: dict[int, Answer] = {}
        self._deadlines: list[tuple[int, int]] = []
        self._frame = Frame()
        self._failures = 0
        self._posted_s = 0.0
        """When the last frame was sent."""

    def run(self) -> None:
        """Serve until the API process closes its end. Raises DecodeError when llama.cpp fails again and again."""
        state = self._state
        try:
            while not self._inbox.closed:
                if not state.running and not state.waiting and not self._embeddings.pending:
                    self._news.wait(IDLE_BEAT_S)
                self._news.clear()
                self._obey_all()
                self._accept_prepared()
                self._expire()
                self._step()
                if vector := self._embeddings.step():
                    self._post(vector)
        except (BrokenPipeError, ConnectionResetError):
            log("decode", "peer_gone")
        finally:
            self._inbox.close()
            self._preparer.close()
            for answer in self._answers.values():
                answer.close()

    def _obey_all(self) -> None:
        for command in self._inbox.take():
            if not isinstance(command, wire.Cancel):
                self._preparer.put(command)
                if isinstance(command, wire.Submit) and command.deadline_ns:
                    self._remember(command.deadline_ns, command.id)
            elif self._preparer.cancel(command.id) or self._embeddings.cancel(command.id):
                self._frame.outputs.append(wire.Output(command.id, "", 0, finish=Ending.CANCELLED.value))
            else:
                self._end(command.id, Ending.CANCELLED)

    def _accept_prepared(self) -> None:
        for done in self._preparer.take():
            if isinstance(done, wire.Tokens | wire.Vector):
                self._post(done)
            elif isinstance(done.request, wire.Embed):
                self._embeddings.put(done.request.id, done.prompt.tokens)
            else:
                self._accept(done.request, done)

    def _accept(self, request: wire.Submit, done: Prepared) -> None:
        outputs, count = self._frame.outputs, len(done.prompt.tokens)
        if done.error:
            outputs.append(wire.Output(request.id, "", 0, finish="refused", error=done.error))
            return
        if count >= self._llama.ctx:
            outputs.append(wire.Output(request.id, "", 0, finish="refused", prompt_tokens=count))
            return
        try:
            sampler = self._llama.sampler(request.sampling)
        except DecodeError as error:
            outputs.append(wire.Output(request.id, "", 0, finish="error", error=str(error)))
            return
        text = TextAssembler(request.stop)
        self._answers[request.id] = Answer(request, sampler, done.matcher, text, count, done.prompt.rows)
        self._state.submit(
            Sequence(
                request.id,
                done.prompt.tokens,
                max_new=request.max_tokens or self._llama.ctx,
                key=request.key,
                priority=request.priority,
                adapter=request.adapter,
                root=f"{request.adapter}\0{request.key if self._isolate_keys else ''}",
                images=done.prompt.images,
            )
        )

    def _remember(self, deadline_ns: int, id: int) -> None:
        heapq.heappush(self._deadlines, (deadline_ns, id))
        live = self._answers.keys() | self._preparer.ids
        if len(self._deadlines) > _FEW + 2 * len(live):
            self._deadlines = [entry for entry in self._deadlines if entry[1] in live]
            heapq.heapify(self._deadlines)

    def _expire(self) -> None:
        """End what is of no use any more."""
        while self._deadlines and self._deadlines[0][0] <= time.monotonic_ns():
            _deadline, id = heapq.heappop(self._deadlines)
            if self._preparer.cancel(id):
                self._frame.outputs.append(wire.Output(id, "", 0, finish=Ending.DEADLINE.value))
            else:
                self._end(id, Ending.DEADLINE)

    def _step(self) -> None:
        began = time.perf_counter()
        state, frame = self._state, self._frame
        state.turns.tick(began)
        if not state.aligned:
            streams = any(not sequence.prefilling for sequence in state.running.values())
            state.budget = self._pace.prompt_tokens(streams=streams)
        step = plan(state)
        try:
            if step.preempt is not None:
                state.preempt(step.preempt)
                frame.preempted += 1
            self._admit(step)
            if step.rows:
                self._rows(step.rows)
                if step.chunks:  # those who stream need not wait for the prompts of others
                    self._send(0.0)
            for chunk in step.chunks:
                self._obey_all()  # those who left are not computed any more
                self._chunk(chunk)
            self._failures = 0 if not step.empty else self._failures
        except NoRoom:
            self._make_room()
        except DecodeError as error:
            self._fail_all(error)
        self._send(time.perf_counter() - began)

    def _admit(self, step: Plan) -> None:
        now = time.monotonic_ns()
        for given, sequence in zip(step.admit, admit(self._state, step), strict=True):
            self._llama.start(given.slot, given.source, given.reused)
            answer = self._answers[sequence.id]
            cached = min(given.reused, answer.prompt_tokens)
            self._frame.admitted.append(wire.Admitted(sequence.id, now, answer.prompt_tokens, cached))

    def _rows(self, rows: tuple[DecodeRow, ...]) -> None:
        """One token for every running stream; those of one LoRA adapter together."""
        running, took_s = self._state.running, 0.0
        for adapter, group in by_adapter(rows, running):
            start = time.perf_counter()
            self._llama.decode_rows(group, adapter)
            took_s += time.perf_counter() - start
            chosen: dict[int, Chosen] = {}
            for index, row in enumerate(group):
                self._choose(row.id, index, chosen)
                if time.monotonic() - self._posted_s > IDLE_BEAT_S:  # constraints may take long, one after another
                    self._post(self._told(Frame(), 0.0))
            self._settle(Plan((), tuple(row for row in group if row.id in chosen), ()), chosen)
        self._frame.decode_s += took_s
        self._pace.decoded(took_s)

    def _chunk(self, chunk: Chunk) -> None:
        sequence = self._state.running.get(chunk.slot)
        if sequence is None or sequence.id != chunk.id:
            return  # it left since the step was planned
        start = time.perf_counter()
        self._inbox.watch(chunk.id, self._llama.interrupt)
        try:
            self._prefill(chunk, sequence)
        except Interrupted:
            return  # its Cancel is the next thing to be obeyed
        finally:
            self._inbox.unwatch()
            self._llama.resume()
        took_s = time.perf_counter() - start
        self._frame.decode_s += took_s
        self._pace.computed(len(chunk.tokens), took_s)
        chosen: dict[int, Chosen] = {}
        if chunk.last:
            self._choose(chunk.id, 0, chosen)
        if chosen or not chunk.last:
            self._settle(Plan((), (), (chunk,)), chosen)

    def _prefill(self, chunk: Chunk, sequence: Sequence) -> None:
        slot, last, adapter = chunk.slot, chunk.last, sequence.adapter
        if is_image(chunk.tokens[0]):
            index, span = span_at(sequence.images, chunk.start)
            part = Part(self._answers[chunk.id].rows[index], chunk.start - span.start, len(chunk.tokens), span.whole)
            self._llama.prefill_image(slot, span.start, part, wants_logits=last, adapter=adapter)
        else:
            self._llama.prefill(slot, chunk.start, chunk.tokens, wants_logits=last, adapter=adapter)

    def _choose(self, id: int, row: int, chosen: dict[int, Chosen]) -> None:
        """The next token goes into `chosen`, its text into the frame. A broken constraint ends its own request."""
        answer = self._answers[id]
        try:
            chosen[id], text = answer.choose(self._llama, row)
        except ConstraintError as error:
            self._end(id, Ending.REFUSED, str(error))
            return
        except NotNumbers as error:
            if ended := self._end(id, Ending.ERROR, str(error)):  # what it has computed is not to be shared
                self._state.forget(ended.slot)
                self._llama.start(ended.slot, ended.slot, 0)
            return
        self._frame.sample_s += answer.sample_s
        self._frame.texts[id] = text

    def _settle(self, done: Plan, chosen: dict[int, Chosen]) -> None:
        """Write computed parts back, and what they brought into the frame."""
        for end in apply(self._state, done, chosen):
            self._finish(end, self._frame.texts.pop(end.id))
        for id, text in self._frame.texts.items():
            self._frame.outputs.append(wire.Output(id, text, 1, logprobs=self._answers[id].taken_logprobs()))
        self._frame.texts.clear()

    def _end(self, id: int, ending: Ending, error: str = "") -> Ended | None:
        ended = self._state.end(id, ending)
        if ended:
            self._finish(ended, "", error)
        return ended

    def _finish(self, end: Ended, text: str, error: str = "") -> None:
        answer = self._answers.pop(end.id)
        answer.close()
        if end.slot >= 0 and not self._state.sharing:
            self._llama.start(end.slot, end.slot, 0)
        text += answer.text.push(b"", final=True)
        natural = end.ending in (Ending.STOP, Ending.LENGTH)
        self._frame.outputs.append(
            wire.Output(
                end.id,
                text,
                int(natural),
                finish=end.ending.value,
                error=error,
                logprobs=answer.taken_logprobs(),
                prompt_tokens=answer.prompt_tokens,
            )
        )

    def _make_room(self) -> None:
        """No KV cell was free: give up what idle streams hold, else put the youngest sequence back into the queue, else
        fail the only one."""
        idle = [slot for slot, held in enumerate(self._state.held) if held]
        for slot in idle:
            self._state.forget(slot)
            self._llama.start(slot, slot, 0)
        if idle:
            return
        preempted = self._state.preempt()
        if preempted is not None:
            self._llama.start(preempted.slot, preempted.slot, 0)
            self._frame.preempted += 1
            log("decode", "preempted", running=len(self._state.running))
            return
        for sequence in list(self._state.running.values()):
            self._end(sequence.id, Ending.ERROR, "no memory is left for this sequence")

    def _fail_all(self, error: DecodeError) -> None:
        """After a failed llama_decode part of its batch may be in the cache: end what runs and start clean."""
        self._failures += 1
        log("decode", "failed", error=str(error), in_a_row=self._failures)
        self._frame.texts.clear()
        for sequence in list(self._state.running.values()):
            self._end(sequence.id, Ending.ERROR, str(error))
        for slot in range(self._llama.slots):
            self._state.forget(slot)
        self._llama.clear()
        if self._failures >= 3:
            self._send(0.0)
            raise error

    def _send(self, step_s: float) -> None:
        """Send the frame; `step_s` 0: the step goes on."""
        frame, self._frame = self._frame, Frame()
        if not step_s:
            self._frame.decode_s, self._frame.sample_s = frame.decode_s, frame.sample_s
        self._post(self._told(frame, step_s))

    def _told(self, frame: Frame, step_s: float) -> wire.Step:
        waiting = len(self._state.waiting) + self._preparer.pending
        return frame.told(step_s, lengths=self._llama.lengths, running=self._state.running, waiting=waiting)

    def _post(self, frame: wire.Frame) -> None:
        self._peer.sendall(wire.pack(frame))
        self._posted_s = time.monotonic()
