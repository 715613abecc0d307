"""What each command may load, held at run time: a static rule does not see what an import drags in."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_report_samples import make_document, write_journal

ROOT = Path(__file__).parents[2]
TEXTUAL_FOLDER = "console/tui"

_LOADED = "import sys, json; sys.stderr.write(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


def loaded_by(program: str) -> set[str]:
    """Top-level packages in sys.modules after `program` ran in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\n{_LOADED}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def main(*argv: str) -> str:
    return f"from console.cli import main\nmain({list(argv)!r})"


def test_the_help_loads_nothing_heavy() -> None:
    loaded = loaded_by(main("--help"))
    assert not loaded & {
        "textual",
        "rich",
        "numpy",
        "scipy",
        "llama_cpp",
        "engine",
        "httpx",
        "msgspec",
        "pydantic",
        "asyncio",
    }


@pytest.mark.parametrize(
    "command", ["run", "serve", "scenarios", "runs", "show", "watch", "report", "export", "resume", "doctor"]
)
def test_no_commands_help_loads_the_screen_the_engine_or_numbers(command: str) -> None:
    assert not loaded_by(main(command, "--help")) & {"textual", "rich", "numpy", "scipy", "llama_cpp"}


def test_running_headless_never_loads_textual_or_llama_cpp() -> None:
    program = "import console.commands.run, console.progress, console.verdict, console.prepare, scenarios.runner"
    assert not loaded_by(program) & {"textual", "llama_cpp"}


@pytest.mark.parametrize(
    "command", [["runs"], ["show", "last"], ["report", "last"], ["watch", "last"], ["export", "last"]]
)
def test_reading_journals_never_loads_textual_or_llama_cpp(command: list[str], tmp_path: Path) -> None:
    write_journal(tmp_path, make_document())
    loaded = loaded_by(main(*command, "--runs-dir", str(tmp_path)))
    assert not loaded & {"textual", "rich", "llama_cpp", "numpy", "scipy"}


def imports(path: Path) -> set[str]:
    """Top-level packages that a file imports, also by a name in a string given to an import function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in ("import_module", "find_spec", "__import__"):
                found.add(str(node.args[0].value).partition(".")[0])
    return found


def sources() -> dict[str, Path]:
    files = (path for folder in ("console", "scenarios", "engine") for path in (ROOT / folder).rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): path for path in files}


def test_only_one_file_imports_llama_cpp() -> None:
    (only,) = {name for name, path in sources().items() if "llama_cpp" in imports(path)}
    assert only.startswith("engine/decode/")


def test_only_the_screen_imports_textual() -> None:
    wrong = {name for name, path in sources().items() if imports(path) & {"textual", "rich"}}
    assert {name for name in wrong if not name.startswith(f"{TEXTUAL_FOLDER}/")} == set()


def test_the_packages_import_each_other_in_one_direction_only() -> None:
    wrong = []
    for name, path in sources().items():
        package, found = name.partition("/")[0], imports(path)
        if package == "engine" and found & {"scenarios", "console"}:
            wrong.append(name)
        if package == "scenarios" and "console" in found:
            wrong.append(name)
    assert wrong == []
