"""Pieces of held faults that need no process: limits, copies of models, messages, how each part is undone."""

from __future__ import annotations

import itertools
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import DEMO_MODEL
from engine.errors import ModelError
from engine.fingerprint import digest_of
from engine.gguf import read_head
from engine.model_header import read_model
from scenarios.faults.holder.engine_processes import limit_of
from scenarios.faults.holder.messages import Begun, End, Lines, Over, Parts, ToUndo, Undo, pack
from scenarios.faults.holder.model_copies import turned, write_half, write_other
from scenarios.faults.holder.parts import parts_of
from scenarios.faults.holder.process import Process, find
from scenarios.faults.holder.undos import UNDOS, file_size, limit, link_to, relink, remove, undo_all
from scenarios.faults.injector import Ended, FaultRefused


@given(st.sets(st.integers(0, 60)), st.integers(0, 20))
def test_below_the_limit_just_so_many_descriptors_are_free(used: set[int], spare: int) -> None:
    limit = limit_of(used, spare)
    assert len(set(range(limit)) - used) == spare
    assert limit not in used


def test_a_part_is_one_process_and_of_a_target_without_it_all_are() -> None:
    one, other = Process(10, 1.0), Process(11, 1.0)
    assert parts_of({"api": one, "decode": other}, "api") == (one,)
    assert parts_of({"api": one, "decode": other}, "all") == (one, other)
    assert parts_of({"server": one, "child-1": other}, "decode") == (one, other)


@given(st.lists(st.integers(1, 200)))
def test_messages_are_read_in_whatever_pieces_they_come(cuts: list[int]) -> None:
    said = [
        Begun(1),
        End(2),
        Parts({"api": Process(3, 4.0)}),
        ToUndo(4, Undo("relink", {"path": "/a\nb", "to": "ü"})),
        Over(Ended(number=5, why="x", undone=False, facts={"n": 1.5})),
    ]
    data = b"".join(map(pack, said))
    lines = Lines()
    heard = []
    for cut in [*cuts, len(data)]:
        heard += lines.feed(data[:cut])
        data = data[cut:]
    assert heard + lines.feed(data) == said


def test_another_model_loads_alike_and_differs_where_a_fingerprint_looks(tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    write_other(DEMO_MODEL, other, lambda: False)
    assert read_model(other).weights_bytes == read_model(DEMO_MODEL).weights_bytes
    assert other.stat().st_size == DEMO_MODEL.stat().st_size
    assert sorted(other.read_bytes()) == sorted(DEMO_MODEL.read_bytes())
    assert digest_of(other) != digest_of(DEMO_MODEL)


def test_the_pieces_of_another_model_are_the_whole_file_once() -> None:
    head = read_head(DEMO_MODEL)
    spans = [span for span in turned(head) if span[0] != span[1]]
    whole = sorted(spans)
    assert whole[0][0] == 0
    assert whole[-1][1] == head.file_bytes
    assert all(before[1] == after[0] for before, after in itertools.pairwise(whole))
    assert spans != whole


def test_half_a_model_is_refused_by_whoever_reads_its_head(tmp_path: Path) -> None:
    half = tmp_path / "half.gguf"
    write_half(DEMO_MODEL, half, lambda: False)
    assert half.read_bytes() == DEMO_MODEL.read_bytes()[: DEMO_MODEL.stat().st_size // 2]
    with pytest.raises(ModelError, match="not complete"):
        read_head(half)


def test_a_model_is_not_copied_where_there_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scenarios.faults.holder.model_copies._SPARE_BYTES", 1 << 60)
    with pytest.raises(FaultRefused, match="no room for a copy"):
        write_half(DEMO_MODEL, tmp_path / "copy", lambda: False)
    monkeypatch.setattr("scenarios.faults.holder.model_copies.MOST_BYTES", 1000)
    with pytest.raises(FaultRefused, match=r"no more than 1,000 are copied"):
        write_other(DEMO_MODEL, tmp_path / "copy", lambda: False)
    assert not (tmp_path / "copy").exists()


def test_undoing_goes_on_after_what_cannot_be_undone_and_may_be_done_twice(tmp_path: Path) -> None:
    link, copy, folder = tmp_path / "link", tmp_path / "copy", tmp_path / "folder"
    link_to(str(link), "elsewhere")
    copy.write_bytes(b"x")
    folder.mkdir()
    undos = [remove(str(folder)), relink(str(link), "home"), remove(str(copy))]
    for _ in range(2):
        (problem,) = undo_all(undos)
        assert problem.startswith("remove:")
        assert os.readlink(link) == "home"
        assert not copy.exists()
    assert undo_all([relink(str(tmp_path / "gone" / "link"), "home")]) == ()


@pytest.mark.parametrize("what", ["continue", "kill", "limit", "file_size"])
def test_a_process_that_is_gone_needs_no_undoing(what: str) -> None:
    UNDOS[what]({"pid": 2**22 + 1, "born": 1.0, "what": 7, "soft": 1, "bound": 1})
    UNDOS[what]({"pid": os.getpid(), "born": 1.0, "what": 7, "soft": 1, "bound": 1})  # the number is another's now


def test_an_undo_that_fails_in_whatever_way_keeps_none_of_the_others_from_being_done(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(b"x")
    (problem,) = undo_all([Undo("limit", {"pid": "no number"}), remove(str(copy))])
    assert problem.startswith("limit:")
    assert not copy.exists()


def test_a_model_that_shrinks_while_it_is_copied_is_refused(tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(DEMO_MODEL.read_bytes())

    def shrink() -> bool:
        os.truncate(model, 1 << 10)
        return False

    with pytest.raises(FaultRefused, match="ends at 1,024 bytes"):
        write_half(model, tmp_path / "copy", shrink)


@contextmanager
def sleeper(limit: str) -> Iterator[Process]:
    """A process of which a limit was lowered by itself: (soft, hard)."""
    script = f"import resource, time; {limit}; print(flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = find(process.pid)
        assert found is not None
        yield found
        process.kill()


def test_a_limit_goes_back_as_far_as_the_process_itself_still_allows() -> None:
    with sleeper("resource.setrlimit(resource.RLIMIT_NOFILE, (20, 50))") as process:
        assert undo_all([limit(process, resource.RLIMIT_NOFILE, 1000)]) == ()
        assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (50, 50)
        assert undo_all([limit(process, resource.RLIMIT_NOFILE, 30)]) == ()
        assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (30, 50)


def test_what_was_started_on_a_full_disk_has_no_limit_once_that_is_over() -> None:
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    lowered = f"resource.setrlimit(resource.RLIMIT_FSIZE, (12345, {hard}))"
    child = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    with sleeper(f"{lowered}; {child}") as runner, sleeper(lowered) as other:
        (below,) = psutil.Process(runner.pid).children()
        assert resource.prlimit(below.pid, resource.RLIMIT_FSIZE) == (12345, hard)
        assert undo_all([file_size(runner, 12345, hard)]) == ()
        assert resource.prlimit(runner.pid, resource.RLIMIT_FSIZE) == (hard, hard)
        assert resource.prlimit(below.pid, resource.RLIMIT_FSIZE) == (hard, hard)
        assert resource.prlimit(other.pid, resource.RLIMIT_FSIZE) == (12345, hard)
        below.kill()
