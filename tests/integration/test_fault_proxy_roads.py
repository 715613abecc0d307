"""The fault proxy before targets behind TLS and on a Unix socket, and whatever bytes go through it."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from carried import Carried
from fault_road import ask, before, behind, hold, order, outcomes, requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted_server import CUT, ROLE, Turn, event, stream

from scenarios.address import DIRECT, Road
from scenarios.faults.injector import FaultRefused
from scenarios.observation import Outcome


async def fine(turn: Turn) -> bool:
    await turn.say(stream(ROLE, event("A"), event("B" * 100_000), event("C")))
    return True


TEXT = "A" + "B" * 100_000 + "C"


class Certified:
    """A server certificate for 127.0.0.1, and the authority that signed it as a file."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca_file = str(folder / "target-ca.pem")
        authority.cert_pem.write_to_path(self.ca_file)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(self.context)


@pytest.fixture
def certified(tmp_path: Path) -> Certified:
    return Certified(tmp_path)


async def test_a_tls_target_is_met_with_tls_and_its_content_can_be_changed(
    certified: Certified, tmp_path: Path
) -> None:
    road = Road(ca_file=certified.ca_file)
    async with behind(fine, tmp_path, road, tls=certified.context) as (server, proxy):
        assert proxy.base_url.startswith("https://127.0.0.1:")
        seen = await ask(proxy.base_url, proxy.road, requests(3))
        assert [(one.outcome, one.answer) for one in seen] == [(Outcome.OK, TEXT)] * 3
        assert server.turns[0].header("host") == server.url.removeprefix("http://")
        held = await hold(proxy, order("network.latency", delay=0.2))
        seen = await ask(proxy.base_url, proxy.road, requests(3))
        assert [(one.outcome, one.answer) for one in seen] == [(Outcome.OK, TEXT)] * 3
        await held.stop()
        held = await hold(proxy, order("stream.truncate", after=1))
        assert outcomes(await ask(proxy.base_url, proxy.road, requests())) == {Outcome.TRUNCATED}
        await held.stop()
        assert not outcomes(await ask(proxy.base_url, proxy.road, requests())) - {Outcome.OK}
        name = proxy.road.ca_file.rpartition("/")[2]
        assert name in os.listdir(tmp_path)
    assert name not in os.listdir(tmp_path)


async def test_an_expired_certificate_is_no_connection_and_open_ones_are_not_concerned(
    certified: Certified, tmp_path: Path
) -> None:
    road = Road(ca_file=certified.ca_file)
    async with behind(fine, tmp_path, road, tls=certified.context) as (_, proxy):
        held = await hold(proxy, order("network.tls_expired"))
        seen = await ask(proxy.base_url, proxy.road, requests(2))
        assert outcomes(seen) == {Outcome.REFUSED}
        assert "expired" in seen[0].error
        await held.stop()
        assert outcomes(await ask(proxy.base_url, proxy.road, requests(2))) == {Outcome.OK}


async def test_a_target_whose_certificate_nobody_vouches_for_is_no_connection(
    certified: Certified, tmp_path: Path
) -> None:
    async with behind(fine, tmp_path, tls=certified.context) as (server, proxy):
        assert outcomes(await ask(proxy.base_url, proxy.road, requests(2))) == {Outcome.REFUSED}
        assert not server.turns


async def test_how_a_tls_target_ends_is_the_same_with_the_proxy_as_without(
    certified: Certified, tmp_path: Path
) -> None:
    async def cut(turn: Turn) -> None:
        await turn.say(CUT)

    road = Road(ca_file=certified.ca_file)
    async with behind(cut, tmp_path, road, tls=certified.context) as (server, proxy):
        direct = await ask(server.url.replace("http:", "https:"), road, requests(2))
        carried = await ask(proxy.base_url, proxy.road, requests(2))
    assert [(one.outcome, one.answer) for one in carried] == [(one.outcome, one.answer) for one in direct]


async def test_without_trustme_a_tls_target_is_carried_in_the_clear_on_this_machine(
    certified: Certified, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow" / "trustme.py").write_text("raise ImportError('not installed')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "shadow"))
    road = Road(ca_file=certified.ca_file)
    async with behind(fine, tmp_path, road, tls=certified.context) as (_, proxy):
        assert proxy.base_url.startswith("http://127.0.0.1:")
        seen = await ask(proxy.base_url, proxy.road, requests(2))
        assert [(one.outcome, one.answer) for one in seen] == [(Outcome.OK, TEXT)] * 2
        with pytest.raises(FaultRefused, match=r"needs the package trustme: pip install 'seatrial\[tls\]'"):
            await hold(proxy, order("network.tls_expired"))


async def test_a_target_on_a_unix_socket_is_carried_like_any_other(tmp_path: Path) -> None:
    path = str(tmp_path / "llm.sock")
    async with behind(fine, tmp_path, path=path) as (server, proxy):
        seen = await ask(proxy.base_url, proxy.road, requests(3))
        assert [(one.outcome, one.answer) for one in seen] == [(Outcome.OK, TEXT)] * 3
        assert server.turns[0].header("host") == "localhost"
        await hold(proxy, order("network.reset"))
        assert outcomes(await ask(proxy.base_url, proxy.road, requests())) == {Outcome.RESET}


async def test_a_host_header_of_the_roads_own_stays(tmp_path: Path) -> None:
    async with behind(fine, tmp_path, Road(headers=(("host", "tenant.example"),))) as (server, proxy):
        await ask(proxy.base_url, proxy.road, requests())
        assert [turn.header("host") for turn in server.turns] == ["tenant.example"]


async def test_a_prefix_of_the_target_stays(tmp_path: Path) -> None:
    async with behind(fine, tmp_path) as (server, _), before(f"{server.url}/gateway/v1", tmp_path, DIRECT) as proxy:
        assert outcomes(await ask(proxy.base_url, proxy.road, requests())) == {Outcome.OK}
        assert server.turns[-1].path == "/gateway/v1/chat/completions"


# ---- whatever bytes


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Carried]:
    one = Carried(tmp_path_factory.mktemp("carried"))
    yield one
    one.close()


def read_all(source: socket.socket, into: list[bytes]) -> None:
    with contextlib.suppress(ConnectionError):
        while piece := source.recv(65_536):
            into.append(piece)


def through(carried: Carried, up: list[bytes], down: list[bytes]) -> tuple[bytes, bytes]:
    """What arrives of both, each side reading while it writes."""
    near, far = carried.pair()
    with near, far:
        at_near: list[bytes] = []
        at_far: list[bytes] = []
        readers = [threading.Thread(target=read_all, args=pair) for pair in ((near, at_near), (far, at_far))]
        for reader in readers:
            reader.start()
        for sink, pieces in ((near, up), (far, down)):
            for piece in pieces:
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
        for reader in readers:
            reader.join(20)
            assert not reader.is_alive()
    return b"".join(at_far), b"".join(at_near)


some_bytes = st.lists(st.binary(max_size=2000) | st.binary(max_size=20).map(lambda few: few * 5000), max_size=5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(up=some_bytes, down=some_bytes)
def test_any_bytes_arrive_unchanged_both_ways(carried: Carried, up: list[bytes], down: list[bytes]) -> None:
    assert through(carried, up, down) == (b"".join(up), b"".join(down))


few_bytes = st.lists(st.binary(max_size=300), max_size=5)
FAULTS = {
    "network.latency": {"delay": 0.01, "jitter": 0.01, "direction": "both"},
    "network.slice": {"size": 7.0, "delay": 0.0, "direction": "both"},
    "network.bandwidth": {"rate": 100_000.0, "direction": "both"},
    "network.slow_start": {"delay": 0.01},
    "network.slow_connect": {"delay": 0.01},
    "http.header_lost": {"header": "date"},
    "stream.bytewise": {"delay": 0.0},
}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(up=few_bytes, down=few_bytes, kinds=st.lists(st.sampled_from(sorted(FAULTS)), max_size=4, unique=True))
def test_any_bytes_arrive_unchanged_through_faults_that_only_delay(
    carried: Carried, up: list[bytes], down: list[bytes], kinds: list[str]
) -> None:
    numbers = [carried.start(kind, **FAULTS[kind]) for kind in kinds]  # type: ignore[arg-type]
    try:
        assert through(carried, up, down) == (b"".join(up), b"".join(down))
    finally:
        for number in numbers:
            carried.stop(number)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    up=few_bytes,
    down=few_bytes,
    kinds=st.lists(
        st.sampled_from(["network.latency", "network.bandwidth", "network.blackhole"]), min_size=1, unique=True
    ),
)
def test_what_faults_hold_when_they_end_arrives_whole_and_in_order(
    carried: Carried, up: list[bytes], down: list[bytes], kinds: list[str]
) -> None:
    hard = {
        "network.latency": {"delay": 60.0, "jitter": 10.0, "direction": "both"},
        "network.bandwidth": {"rate": 1.0, "direction": "both"},
        "network.blackhole": {},
    }
    numbers = [carried.start(kind, **hard[kind]) for kind in kinds]  # type: ignore[arg-type]
    ending = threading.Timer(0.05, lambda: [carried.stop(number) for number in numbers])
    ending.start()
    assert through(carried, up, down) == (b"".join(up), b"".join(down))
    ending.join()
