"""A connected socket to the target: over TCP or a Unix socket, through a proxy's tunnel where TLS goes by one."""

from __future__ import annotations

import asyncio
import errno
import socket

from scenarios.load.target import Peer, Target

_ANSWER_LIMIT = 64 << 10


class ProxyRefused(ConnectionRefusedError):
    """The proxy would not open a tunnel; the text is its status line."""


class Dialer:
    """Opens connections to one target. Of several addresses the one that last worked is tried first."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._peers = list(target.peers)

    async def dial(self) -> socket.socket:
        """A connected, non-blocking socket. Raises OSError of the last address tried."""
        failure: OSError | None = None
        for peer in list(self._peers):
            try:
                connected = await self._connect(peer)
            except OSError as error:
                failure = error
                continue
            if peer != self._peers[0]:
                self._peers.remove(peer)
                self._peers.insert(0, peer)
            return connected
        raise failure or OSError(errno.EHOSTUNREACH, "no address")

    async def _connect(self, peer: Peer) -> socket.socket:
        family = socket.AF_UNIX if isinstance(peer, str) else socket.AF_INET6 if ":" in peer[0] else socket.AF_INET
        new = socket.socket(family, socket.SOCK_STREAM)
        try:
            new.setblocking(False)
            if family != socket.AF_UNIX:
                new.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(new, peer)
            if self._target.proxied and self._target.tls is not None:
                await self._tunnel(new)
        except BaseException:
            new.close()
            raise
        return new

    async def _tunnel(self, proxy: socket.socket) -> None:
        """Ask the proxy for a tunnel. What follows its answer's blank line is the target's: there is nothing yet."""
        loop = asyncio.get_running_loop()
        address = self._target.address
        host = f"[{address.host}]" if ":" in address.host else address.host
        name = f"{host}:{address.port}"
        await loop.sock_sendall(proxy, f"CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = await loop.sock_recv(proxy, 4096)
            answer += piece
            if not piece or len(answer) > _ANSWER_LIMIT:
                raise ProxyRefused("the proxy gave no answer to CONNECT")
        status = answer.partition(b"\r\n")[0].decode("latin-1")
        if status.split(" ")[1:2] != ["200"]:
            raise ProxyRefused(f"the proxy says {status[:100]!r} to CONNECT")
