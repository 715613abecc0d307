"""The decode loop: commands in, llama.cpp steps, one frame out per step."""

from __future__ import annotations

import math
import select
import socket
import time
from dataclasses import dataclass, field

import msgspec

from engine import wire
from engine.decode import schedule
from engine.decode.llama import Llama, NoRoom
from engine.decode.padding import Row
from engine.decode.sampler import Sampler
from engine.decode.schedule import Chosen, Chunk, DecodeRow, Ended, Ending, Schedule
from engine.decode.text import TextAssembler
from engine.decode.tokenizer import Tokenizer
from engine.errors import DecodeError
from engine.process import log

IDLE_BEAT_S = 0.2
"""An idle loop sends a heartbeat this often."""


@dataclass(slots=True)
class Answer:
    """What a running request needs besides its place in the schedule."""

    request: wire.Submit
    sampler: Sampler | None
    text: TextAssembler
    prompt_tokens: int
    logprobs: list[wire.TokenLogprob] = field(default_factory=list)


class DecodeLoop:
    """Owns the model, the schedule and the socket to the API process."""

    def __init__(self, llama: Llama, peer: socket.socket) -> None:
        self._llama = llama
        self._peer = peer
        self._unpacker = wire.Unpacker()
        self._wake_read, self._wake_write = socket.socketpair()
        for end in (peer, self._wake_read, self._wake_write):
            end.setblocking(False)
        self._poll = select.poll()
        self._poll.register(peer, select.POLLIN)
        self._poll.register(self._wake_read, select.POLLIN)
        self._tokenizer = Tokenizer(llama.vocab, self._wake)
        budget = max(2 * llama.chunk, llama.chunk + llama.slots)
        self._state = Schedule(slots=llama.slots, ctx=llama.ctx, chunk=llama.chunk, budget=budget)
        self._answers: dict[int, Answer] = {}
        self._outputs: list[wire.Output] = []
        self._failures = 0
        self._decode_s = 0.0

    def run(self) -> None:
        """Serve until the API process closes its end. Raises DecodeError when llama.cpp fails again and again."""
        try:
            while self._receive(idle=not self._state.running and not self._state.waiting):
                self._accept_tokenized()
                self._step()
        except (BrokenPipeError, ConnectionResetError):
            log("decode", "peer_gone")
        finally:
            self._tokenizer.close()
            for answer in self._answers.values():
                if answer.sampler:
                    answer.sampler.close()
            self._wake_read.close()
            self._wake_write.close()

    def _wake(self) -> None:
        try:
            self._wake_write.send(b"x")
        except BlockingIOError:
            return  # enough wake-ups are under way

    def _receive(self, *, idle: bool) -> bool:
        """Take every command there is; wait for one only when idle. False when the peer is gone."""
        for descriptor, _events in self._poll.poll(IDLE_BEAT_S * 1000 if idle else 0):
            if descriptor == self._wake_read.fileno():
                self._wake_read.recv(4096)
                continue
            try:
                data = self._peer.recv(1 << 20)
            except BlockingIOError:
                continue
            if not data:
                return False
            for body in self._unpacker.feed(data):
                self._obey(wire.command_decoder.decode(body))
        return True

    def _obey(self, command: wire.Command) -> None:
        if isinstance(command, wire.Submit):
            self._tokenizer.put(command)
        elif not isinstance(command, wire.Cancel):
            raise NotImplementedError(command)
        elif self._tokenizer.cancel(command.id):
            self._outputs.append(wire.Output(command.id, "", 0, finish=Ending.CANCELLED.value))
        elif ended := self._state.end(command.id, Ending.CANCELLED):
            self._finish(ended, "")

    def _accept_tokenized(self) -> None:
        for done in self._tokenizer.take():
            request, count = done.request, len(done.tokens)
            if done.error or not count:
                reason = done.error or "the prompt is empty"
                self._outputs.append(wire.Output(request.id, "", 0, finish="refused", error=reason))
                continue
            if count >= self._llama.ctx:
                self._outputs.append(wire.Output(request.id, "", 0, finish="refused", prompt_tokens=count))
                continue
            try:
                sampler = self._llama.sampler(request.sampling)
            except DecodeError as error:
                self._outputs.append(wire.Output(request.id, "", 0, finish="error", error=str(error)))
                continue
            self._answers[request.id] = Answer(request, sampler, TextAssembler(request.stop), count)
            self._state.submit(
                schedule.Sequence(request.id, done.tokens, max_new=request.max_tokens or self._llama.ctx)
            )

    def _step(self) -> None:
        began = time.perf_counter()
        self._decode_s = 0.0
        step = schedule.plan(self._state)
        now = time.monotonic_ns()
        admitted = [
            wire.Admitted(seq.id, now, self._answers[seq.id].prompt_tokens) for seq in schedule.admit(self._state, step)
        ]
        chosen: dict[int, Chosen] = {}
        texts: dict[int, str] = {}
        rows_done, chunks_done, crowded = 0, 0, False
        try:
            if step.rows:
                self._timed_rows(step.rows)
                for index, row in enumerate(step.rows):
                    chosen[row.id], texts[row.id] = self._choose(row.id, index)
                rows_done = len(step.rows)
            for chunk in step.chunks:
                self._timed_chunk(chunk)
                if chunk.last:
                    chosen[chunk.id], texts[chunk.id] = self._choose(chunk.id, 0)
                chunks_done += 1
            self._failures = 0 if not step.empty else self._failures
        except NoRoom:
            crowded = True
        except DecodeError as error:
            self._fail_all(error)
            return
        done = schedule.Plan((), step.rows[:rows_done], step.chunks[:chunks_done])
        ended = schedule.apply(self._state, done, chosen)
        endings = {end.id: end for end in ended}
        for id, text in texts.items():
            if end := endings.get(id):
                self._finish(end, text)
            else:
                self._emit(id, text)
        if crowded:
            self._make_room()
        self._send(admitted, time.perf_counter() - began)

    def _timed_rows(self, rows: tuple[DecodeRow, ...]) -> None:
        start = time.perf_counter()
        self._llama.decode_rows([Row(row.slot, row.position, row.token) for row in rows])
        self._decode_s += time.perf_counter() - start

    def _timed_chunk(self, chunk: Chunk) -> None:
        start = time.perf_counter()
        self._llama.prefill(chunk.slot, chunk.start, chunk.tokens, wants_logits=chunk.last)
        self._decode_s += time.perf_counter() - start

    def _choose(self, id: int, row: int) -> tuple[Chosen, str]:
        """The next token of a request, and the text that it makes certain."""
        answer, llama = self._answers[id], self._llama
        token = int(llama.logits(row).argmax()) if answer.sampler is None else llama.sample(answer.sampler, row)
        if not 0 <= token < llama.vocab.size or math.isnan(llama.logits(row)[token]):
            raise DecodeError("the model computed values that are no numbers; its file may be damaged")
        wanted = answer.request.sampling.top_logprobs
        if wanted >= 0:
            answer.logprobs.append(llama.logprobs(row, token, wanted))
        if token in llama.vocab.ends:
            return Chosen(token, ends=True), ""
        text = answer.text.push(llama.vocab.piece(token))
        return Chosen(token, ends=answer.text.stopped), text

    def _emit(self, id: int, text: str) -> None:
        answer = self._answers[id]
        logprobs = answer.logprobs if answer.request.sampling.top_logprobs >= 0 else None
        self._outputs.append(wire.Output(id, text, 1, logprobs=logprobs))
        answer.logprobs = []

    def _finish(self, end: Ended, text: str, error: str = "") -> None:
        answer = self._answers.pop(end.id)
        if answer.sampler:
            answer.sampler.close()
        if end.slot >= 0:
            self._llama.free(end.slot)
        text += answer.text.push(b"", final=True)
        natural = end.ending in (Ending.STOP, Ending.LENGTH)
        logprobs = answer.logprobs if answer.request.sampling.top_logprobs >= 0 else None
        self._outputs.append(
            wire.Output(
                end.id,
                text,
                int(natural),
                finish=end.ending.value,
                error=error,
                logprobs=logprobs,
                prompt_tokens=answer.prompt_tokens,
            )
        )

    def _make_room(self) -> None:
        """No KV cell was free: put the youngest sequence back into the queue, or fail the only one."""
        preempted = self._state.preempt()
        if preempted is not None:
            self._llama.free(preempted.slot)
            log("decode", "preempted", running=len(self._state.running))
            return
        for sequence in list(self._state.running.values()):
            if ended := self._state.end(sequence.id, Ending.ERROR):
                self._finish(ended, "", "no memory is left for this sequence")

    def _fail_all(self, error: DecodeError) -> None:
        """After a failed llama_decode part of its batch may be in the cache: end what runs and start clean."""
        self._failures += 1
        log("decode", "failed", error=str(error), in_a_row=self._failures)
        for sequence in list(self._state.running.values()):
            if ended := self._state.end(sequence.id, Ending.ERROR):
                self._finish(ended, "", str(error))
        self._llama.clear()
        self._send([], 0.0)
        if self._failures >= 3:
            raise error

    def _send(self, admitted: list[wire.Admitted], step_s: float) -> None:
        outputs, self._outputs = self._outputs, []
        frame = wire.Step(
            t_ns=time.monotonic_ns(),
            admitted=admitted,
            outputs=outputs,
            running=len(self._state.running),
            waiting=len(self._state.waiting) + self._tokenizer.pending,
            kv_cells=sum(self._llama.lengths),
            decode_s=self._decode_s,
            step_s=step_s,
        )
        self._peer.setblocking(True)
        try:
            self._peer.sendall(wire.pack(frame))
        finally:
            self._peer.setblocking(False)


def warm_up(llama: Llama) -> float:
    """Run the largest prompt chunk and the largest decode step once; returns the slower one's seconds.

    It pages the weights in, and its time tells a slow model from a hung one.
    """
    size = min(llama.chunk, llama.ctx - 1)
    start = time.perf_counter()
    llama.prefill(0, 0, [0] * size, wants_logits=True)
    prefilled = time.perf_counter()
    llama.decode_rows([Row(slot, llama.lengths[slot], 0) for slot in range(llama.slots)])
    slowest = max(prefilled - start, time.perf_counter() - prefilled)
    llama.clear()
    return slowest


class DecodeSettings(msgspec.Struct, frozen=True):
    """What the API process passes on the command line of the decode process."""

    parent_pid: int
    fd: int
    model: str
    ctx: int
    slots: int
    threads: int
    gpu_layers: int
    prefill_chunk: int
