"""A decode process that is not there: its process and its end of the socket, for tests of what talks to it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

from engine import wire
from engine.api.child import DecodeChild

NO_PID = 1 << 22
"""Linux gives no process such a number."""
Command = TypeVar("Command", bound=wire.Command)


class FakeProcess:
    """A process that is gone only when `gone` is set, and uses as much processor time as a test says."""

    pid = NO_PID

    def __init__(self) -> None:
        self.gone = threading.Event()
        self.kills = 0

    @property
    def returncode(self) -> int | None:
        return -9 if self.gone.is_set() else None

    def kill(self) -> None:
        self.kills += 1

    def wait(self) -> int:
        assert self.gone.wait(20)
        return -9

    def poll(self) -> int | None:
        return self.returncode


class Peer:
    """The decode process's side: frames to send, and the commands that came."""

    def __init__(self) -> None:
        self.ours, self._theirs = socket.socketpair()
        self._theirs.setblocking(False)
        self._unpacker = wire.Unpacker()
        self.process = FakeProcess()
        self.child = DecodeChild(cast(Any, self.process), self.ours)
        self.commands: list[wire.Command] = []

    def say(self, *frames: wire.Frame) -> None:
        self._theirs.sendall(b"".join(wire.pack(frame) for frame in frames))

    def hello(self, slowest_step_s: float = 0.0) -> None:
        self.say(wire.Hello(facts(), self.process.pid, slowest_step_s))

    def step(self, *outputs: wire.Output, admitted: tuple[wire.Admitted, ...] = (), t_ns: int = 0) -> None:
        self.say(wire.Step(t_ns, list(admitted), list(outputs), 0, 0, 0, 0.0, 0.0))

    async def heard(self, kind: type[Command]) -> Command:
        """The next command, which must be of this kind."""
        while not self.commands:
            data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self._theirs, 1 << 16), 10)
            assert data, "the other side is gone"
            self.commands += [wire.command_decoder.decode(body) for body in self._unpacker.feed(data)]
        command = self.commands.pop(0)
        assert isinstance(command, kind)
        return command

    def die(self) -> None:
        self.process.gone.set()
        self._theirs.close()


def facts() -> wire.ModelFacts:
    return wire.ModelFacts(
        description="a stand-in",
        n_params=1,
        size_bytes=1,
        quantisation="",
        n_vocab=1,
        ctx=1,
        ctx_train=1,
        slots=1,
        device="",
        gpu_layers=0,
        longest_token_bytes=1,
        chat_template="",
        bos="",
        eos="",
        build="",
    )


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # what is waited for is no event of ours
            await asyncio.sleep(0.005)
