"""Whether a model fits: the estimate against llama.cpp's own reports, and what is chosen from it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import machine
from engine.config import DEMO_MODEL, EngineConfig
from engine.decode.bindings import L, on_log
from engine.errors import ConfigError
from engine.fit import PLAIN_ATTENTION_CTX, Demand, GpuRoom, Room, choose, chunk_for, estimate, size
from engine.model_header import Block, ModelHeader, read_model
from engine.resolve import resolve

GIB = 1 << 30
EIGHT_B = ModelHeader(
    path=Path("8b.gguf"),
    files=1,
    name="8B",
    architecture="llama",
    parameters=8_030_000_000,
    weights_bytes=32 * 125 * 10**6 + 2 * 250 * 10**6,
    quantisation="Q4_K_M",
    ctx_train=131_072,
    vocabulary=128_256,
    tokens=400_000,
    width=4096,
    heads=32,
    key_width=1024,
    feed_forward=14_336,
    blocks=(Block(125 * 10**6, 2048, 0),) * 32,
    output_bytes=250 * 10**6,
    tied=False,
    chat_template=True,
)
"""A Llama of 8 B parameters with 4.5 GB of weights; a token takes 128 KiB of KV."""


def room(ram: float, *gpus: float) -> Room:
    """A machine with this much RAM and these GPUs, in GiB, a tenth of each in use."""
    of = tuple(GpuRoom("GPU", int(gpu * GIB), int(gpu * GIB * 0.9)) for gpu in gpus)
    return Room(int(ram * GIB), int(ram * GIB * 0.9), of, "" if of else "llama.cpp lists no GPU")


@contextmanager
def reports() -> Iterator[list[str]]:
    """What llama.cpp says meanwhile."""
    lines: list[str] = []

    @L.llama_log_callback
    def collect(_level: int, text: bytes, _user: object) -> None:
        lines.append(text.decode("utf-8", "replace"))

    L.llama_log_set(collect, None)
    try:
        yield lines
    finally:
        L.llama_log_set(on_log, None)


def allotted(model: object, demand: Demand) -> tuple[float, float]:
    """KV and compute buffers in MiB, as llama.cpp reports them for a context made as the engine makes it."""
    params = L.llama_context_default_params()
    params.n_ctx, params.n_seq_max = demand.ctx * demand.slots, demand.slots
    params.n_batch = params.n_ubatch = max(demand.chunk, 2 * demand.slots)
    params.n_outputs_max = demand.slots
    params.kv_unified, params.offload_kqv, params.op_offload = False, False, False
    if demand.ctx <= PLAIN_ATTENTION_CTX:
        params.flash_attn_type = 0
    with reports() as lines:
        L.llama_free(L.llama_init_from_model(model, params))
    text = "".join(lines)
    kv = re.findall(r"llama_kv_cache: size = +([\d.]+) MiB", text)
    compute = re.findall(r"compute buffer size = +([\d.]+) MiB", text)
    return sum(map(float, kv)), sum(map(float, compute))


def test_the_estimate_is_what_llama_cpp_reports() -> None:
    model = read_model(DEMO_MODEL)
    params = L.llama_model_default_params()
    params.n_gpu_layers, params.use_extra_bufts = 0, False
    loaded = L.llama_model_load_from_file(os.fsencode(DEMO_MODEL), params)
    try:
        for ctx, slots, chunk in ((256, 1, 64), (300, 4, 64), (1024, 4, 256), (4096, 1, 512), (8192, 2, 64)):
            demand = Demand(ctx, slots, 0, chunk)
            host, gpu = estimate(model, demand)
            outputs = 4 * model.vocabulary * slots
            kv, compute = allotted(loaded, demand)
            assert host.kv_bytes / 2**20 == pytest.approx(kv, abs=0.01)
            assert (host.compute_bytes - outputs) / 2**20 == pytest.approx(compute, rel=0.05, abs=0.05)
            assert gpu.total == 0
        demand = Demand(16_384, 1, 0, 128)  # flash attention: an upper bound
        assert estimate(model, demand)[0].compute_bytes / 2**20 >= allotted(loaded, demand)[1] - 0.01  # it rounds
    finally:
        L.llama_model_free(loaded)


def test_nothing_is_lost_between_host_and_gpu() -> None:
    whole, _ = estimate(EIGHT_B, Demand(4096, 4, 0))
    for layers in (1, 2, 17, 33, 999):
        host, gpu = estimate(EIGHT_B, Demand(4096, 4, layers))
        assert host.weights_bytes + gpu.weights_bytes == whole.weights_bytes
        assert host.kv_bytes + gpu.kv_bytes == whole.kv_bytes
    assert host.kv_bytes == 0
    assert host.weights_bytes == 250 * 10**6  # the embeddings stay


def test_tied_embeddings_are_on_both_sides() -> None:
    tied = replace(EIGHT_B, tied=True)
    host, gpu = estimate(tied, Demand(4096, 4, 33))
    assert host.weights_bytes + gpu.weights_bytes == EIGHT_B.weights_bytes + EIGHT_B.output_bytes


@pytest.mark.parametrize(
    ("ram", "ctx", "slots"), [(64, 8192, 16), (24, 8192, 12), (16, 8192, 8), (8, 8192, 2), (6, 2048, 2), (5.3, 256, 1)]
)
def test_on_a_cpu_as_many_sequences_as_fit_and_then_shorter_ones(ram: float, ctx: int, slots: int) -> None:
    fit = choose(EIGHT_B, Demand(), room(ram))
    assert (fit.ctx, fit.slots, fit.gpu_layers, fit.gpu) == (ctx, slots, 0, None)
    assert fit.warnings == ()


@pytest.mark.parametrize(
    ("gpu", "ctx", "slots", "layers"),
    [
        (80, 8192, 16, 33),
        (12, 8192, 4, 33),
        (8, 8192, 1, 33),
        (6.4, 4096, 1, 33),
        (6, 8192, 1, 27),
        (4, 8192, 1, 16),
        (1, 8192, 16, 0),
    ],
)
def test_on_a_gpu_whole_models_first_then_as_many_layers_as_fit(gpu: float, ctx: int, slots: int, layers: int) -> None:
    fit = choose(EIGHT_B, Demand(), room(64, gpu))
    assert (fit.ctx, fit.slots, fit.gpu_layers) == (ctx, slots, layers)
    assert (fit.gpu is None) is (layers == 0)


def test_two_gpus_count_together() -> None:
    assert choose(EIGHT_B, Demand(), room(64, 8, 8)).slots > choose(EIGHT_B, Demand(), room(64, 8)).slots


def test_what_is_asked_for_stays_even_when_less_would_fit_better() -> None:
    fit = choose(EIGHT_B, Demand(ctx=4096, slots=3, gpu_layers=10), room(64, 80))
    assert (fit.ctx, fit.slots, fit.gpu_layers) == (4096, 3, 10)
    assert choose(EIGHT_B, Demand(gpu_layers=0), room(64, 80)).gpu is None
    assert choose(EIGHT_B, Demand(gpu_layers=500), room(64, 80)).gpu_layers == 33


def test_more_than_is_free_now_is_a_warning_and_no_refusal() -> None:
    busy = replace(room(16), ram_available=2 * GIB)
    fit = choose(EIGHT_B, Demand(ctx=2048, slots=4), busy)
    assert fit.slots == 4
    assert "are available now" in fit.warnings[0]
    full = replace(room(64, 12), gpus=(GpuRoom("GPU", 12 * GIB, GIB),))
    assert "free now" in choose(EIGHT_B, Demand(ctx=2048, slots=4, gpu_layers=33), full).warnings[0]


def test_doubtful_wishes_are_warned_about() -> None:
    small = replace(EIGHT_B, ctx_train=2048)
    assert "trained on 2048 tokens" in choose(small, Demand(ctx=4096), room(64)).warnings[0]
    (warning,) = choose(EIGHT_B, Demand(gpu_layers=5), room(64)).warnings
    assert warning == "5 layers were asked for on a GPU, and llama.cpp lists no GPU"


@pytest.mark.parametrize(
    ("asked", "has", "field", "said"),
    [
        (Demand(), room(4), "model", "its weights alone need 4.2 GiB and this machine has 4.0 GiB"),
        (Demand(ctx=8192, slots=64), room(16), "slots", "64 sequences of 8192 tokens need 64.0 GiB beside 4.2 GiB"),
        (Demand(ctx=131_072, slots=1), room(16), "ctx", "1 sequences of 131072 tokens need 16.0 GiB"),
        (Demand(gpu_layers=33), room(64, 2), "gpu_layers", "the weights of 33 layers need 4.0 GiB and the GPU has 2.0"),
        (Demand(8192, 16, 33), room(64, 8), "slots", "16 sequences of 8192 tokens need 16.0 GiB"),
    ],
)
def test_what_cannot_fit_is_refused_with_what_would(asked: Demand, has: Room, field: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        choose(EIGHT_B, asked, has)
    error = caught.value
    assert error.field == field
    assert said in error.what
    advice = re.findall(r"(\d+) slot|a ctx of (\d+)", error.fix)
    assert advice or "use" in error.fix
    for slots, ctx in advice:  # what is advised does fit
        advised = replace(asked, slots=int(slots)) if slots else replace(asked, ctx=int(ctx))
        assert choose(EIGHT_B, advised, replace(has, ram_available=has.ram_total)).warnings == ()


def test_kept_answers_and_adapters_take_their_share() -> None:
    plain, _ = estimate(EIGHT_B, Demand(1024, 1, 0))
    more, _ = estimate(EIGHT_B, Demand(1024, 1, 0, extra_bytes=10**8, cache_bytes=10**7))
    assert more.total - plain.total == 10**8 + 10**7


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    ctx=st.sampled_from([0, 32, 500, 4096, 40_000]),
    slots=st.sampled_from([0, 1, 7, 256]),
    layers=st.sampled_from([-1, 0, 1, 20, 33, 5000]),
    ram=st.floats(0.5, 200),
    gpus=st.lists(st.floats(0.3, 100), max_size=2),
)
def test_a_choice_is_whole_and_never_beyond_what_there_is(
    ctx: int, slots: int, layers: int, ram: float, gpus: list[float]
) -> None:
    has = room(ram, *gpus)
    try:
        fit = choose(EIGHT_B, Demand(ctx, slots, layers), has)
    except ConfigError:
        return
    assert fit.ctx == (ctx or fit.ctx) >= 32
    assert fit.slots == (slots or fit.slots) >= 1
    assert 0 <= fit.gpu_layers <= 33
    assert fit.host.weights_bytes + fit.host.kv_bytes <= has.ram_total
    if not fit.warnings:
        assert fit.host.total <= has.ram_available
        assert fit.gpu is None or fit.gpu.total <= sum(gpu.free for gpu in has.gpus)


def test_the_demo_model_resolves_to_numbers_that_the_engine_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "look", lambda gpus: room(8))
    config, report = resolve(EngineConfig(model=DEMO_MODEL, ctx=0, slots=0))
    assert (config.ctx, config.slots, config.gpu_layers) == (1024, 16, 0)
    assert config.validate() == config
    assert "llama.cpp lists no GPU" in report.device
    assert re.fullmatch(r"\d+ MiB \(weights 3 MiB, KV 60 MiB, .*\) of 7\.2 GiB available", report.memory)
    monkeypatch.setattr(machine, "look", lambda gpus: room(8, 24))
    config, report = resolve(EngineConfig(model=DEMO_MODEL))
    assert config.gpu_layers == 6
    assert "6 of 6 layers" in report.device
    assert report.memory.startswith("on the GPU ")


@pytest.mark.parametrize(
    ("settings_", "field"),
    [
        ({"model": Path("/none.gguf")}, "model"),
        ({"lora": (("a", Path("/none.gguf")),)}, "lora"),
        ({"mmproj": DEMO_MODEL}, "mmproj"),
        ({"slots": 300}, "slots"),
        ({"ctx": 5}, "ctx"),
    ],
)
def test_a_file_or_a_number_that_will_not_do_is_named_before_anything_starts(
    settings_: dict[str, object], field: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(replace(EngineConfig(model=DEMO_MODEL), **settings_))  # type: ignore[arg-type]
    assert caught.value.field == field
    assert caught.value.what
    assert caught.value.fix


def test_this_machine_is_looked_at_and_says_why_it_has_no_gpu() -> None:
    here = machine.look()
    assert 0 < here.ram_available <= here.ram_total
    assert here.gpus or here.no_gpu
    assert machine.look(gpus=False).no_gpu == "no layers on a GPU were asked for"


def test_a_build_that_crashes_when_asked_for_its_gpus_leaves_the_cpu() -> None:
    crashed = machine.look(ask="import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert crashed.gpus == ()
    assert "ended with -11" in crashed.no_gpu
    assert "could not be asked" in machine.look(ask="print('nonsense')").no_gpu
    found = machine.look(ask="print('[[\"Big\", 100, 90]]')")
    assert found.gpus == (GpuRoom("Big", 100, 90),)


def test_a_containers_limit_counts_and_files_in_the_cache_do_not(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text(f"{64 << 20}\n")
    (tmp_path / "memory.current").write_text(f"{40 << 20}\n")
    (tmp_path / "memory.stat").write_text(f"anon {20 << 20}\nactive_file {4 << 20}\ninactive_file {6 << 20}\n")
    limited = machine.look(gpus=False, cgroup=tmp_path)
    assert limited.ram_total == 64 << 20
    assert limited.ram_available == 34 << 20
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.look(gpus=False, cgroup=tmp_path).ram_total > 64 << 20


def test_sizes_and_chunks() -> None:
    assert [size(n) for n in (0, 1, 1 << 20, 5 * GIB)] == ["0 MiB", "1 MiB", "1 MiB", "5.0 GiB"]
    assert chunk_for(10**7, on_gpu=False) > chunk_for(10**10, on_gpu=False)
    assert chunk_for(10**10, on_gpu=True) == 512
