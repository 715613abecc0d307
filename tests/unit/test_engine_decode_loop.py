"""The decode loop with a made-up model: memory that runs out, a failing llama_decode, cancelling, refusing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from engine import wire
from engine.decode.llama import NoRoom
from engine.decode.loop import DecodeLoop
from engine.decode.padding import PADDING, with_padding
from engine.decode.schedule import DecodeRow
from engine.decode.settings import DecodeSettings
from engine.decode.warmup import Speed
from engine.errors import DecodeError

END = 0


class CountingVocab:
    """Bytes are tokens; 0 ends."""

    size, adds_bos, bos, ends = 256, False, -1, frozenset({END})
    end_tokens = np.array([END], np.int32)

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        if text == "crash":
            raise DecodeError("llama_tokenize answered -7")
        return list(text.encode())

    def known(self, token: int) -> int:
        if token >= self.size:
            raise DecodeError(f"token {token} is outside the vocabulary")
        return token

    def piece(self, token: int, *, control: bool = False) -> bytes:
        return bytes([self.known(token)])


class NoAdapters:
    adapters = MappingProxyType({"accent": 1})


class CountingLlama:
    """Continues "a" with "b", "c", ...; ends after "z".

    `faults` maps the number of a call to what it raises; only calls with at least `held` slots in use are counted.
    """

    def __init__(
        self, slots: int = 2, ctx: int = 64, faults: dict[int, DecodeError] | None = None, held: int = 0
    ) -> None:
        self.slots, self.ctx, self.chunk, self.vocab = slots, ctx, 4, CountingVocab()
        self.model, self.shares, self.deterministic, self.projector = NoAdapters(), True, False, None
        self.lengths = [0] * slots
        self.adapters: list[str] = []
        self.faults = dict(faults or {})
        self.calls, self.held = 0, held
        self._values: list[np.ndarray[Any, Any]] = []

    def decode_rows(self, rows: Sequence[DecodeRow], adapter: str = "") -> None:
        self._call()
        self.adapters.append(adapter)
        self._values = [self._next(row.token) for row in rows]
        for row in rows:
            assert row.position == self.lengths[row.slot]
            self.lengths[row.slot] += 1

    def prefill(
        self, slot: int, position: int, tokens: Sequence[int], *, wants_logits: bool, adapter: str = ""
    ) -> None:
        self._call()
        assert position == self.lengths[slot]
        self.lengths[slot] += len(tokens)
        self._values = [self._next(tokens[-1])]

    def _call(self) -> None:
        self.calls += sum(map(bool, self.lengths)) >= self.held
        if fault := self.faults.pop(self.calls, None):
            raise fault

    def _next(self, token: int) -> np.ndarray[Any, Any]:
        values = np.zeros(256, np.float32)
        values[END if token >= ord("z") else token + 1] = 1.0
        return values

    def logits(self, row: int) -> np.ndarray[Any, Any]:
        return self._values[row]

    def logit(self, row: int, token: int) -> float:
        return float(self._values[row][token])

    def sampler(self, sampling: wire.Sampling) -> None:
        return None

    def interrupt(self) -> None:
        """Prompts are computed at once here."""

    def resume(self) -> None:
        """So nothing was interrupted."""

    def start(self, slot: int, source: int, length: int) -> None:
        assert length <= self.lengths[source]
        self.lengths[slot] = length

    def clear(self) -> None:
        self.lengths = [0] * self.slots


class Peer:
    """The API process's end."""

    def __init__(self, llama: CountingLlama) -> None:
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(5)
        self.unpacker = wire.Unpacker()
        self.frames: list[wire.Step] = []
        self.error: list[DecodeError] = []
        settings = DecodeSettings(0, 0, "", llama.ctx, llama.slots, 1, 0, llama.chunk)
        speed = Speed(slowest_step_s=0.1, token_s=0.001, worth=8)
        self.loop = DecodeLoop(llama, theirs, settings, speed)  # type: ignore[arg-type]
        self.theirs, self.llama = theirs, llama
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.loop.run()
        except DecodeError as error:
            self.error.append(error)
        finally:
            self.theirs.close()

    def send(self, *commands: wire.Command) -> None:
        self.sock.sendall(b"".join(wire.pack(command) for command in commands))

    def submit(self, id: int, text: str, max_tokens: int = 5, stop: Sequence[str] = (), **more: Any) -> None:
        sampling = wire.Sampling(
            temperature=0, **{name: more.pop(name) for name in ("ignore_eos", "min_tokens") if name in more}
        )
        self.send(wire.Submit(id, [wire.Segment(text, False)], max_tokens, sampling, list(stop), **more))

    def until_finished(self, *ids: int) -> dict[int, tuple[str, str]]:
        """(text, finish) of each."""
        texts, finishes = dict.fromkeys(ids, ""), dict.fromkeys(ids, "")
        while not all(finishes.values()):
            for body in self.unpacker.feed(self.sock.recv(1 << 16)):
                frame = wire.frame_decoder.decode(body)
                assert isinstance(frame, wire.Step)
                self.frames.append(frame)
                for output in frame.outputs:
                    texts[output.id] += output.text
                    finishes[output.id] = finishes[output.id] or output.finish
        return {id: (texts[id], finishes[id]) for id in ids}

    def close(self) -> None:
        self.sock.close()
        self.thread.join(5)
        assert not self.thread.is_alive()


@pytest.fixture
def peers() -> Iterator[list[Peer]]:
    made: list[Peer] = []
    yield made
    for peer in made:
        peer.close()


def start(peers: list[Peer], **settings: Any) -> Peer:
    peers.append(Peer(CountingLlama(**settings)))
    return peers[-1]


def test_answers_end_by_length_by_end_token_and_by_stop_string(peers: list[Peer]) -> None:
    peer = start(peers, slots=4)
    peer.submit(1, "a")
    peer.submit(2, "w", max_tokens=50)
    peer.submit(3, "a", max_tokens=50, stop=["de"])
    assert peer.until_finished(1, 2, 3) == {1: ("bcdef", "length"), 2: ("xyz", "stop"), 3: ("bc", "stop")}


def test_when_memory_runs_out_the_youngest_waits_and_nobody_notices(peers: list[Peer]) -> None:
    for call in range(1, 5):
        peer = start(peers, slots=2, held=2, faults={call: NoRoom("full")})
        peer.submit(1, "long prompt a", max_tokens=25)
        peer.submit(2, "long prompt a", max_tokens=25)
        alphabet = "bcdefghijklmnopqrstuvwxyz"
        assert peer.until_finished(1, 2) == {1: (alphabet, "length"), 2: (alphabet, "length")}


def test_memory_that_stays_full_for_two_lets_one_finish_before_the_other(peers: list[Peer]) -> None:
    peer = start(peers, slots=2, held=2, faults=dict.fromkeys(range(1, 1000), NoRoom("full")))
    peer.submit(1, "long prompt a", max_tokens=25)
    peer.submit(2, "long prompt a", max_tokens=25)
    alphabet = "bcdefghijklmnopqrstuvwxyz"
    assert peer.until_finished(1, 2) == {1: (alphabet, "length"), 2: (alphabet, "length")}


def test_a_lone_sequence_without_memory_fails_instead_of_waiting_for_ever(peers: list[Peer]) -> None:
    peer = start(peers, slots=2, faults={2: NoRoom("full")})
    peer.submit(1, "a")
    assert peer.until_finished(1)[1][1] == "error"
    peer.submit(2, "a")
    assert peer.until_finished(2)[2] == ("bcdef", "length")


def test_a_failed_decode_ends_what_runs_and_the_engine_goes_on(peers: list[Peer]) -> None:
    peer = start(peers, slots=1, faults={3: DecodeError("llama_decode answered -3")})
    peer.submit(1, "a")
    peer.submit(2, "a")
    assert peer.until_finished(1, 2) == {1: ("bc", "error"), 2: ("bcdef", "length")}


def test_a_decode_that_fails_every_time_ends_the_process(peers: list[Peer]) -> None:
    peer = start(peers, slots=1, faults=dict.fromkeys(range(1, 9), DecodeError("llama_decode answered -3")))
    for id in (1, 2, 3):
        peer.submit(id, "a")
    assert {finish for _text, finish in peer.until_finished(1, 2, 3).values()} == {"error"}
    peer.thread.join(5)
    assert "answered -3" in str(peer.error[0])


def test_a_prompt_that_does_not_fit_or_cannot_be_tokenised_is_refused_with_its_size(peers: list[Peer]) -> None:
    peer = start(peers)
    peer.submit(1, "x" * 64)
    peer.submit(2, "crash")
    peer.submit(3, "")
    assert {finish for _text, finish in peer.until_finished(1, 2, 3).values()} == {"refused"}
    assert [o.prompt_tokens for frame in peer.frames for o in frame.outputs if o.id == 1] == [64]


def test_cancelling_frees_the_slot_for_the_next_and_is_answered_once(peers: list[Peer]) -> None:
    peer = start(peers, slots=1, ctx=1 << 20)
    peer.send(wire.Cancel(99))
    peer.submit(1, "a" * 100_000, max_tokens=5)
    peer.submit(2, "a")
    peer.send(wire.Cancel(1))
    results = peer.until_finished(1, 2)
    assert results[1][1] == "cancelled"
    assert results[2] == ("bcdef", "length")
    assert [o.id for frame in peer.frames for o in frame.outputs if o.finish == "cancelled"] == [1]


def test_an_idle_loop_beats_and_says_that_it_holds_nothing(peers: list[Peer]) -> None:
    peer = start(peers)
    peer.submit(1, "a")
    peer.until_finished(1)
    beat = wire.frame_decoder.decode(peer.unpacker.feed(peer.sock.recv(1 << 16))[0])
    assert isinstance(beat, wire.Step)
    assert (beat.running, beat.waiting, beat.kv_cells, beat.outputs) == (0, 0, 0, [])


def test_end_tokens_are_banned_until_the_fewest_tokens_are_there_or_for_ever(peers: list[Peer]) -> None:
    peer = start(peers, slots=4)
    peer.submit(1, "y", max_tokens=50)
    peer.submit(2, "y", max_tokens=50, min_tokens=4)
    peer.submit(3, "y", max_tokens=6, ignore_eos=True)
    results = peer.until_finished(1, 2, 3)
    assert results[1] == ("z", "stop")
    assert len(results[2][0]) >= 4
    assert (len(results[3][0]), results[3][1]) == (6, "length")


def test_an_answer_past_its_deadline_ends_with_deadline_also_in_the_queue(peers: list[Peer]) -> None:
    peer = start(peers, slots=1)
    now = time.monotonic_ns()
    peer.submit(1, "a", max_tokens=5, deadline_ns=now + 60_000_000_000)
    peer.submit(2, "a", max_tokens=5, deadline_ns=now - 1)
    assert {id: finish for id, (_text, finish) in peer.until_finished(1, 2).items()} == {1: "length", 2: "deadline"}


def test_rows_of_another_lora_adapter_are_computed_apart_and_an_unknown_one_is_refused(peers: list[Peer]) -> None:
    peer = start(peers, slots=4)
    peer.submit(1, "a", max_tokens=4)
    peer.submit(2, "a", max_tokens=4, adapter="accent")
    peer.submit(3, "a", max_tokens=4, adapter="none such")
    results = peer.until_finished(1, 2, 3)
    assert results == {1: ("bcde", "length"), 2: ("bcde", "length"), 3: ("", "refused")}
    assert {"", "accent"} <= set(peer.llama.adapters)


def test_tokens_are_told_and_ids_outside_the_vocabulary_are_an_error(peers: list[Peer]) -> None:
    peer = start(peers)
    peer.send(
        wire.Tokenize(1, [wire.Segment("ab", False), wire.Segment("", False, [99, 100])]), wire.Detokenize(2, [300])
    )
    frames: list[wire.Frame] = []
    while len(frames) < 2:
        bodies = peer.unpacker.feed(peer.sock.recv(1 << 16))
        frames += [frame for frame in map(wire.frame_decoder.decode, bodies) if isinstance(frame, wire.Tokens)]
    assert frames[0] == wire.Tokens(1, [97, 98, 99, 100], [b"a", b"b", b"c", b"d"])
    assert isinstance(frames[1], wire.Tokens)
    assert "outside the vocabulary" in frames[1].error


def pads(slots: Sequence[int], lengths: Sequence[int] = (5,) * 16, ctx: int = 64, *, every: bool = False) -> list[int]:
    rows = [DecodeRow(1, slot, 5, 7) for slot in slots]
    filled = with_padding(rows, lengths, ctx, every=every)
    assert [row.slot for row in filled] == sorted({row.slot for row in filled})
    assert [row for row in filled if row.id != PADDING] == rows
    return [row.slot for row in filled if row.id == PADDING]


def test_padding_fills_narrow_holes_between_running_slots() -> None:
    assert pads([0, 1, 2]) == []
    assert pads([7]) == []
    assert pads([0, 3]) == [1, 2]
    assert pads([0, 9]) == []
    assert pads([0, 2, 9, 11]) == [1, 10]


def test_every_slot_has_a_row_when_steps_must_all_have_one_shape() -> None:
    assert pads([3], lengths=(5,) * 5, every=True) == [0, 1, 2, 4]


def test_a_full_slot_is_not_padded() -> None:
    assert pads([0, 2], lengths=(5, 64, 5)) == []
