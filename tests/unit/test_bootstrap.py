"""The set-up's decisions: which backend, what is left to do, how far a build is. Nothing here reaches the network."""

from __future__ import annotations

import ast
import importlib.util
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from engine import bootstrap, bootstrap_process
from engine.bootstrap_plan import (
    Backend,
    Key,
    Probe,
    Progress,
    Stamp,
    advice,
    choose_backend,
    choose_images,
    cmake_args,
    expected,
    llama_version,
    load_stamp,
    plan_work,
    printable,
)

BARE = Probe(wanted="", nvcc=None, nvidia_smi=None, kernel_driver=False)
KEY = Key("cpython-311", "/x/.venv", "0.3.36", "cpu", "cafe", "", "beef", ("test",))
DONE = Stamp(built=KEY, installed=KEY, probe=BARE.text())


def test_cuda_is_built_only_with_a_working_driver_and_nvcc() -> None:
    with_nvcc = replace(BARE, nvcc="/usr/bin/nvcc")
    assert str(choose_backend(BARE, False)) == "CPU: no NVIDIA driver found"
    assert str(choose_backend(with_nvcc, False)) == "CPU: no NVIDIA driver found"
    assert choose_backend(BARE, True).name == "cpu"
    assert "no nvcc" in choose_backend(BARE, True).why
    assert choose_backend(with_nvcc, True) == Backend("cuda", "NVIDIA driver and nvcc found", True, "/usr/bin/nvcc")


def test_seatrial_engine_overrides_and_nonsense_is_named() -> None:
    both = Probe("cpu", "/usr/bin/nvcc", "/usr/bin/nvidia-smi", True)
    assert choose_backend(both, True).name == "cpu"
    assert choose_backend(replace(both, wanted="cuda"), False) == Backend(
        "cuda", "SEATRIAL_ENGINE=cuda", False, "/usr/bin/nvcc"
    )
    with pytest.raises(ValueError, match="needs nvcc"):
        choose_backend(replace(BARE, wanted="cuda"), True)
    with pytest.raises(ValueError, match="cpu, cuda or unset"):
        choose_backend(replace(BARE, wanted="rocm"), True)


def test_libmtmd_is_built_only_when_asked_for_and_then_kept() -> None:
    backend, with_images = Backend("cpu", ""), replace(DONE, built=replace(KEY, images="1"))
    assert "-DLLAVA_BUILD=OFF" in cmake_args("", backend, "f").split()
    assert "-DLLAVA_BUILD=ON" in cmake_args("", backend, "f", choose_images("1", Stamp())).split()
    assert [choose_images(wanted, Stamp()) for wanted in ("", "0", "1")] == ["", "", "1"]
    assert [choose_images(wanted, DONE) for wanted in ("", "0", "1")] == ["", "", "1"]
    assert [choose_images(wanted, with_images) for wanted in ("", "0", "1")] == ["1", "", "1"]
    with pytest.raises(ValueError, match="SEATRIAL_IMAGES is 'yes'"):
        choose_images("yes", DONE)
    work = plan_work(DONE, replace(KEY, images="1"), True, True, True)
    assert work.build
    assert "SEATRIAL_IMAGES" in work.why


def test_a_stamp_from_before_there_were_images_still_counts() -> None:
    text = DONE.dumps().replace(',\n  "images": ""', "")
    assert "images" not in text
    assert load_stamp(text) == DONE


def test_the_user_s_cmake_arguments_come_first_and_stay() -> None:
    own = "-DGGML_NATIVE=OFF -DCMAKE_CUDA_ARCHITECTURES=86"
    args = shlex.split(cmake_args(own, Backend("cuda", "", True, "/opt/cuda/bin/nvcc"), "/a b/llama_only.cmake"))
    assert args[:2] == own.split()
    assert "-DCMAKE_PROJECT_llama_cpp_INCLUDE=/a b/llama_only.cmake" in args
    assert "-DGGML_CUDA=on" in args
    assert not [arg for arg in args[2:] if "ARCHITECTURES" in arg]
    assert "-DGGML_CUDA=on" not in cmake_args("", Backend("cpu", ""), "x")
    assert "ARCHITECTURES=native" in cmake_args("", Backend("cuda", "", True), "x")
    assert "ARCHITECTURES" not in cmake_args("", Backend("cuda", "", False), "x")


def test_the_llama_version_is_the_one_that_pyproject_pins() -> None:
    assert llama_version((bootstrap.ROOT / "pyproject.toml").read_text()) == "0.3.36"
    with pytest.raises(ValueError, match="pins no"):
        llama_version("dependencies = []")


def test_a_finished_set_up_has_nothing_left_to_do() -> None:
    assert not plan_work(DONE, KEY, True, True, True)
    assert not plan_work(DONE, replace(KEY, extras=()), True, True, True)


def test_a_changed_pyproject_or_a_new_extra_does_not_build_llama_again() -> None:
    for key in (replace(KEY, pyproject="f00d"), replace(KEY, extras=("docs",))):
        work = plan_work(DONE, key, True, True, True)
        assert (work.venv, work.build, work.install) == (False, False, True)
    assert plan_work(DONE, replace(KEY, extras=("docs",)), True, True, True).extras == ("docs", "test")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"llama": "0.4.0"}, "version"),
        ({"backend": "cuda"}, "backend"),
        ({"cmake_file": "d00d"}, "llama_only.cmake"),
        ({"cmake_args": "-DX=1"}, "CMAKE_ARGS"),
    ],
)
def test_what_the_build_depends_on_builds_again_and_says_why(change: dict[str, str], why: str) -> None:
    work = plan_work(DONE, replace(KEY, **change), True, True, True)
    assert (work.venv, work.build) == (False, True)
    assert why in work.why


def test_what_is_gone_from_the_environment_is_done_again() -> None:
    assert plan_work(DONE, KEY, False, False, False).venv
    assert plan_work(DONE, KEY, True, False, True).build
    work = plan_work(DONE, KEY, True, True, False)
    assert (work.build, work.install) == (False, True)
    assert plan_work(DONE, replace(KEY, python="cpython-312"), True, True, True).venv


def test_a_step_that_was_interrupted_is_done_again_and_what_came_before_it_is_not() -> None:
    assert plan_work(Stamp(), KEY, True, True, True).build
    assert plan_work(replace(DONE, built=None), KEY, True, True, True).build
    work = plan_work(replace(DONE, installed=None), KEY, True, True, True)
    assert (work.venv, work.build, work.install) == (False, False, True)


def test_a_stamp_survives_writing_and_a_damaged_one_counts_for_nothing() -> None:
    assert load_stamp(DONE.dumps()) == DONE
    assert load_stamp(Stamp().dumps()) == Stamp()
    for text in ("", "{", "[]", "null", "{}", DONE.dumps()[:-20], '{"built": {}, "installed": null, "probe": ""}'):
        assert load_stamp(text) == Stamp()


def test_ninja_s_steps_become_a_line_for_every_tenth_without_a_terminal() -> None:
    progress = Progress(terminal=False)
    lines = ["  Collecting llama", *(f"  [{step}/83] /usr/bin/g++ -o x" for step in range(1, 84)), "[0/1] Install"]
    shown = [text for line in lines if (text := progress.feed(line))]
    assert len(shown) == 11
    assert shown[-1] == "100 % (83/83)"
    assert (progress.done, progress.total) == (83, 83)


def test_a_terminal_sees_every_step_and_neither_sees_steps_going_back() -> None:
    progress = Progress(terminal=True)
    assert progress.feed("  [1/83] cc") == "  1 % (1/83)"
    assert progress.feed("  [2/83] cc") == "  2 % (2/83)"
    for line in ("  [1/83] cc", "[1/1] Install", "[99/83] x", "text [3/83] x", "[0/0] ", ""):
        assert progress.feed(line) is None


def test_lines_of_a_log_are_printable_and_failures_come_with_advice() -> None:
    assert printable("\x1b[31merror\x1b[0m\x07\n") == "error"
    assert len(printable("x" * 9_999)) < 500
    assert "disk" in advice("fatal: No space left on device")
    assert "network" in advice("ERROR: No matching distribution found")
    assert "network" in advice("Caused by SSLError(SSLCertVerificationError(1, 'certificate verify failed'")
    assert "network" not in advice("-- Could NOT find OpenSSL\nc++: error: unrecognized option")
    assert "CMAKE_BUILD_PARALLEL_LEVEL" in advice("c++: fatal error: Killed signal terminated program cc1plus")
    assert "SEATRIAL_ENGINE=cpu" in advice("nvcc fatal : Unsupported gpu architecture")


def test_the_expected_time_is_said_in_minutes() -> None:
    assert expected(Backend("cpu", ""), 2) == "about 2 minutes on 2 cores"
    assert expected(Backend("cpu", ""), 64) == "about 1 minute on 64 cores"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(bootstrap, "SETUP", tmp_path)
    monkeypatch.setattr(bootstrap, "STAMP", tmp_path / "stamp.json")
    monkeypatch.setattr(bootstrap_process, "LOG", tmp_path / "build.log")
    return tmp_path


def test_the_stamp_is_written_whole(tree: Path) -> None:
    assert bootstrap.read_stamp() == Stamp()
    bootstrap.write_stamp(DONE)
    assert bootstrap.read_stamp() == DONE
    assert [path.name for path in tree.iterdir()] == ["stamp.json"]


def test_a_failing_step_shows_the_end_of_its_log(tree: Path) -> None:
    code = "import sys\nfor n in range(99): print('line', n)\nsys.exit(3)"
    with pytest.raises(bootstrap.SetupFailed) as caught:
        bootstrap_process.logged([sys.executable, "-c", code], "Counting")
    text = str(caught.value)
    assert text.startswith("Counting failed (exit code 3)")
    assert "line 98" in text
    assert "line 68" not in text
    assert len((tree / "build.log").read_text().splitlines()) == 99


def test_a_missing_compiler_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("CC", raising=False)
    setup = bootstrap.Setup(tmp_path / "env", ())
    with pytest.raises(bootstrap.SetupFailed, match=r"No C\+\+ compiler .* apt install build-essential") as caught:
        setup.check_tools(setup.plan(Stamp(), "cpu"))
    assert caught.value.code == 2
    assert "\n" not in str(caught.value)


def test_without_the_venv_package_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    setup = bootstrap.Setup(tmp_path / "env", ())
    setup.uv = None
    with pytest.raises(bootstrap.SetupFailed, match="apt install python3-venv") as caught:
        setup.check_tools(replace(setup.plan(Stamp(), "cpu"), build=False))
    assert caught.value.code == 2
    assert "\n" not in str(caught.value)


def test_an_environment_is_kept_where_it_was_made_and_made_anew_in_a_moved_tree(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[list[str]] = []
    monkeypatch.setattr(bootstrap, "logged", lambda command, step: made.append(command))
    monkeypatch.setattr(bootstrap, "quiet", lambda *command: True)
    old, new = bootstrap.Setup(tmp_path / "old", ()), bootstrap.Setup(tmp_path / "new", ())
    (old.venv / "bin").mkdir(parents=True)
    (old.venv / "pyvenv.cfg").touch()
    (old.venv / "bin" / "pip").write_text(f"#!{old.python}\n")
    old.make_venv()
    assert made == []
    old.venv.rename(new.venv)
    new.make_venv()
    assert len(made) == 1
    assert not new.venv.exists()


def test_a_folder_that_is_no_environment_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    setup = bootstrap.Setup(tmp_path, ())
    with pytest.raises(bootstrap.SetupFailed, match="no virtual environment"):
        setup.check_tools(replace(setup.plan(Stamp(), "cpu"), build=False))


def test_a_full_disk_or_a_missing_right_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(self: bootstrap.Setup) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bootstrap.Setup, "run", full)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    assert bootstrap.main([]) == 1
    assert "No space left on device" in capsys.readouterr().err


def test_an_older_python_can_read_the_script_far_enough_to_say_so() -> None:
    ast.parse((bootstrap.ROOT / "engine" / "bootstrap.py").read_text(encoding="utf-8"), feature_version=(3, 7))


def test_the_script_names_its_options_and_runs_without_the_environment() -> None:
    script = bootstrap.ROOT / "engine" / "bootstrap.py"
    done = subprocess.run(
        [sys.executable, "-I", str(script), "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    assert "--extras" in done.stdout


def test_an_interrupt_ends_with_one_line_and_130_and_leaves_no_child(tmp_path: Path) -> None:
    code = (
        "import sys, signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pathlib import Path\n"
        "from engine import bootstrap, bootstrap_process\n"
        f"bootstrap_process.LOG = Path({str(tmp_path / 'log')!r})\n"
        "def slow(self):\n"
        "    bootstrap_process.logged(['sh', '-c', 'echo $$; sleep 60'], 'Sleeping', None,"
        " lambda line: print(line, end='', flush=True))\n"
        "bootstrap.Setup.run = slow\n"
        "sys.exit(bootstrap.main([]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=bootstrap.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    _, talk = process.communicate(timeout=30)
    assert process.returncode == 130
    assert talk == "Interrupted; run the same command again to go on.\n"
    for _ in range(100):
        status = Path(f"/proc/{child}/status")
        if not status.exists() or "State:\tZ" in status.read_text():
            break
        time.sleep(0.05)
    else:
        pytest.fail("the child is still running")
