"""The server with planted bugs is right without one, and with one wrong only when it is provoked."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.planted.server import BUGS, SLOTS, answer_to

SERVER = Path(__file__).parents[1] / "planted" / "server.py"
DEADLOCK, LEAK, FOREIGN = BUGS[1:]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@asynccontextmanager
async def started(
    bug: str, folder: Path, prefill: str = "0.05"
) -> AsyncIterator[tuple[int, asyncio.subprocess.Process]]:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(SERVER), "--port", str(port), "--bug", bug, "--spool", str(folder / "spool.json")),
        *("--prefill", prefill),
    )
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    (await asyncio.open_connection("127.0.0.1", port))[1].close()
                    break
                except ConnectionRefusedError:
                    await asyncio.sleep(0.02)
        yield port, process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ask(port: int, a: int, b: int, leave_after: int | None = None) -> str:
    """The answer's text; with `leave_after` the client resets the connection after so many events."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"prompt": f"Add {a} and {b}.", "stream": True}).encode()
    writer.write(b"POST /v1/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
    await writer.drain()
    text, events = "", 0
    try:
        if leave_after == 0:
            await asyncio.sleep(0.1)  # it has the request, and is at its prefill
            return ""
        async for line in reader:
            if line.startswith(b"data: [DONE]"):
                return text
            if line.startswith(b"data: "):
                choices = json.loads(line[6:])["choices"]
                text += choices[0]["text"] if choices else ""
                events += 1
                if events == leave_after:
                    return text
    finally:
        if leave_after is not None:
            linger = struct.pack("ii", 1, 0)  # close with RST
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()
    return text


async def right(port: int, a: int = 12, b: int = 34) -> bool:
    async with asyncio.timeout(5):
        return await ask(port, a, b) == "".join(answer_to(f"Add {a} and {b}."))


async def stuck(port: int) -> bool:
    try:
        return not await right(port)
    except TimeoutError:
        return True


@pytest.mark.parametrize("bug", BUGS)
async def test_it_answers_rightly_until_it_is_provoked(bug: str, tmp_path: Path) -> None:
    async with started(bug, tmp_path) as (port, _):
        assert all(await asyncio.gather(*(right(port, a, 7) for a in range(6))))


@pytest.mark.parametrize("after", [0, 2])
async def test_without_a_bug_clients_that_leave_change_nothing(after: int, tmp_path: Path) -> None:
    async with started("none", tmp_path, prefill="0.2") as (port, _):
        await asyncio.gather(*(ask(port, 1, 2, leave_after=after) for _ in range(2 * SLOTS)))
        assert await right(port)


async def test_a_client_that_leaves_in_prefill_stops_a_server_that_has_that_bug(tmp_path: Path) -> None:
    async with started(DEADLOCK, tmp_path, prefill="1.0") as (port, _):
        await ask(port, 1, 2, leave_after=2)
        assert await right(port)
        await ask(port, 1, 2, leave_after=0)
        assert await stuck(port)


async def test_a_slot_is_lost_with_every_client_that_leaves_in_mid_stream(tmp_path: Path) -> None:
    async with started(LEAK, tmp_path) as (port, _):
        for _ in range(SLOTS - 1):
            await ask(port, 1, 2, leave_after=1)
        assert await right(port)
        await ask(port, 1, 2, leave_after=1)
        assert await stuck(port)


async def test_what_a_killed_server_had_not_sent_comes_to_the_next_client(tmp_path: Path) -> None:
    async with started(FOREIGN, tmp_path) as (port, process):
        asking = asyncio.create_task(ask(port, 11111, 22222))
        while not (tmp_path / "spool.json").exists():  # noqa: ASYNC110 - another process's file
            await asyncio.sleep(0.01)
        process.kill()
        await asking
    async with started(FOREIGN, tmp_path) as (port, _):
        assert not await right(port)
        assert await right(port)
