"""serve: its options become the engine's settings, mistakes are named, and docs/serve.md tells of all of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from console import serving
from console.cli import build_parser, main
from console.commands import serve
from console.exits import Exit
from engine import machine
from engine.config import DEMO_MODEL, EngineConfig
from engine.fit import GpuRoom, Room

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/serve.md").read_text(encoding="utf-8")
HERE = Room(8 << 30, 6 << 30, (), "llama.cpp lists no GPU: a test")


@pytest.fixture
def configs(monkeypatch: pytest.MonkeyPatch) -> list[EngineConfig]:
    """What would have been served, on a machine with 6 GiB available."""
    served: list[EngineConfig] = []

    class Served:
        def __init__(self, config: EngineConfig, log: Path | None, *, as_json: bool) -> None:
            served.append(config)

        async def run(self) -> int:
            return Exit.GO

    monkeypatch.setattr(serving, "Serving", Served)
    monkeypatch.setattr(machine, "look", lambda gpus: HERE)
    return served


def mistake(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(["serve", *argv]) == Exit.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_without_options_the_demo_model_is_served_with_what_fits(configs: list[EngineConfig]) -> None:
    assert main(["serve"]) == Exit.GO
    (config,) = configs
    expected = EngineConfig(model=DEMO_MODEL, port=8080, ctx=1024, slots=16, gpu_layers=0)
    assert config == expected


def test_every_option_reaches_the_engine(configs: list[EngineConfig], tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    argv = (
        "--ctx 512 --slots 3 --queue 5 --threads 2 --host 0.0.0.0 --port 0 --gpu-layers 0 --response-cache 1.5MiB "
        f"--deterministic --no-prefix-cache --isolate-keys --log {tmp_path}/log --log-prompts --otel http://o:4318 "
        f"--drain 0 --step-target 20ms --chunk 64 --api-key-file {keys}"
    )
    assert main(["serve", *argv.split()]) == Exit.GO
    assert configs == [
        EngineConfig(
            model=DEMO_MODEL,
            ctx=512,
            slots=3,
            queue_limit=5,
            threads=2,
            host="0.0.0.0",
            port=0,
            gpu_layers=0,
            response_cache_bytes=3 << 19,
            deterministic=True,
            prefix_cache=False,
            isolate_keys=True,
            log_requests=True,
            log_prompts=True,
            otel_endpoint="http://o:4318",
            drain_s=0.0,
            step_target_s=0.02,
            prefill_chunk=64,
            api_key_file=keys,
        )
    ]


def test_what_will_be_served_is_said_before_it_is_loaded(
    configs: list[EngineConfig], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["serve", "--threads", "2"])
    captured = capsys.readouterr()
    assert captured.out == ""
    model, device, memory, slots = captured.err.splitlines()
    assert model == "model    Seatrial demo: llama, 2.41 M parameters, Q8_0, 5 layers, trained on 1024 tokens"
    assert device == "device   CPU (llama.cpp lists no GPU: a test)"
    assert memory.startswith("memory   estimated ")
    assert memory.endswith(" of 6.0 GiB available")
    assert slots == "serving  16 slots x 1024 tokens, 32 may wait, threads: 2"
    gpu = Room(8 << 30, 6 << 30, (GpuRoom("Big\x1b[31m GPU", 24 << 30, 20 << 30),))
    monkeypatch.setattr(machine, "look", lambda gpus: gpu)
    main(["serve", "--ctx", "2048"])
    told = capsys.readouterr().err
    assert "Big␛[31m GPU: 6 of 6 layers" in told
    assert "warning  the model was trained on 1024 tokens" in told


def test_more_than_the_machine_has_is_refused_with_what_would_fit(
    configs: list[EngineConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    told = mistake(capsys, "--ctx", "100000", "--slots", "256")
    assert re.match(
        r"seatrial: --slots: 256 sequences of 100000 tokens need .*; \d+ slots or a ctx of \d+ would fit", told
    )
    assert configs == []


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("--ctx 5", "--ctx: 5 is outside 32"),
        ("--ctx -1", "--ctx: '-1' is not between"),
        ("--slots 300", "--slots: '300' is not between"),
        ("--gpu-layers many", "--gpu-layers: 'many' is no whole number"),
        ("--host 0.0.0.0", "set --api-key-file"),
        ("--host 0.0.0.0 --api-key-file /none", "--api-key-file: /none cannot be read"),
        ("--model /none.gguf", "--model /none.gguf cannot be read"),
        ("--lora legal", "no NAME=PATH"),
        ("--lora legal=/none.gguf", "--lora: /none.gguf cannot be read"),
        (f"--lora legal={DEMO_MODEL}", "is of the type 'model', and 'adapter' is needed"),
        (f"--lora seatrial-demo={DEMO_MODEL}", "there is a model of this name already"),
        (f"--mmproj {DEMO_MODEL}", "--mmproj: "),
        ("--response-cache lots", "no size"),
        ("--response-cache 9TB", "more than 1 TiB"),
        ("--step-target 100us", "no duration"),
        ("--step-target 0.1ms", "--step-target: 0.0001 is outside"),
        ("--drain soon", "no duration"),
        ("--log-requests", "give --log FILE"),
        ("--log-prompts", "give --log FILE"),
    ],
)
def test_a_mistake_is_named_by_its_option(
    configs: list[EngineConfig], capsys: pytest.CaptureFixture[str], argv: str, said: str
) -> None:
    assert said in mistake(capsys, *argv.split())
    assert configs == []


@pytest.mark.parametrize(
    ("text", "count"), [("64MB", 64_000_000), ("64 MiB", 64 << 20), ("1.5k", 1500), ("100", 100), ("1GiB", 1 << 30)]
)
def test_sizes_are_read_with_units(text: str, count: int) -> None:
    assert serve._bytes(text) == count


def test_the_document_tells_of_every_option_and_of_no_other() -> None:
    parser = build_parser(["serve"])
    commands = next(action for action in parser._actions if action.dest == "command")
    known = {name for action in commands.choices["serve"]._actions for name in action.option_strings}  # type: ignore[index, union-attr]
    listed = re.findall(r"^\| `(--[a-z-]+)` \|", DOCUMENT, flags=re.M)
    assert set(listed) == known - {"-h", "--help"}
    assert len(listed) == len(set(listed))


def test_the_document_shows_every_route_of_the_api() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "engine/api").glob("*.py"))
    routes = set(re.findall(r'"(/[a-z0-9/_]+)": \{"(?:GET|POST)"', sources))
    assert routes
    assert set(re.findall(r"^    curl \$URL(/\S+)", DOCUMENT, flags=re.M)) == routes


def test_the_documents_commands_and_the_examples_parse() -> None:
    lines = re.findall(r"^ +seatrial (serve.*)$", DOCUMENT + serve.EXAMPLES, flags=re.M)
    assert len(lines) >= 8
    for line in lines:
        build_parser(["serve"]).parse_args(re.split(r" {2,}", line)[0].split())
