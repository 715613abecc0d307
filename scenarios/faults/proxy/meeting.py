"""How a link begins: the target is connected and its TLS agreed on, only then the client is spoken to."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable

from scenarios.faults.proxy.loop import READ, WRITE, Alarm, Loop
from scenarios.faults.proxy.side import Side
from scenarios.load.target import Target

_AGAIN_NS = 5_000_000


class Meeting:
    """Calls `met` with the target's side when both sides are open, or `failed` once where that cannot be.

    `failed` is told whether the client is owed an RST: it is, unless its own TLS failed. Of several addresses of the
    target each is tried.
    """

    def __init__(
        self,
        loop: Loop,
        target: Target,
        client: Side,
        client_tls: ssl.SSLContext | None,
        met: Callable[[Side], None],
        failed: Callable[[bool], None],
    ) -> None:
        self._loop = loop
        self._to = target
        self._peers = list(target.peers)
        self._client = client
        self._client_tls = client_tls
        self._met = met
        self._failed = failed
        self._target: Side | None = None
        self._alarm: Alarm | None = None

    def begin(self) -> None:
        peer = self._peers[0]
        family = socket.AF_UNIX if isinstance(peer, str) else socket.AF_INET6 if ":" in peer[0] else socket.AF_INET
        try:
            new = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            if family != socket.AF_UNIX:
                new.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:  # no descriptor left
            self._failed(True)
            return
        error = new.connect_ex(peer)
        if error == errno.EAGAIN:  # a Unix socket whose queue is full
            new.close()
            self._alarm = self._loop.at(self._loop.now_ns + _AGAIN_NS, self.begin)
            return
        self._target = Side(self._loop, new, self._connected)
        if error and error != errno.EINPROGRESS:
            self._next_peer(self._target)
            return
        self._target.wait(WRITE)

    def give_up(self) -> None:
        """Nobody waits any more."""
        if self._alarm is not None:
            self._alarm.cancel()
        if self._target is not None:
            self._target.close()

    def _connected(self, _: int) -> None:
        target = self._target
        assert target is not None
        if target.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._next_peer(target)
            return
        target.wait(0)
        if self._to.tls is None:
            self._meet_client()
        else:
            target.secure(self._to.tls, self._to.address.host)
            target.call = self._shake_target
            self._shake_target(0)

    def _next_peer(self, failed: Side) -> None:
        failed.close()
        self._peers.pop(0)
        if self._peers:
            self.begin()
        else:
            self._failed(True)

    def _shake_target(self, _: int) -> None:
        assert self._target is not None
        if self._shaken(self._target):
            self._meet_client()

    def _meet_client(self) -> None:
        if self._client_tls is None:
            self._over()
        else:
            self._client.secure(self._client_tls, None)
            self._client.call = self._shake_client
            self._shake_client(0)

    def _shake_client(self, _: int) -> None:
        if self._shaken(self._client):
            self._over()

    def _shaken(self, side: Side) -> bool:
        """Whether it agrees on TLS by now; where it never will, the meeting has failed."""
        assert side.tls is not None
        try:
            side.tls.do_handshake()
        except ssl.SSLWantReadError:
            side.wait(READ)
        except ssl.SSLWantWriteError:
            side.wait(WRITE)
        except OSError:  # ssl.SSLError is one; the alert that tells the other side is sent
            self._failed(side is not self._client)
        else:
            side.wait(0)
            return True
        return False

    def _over(self) -> None:
        assert self._target is not None
        self._met(self._target)
