"""The roads to a target: TLS, a Unix socket, a proxy with and without a tunnel; each with a real worker."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trustme
from scripted_server import ScriptedServer, Turn, event, stream

from scenarios.address import Road
from scenarios.load.pool import LoadPool
from scenarios.observation import Observation, Outcome
from scenarios.plan import Plan
from scenarios.request import PlannedRequest


async def fine(turn: Turn) -> bool:
    await turn.say(stream(event("A")))
    return True


async def ask(url: str, road: Road, count: int = 3) -> list[Observation]:
    requests = [
        PlannedRequest(index=index, due_ns=index * 20_000_000, path="/v1/chat/completions", body=b"{}", timeout_s=20.0)
        for index in range(count)
    ]
    pool = LoadPool(Plan.of(requests), url, road=road)
    try:
        await pool.prepare()
        pool.start(time.monotonic_ns())
        return [one async for batch in pool.batches() for one in batch.observations]
    finally:
        await pool.close()


def outcomes(seen: list[Observation]) -> set[Outcome]:
    return {one.outcome for one in seen}


class Certified:
    """A server certificate for 127.0.0.1 and the authority that signed it, as a file."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca_file = str(folder / "ca.pem")
        authority.cert_pem.write_to_path(self.ca_file)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(self.context)


@pytest.fixture
def certified(tmp_path: Path) -> Certified:
    return Certified(tmp_path)


class Proxy:
    """An HTTP proxy for one request a connection: forwards plain ones, tunnels CONNECT, or refuses it."""

    def __init__(self, refuse: bool = False) -> None:
        self.refuse = refuse
        self.asked: list[str] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, where, _ = head.decode().split(" ", 2)
        self.asked.append(f"{method} {where}")
        if self.refuse:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        authority = where if method == "CONNECT" else httpx.URL(where).netloc.decode()
        host, _, port = authority.rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            far_writer.write(head)
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass  # the other side went first
        finally:
            sink.close()


@asynccontextmanager
async def proxying(proxy: Proxy) -> AsyncIterator[Proxy]:
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()


async def test_a_target_behind_tls_is_trusted_by_its_authority(certified: Certified) -> None:
    async with ScriptedServer(fine, tls=certified.context) as server:
        url = server.url.replace("http:", "https:")
        assert outcomes(await ask(url, Road(ca_file=certified.ca_file))) == {Outcome.OK}
        assert outcomes(await ask(url, Road(verify=False))) == {Outcome.OK}


async def test_a_certificate_that_nobody_vouches_for_is_no_connection(certified: Certified) -> None:
    async with ScriptedServer(fine, tls=certified.context) as server:
        (seen,) = await ask(server.url.replace("http:", "https:"), Road(), count=1)
    assert seen.outcome is Outcome.REFUSED
    assert "certificate" in seen.error.lower()


async def test_a_unix_socket_is_a_target_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "llm.sock"
    async with ScriptedServer(fine, path=str(path)) as server:
        assert outcomes(await ask(f"unix:{path}", Road())) == {Outcome.OK}
        assert server.turns[0].header("host") == "localhost"
        assert server.connections == 1


async def test_a_socket_that_nobody_listens_on_refuses(tmp_path: Path) -> None:
    (seen,) = await ask(f"unix:{tmp_path / 'nobody.sock'}", Road(), count=1)
    assert seen.outcome is Outcome.REFUSED


async def test_a_plain_target_is_asked_for_through_the_proxy() -> None:
    async with ScriptedServer(fine) as server, proxying(Proxy()) as proxy:
        assert outcomes(await ask(server.url, Road(proxy=proxy.url))) == {Outcome.OK}
    assert set(proxy.asked) == {f"POST {server_url(server)}/v1/chat/completions"}


def server_url(server: ScriptedServer) -> str:
    return f"http://{server.turns[0].header('host')}"


async def test_a_tls_target_is_reached_through_the_proxys_tunnel(certified: Certified) -> None:
    async with ScriptedServer(fine, tls=certified.context) as server, proxying(Proxy()) as proxy:
        url = server.url.replace("http:", "https:")
        assert outcomes(await ask(url, Road(proxy=proxy.url, ca_file=certified.ca_file))) == {Outcome.OK}
    assert set(proxy.asked) == {"CONNECT " + url.removeprefix("https://")}


async def test_a_proxy_that_opens_no_tunnel_is_a_refusal_that_says_so(certified: Certified) -> None:
    async with ScriptedServer(fine, tls=certified.context) as server, proxying(Proxy(refuse=True)) as proxy:
        (seen,) = await ask(server.url.replace("http:", "https:"), Road(proxy=proxy.url), count=1)
    assert seen.outcome is Outcome.REFUSED
    assert "407" in seen.error


async def test_a_header_of_the_road_is_in_every_request_and_its_secret_in_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SEATRIAL_TEST_SECRET", "s3cret-value")

    async def echo(turn: Turn) -> bool:
        await turn.say(stream(event(f"you said {turn.header('x-key')}")))
        return True

    async with ScriptedServer(echo) as server:
        seen = await ask(server.url, Road(headers=(("X-Key", "env:SEATRIAL_TEST_SECRET"),)))
        assert {turn.header("x-key") for turn in server.turns} == {"s3cret-value"}
    assert {one.answer for one in seen} == {"you said [api key]"}
