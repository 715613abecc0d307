"""The proxy itself: takes connections, dials the target for each, and puts faults in force as it is told."""

from __future__ import annotations

import errno
import select
import socket
import ssl
import time
from collections.abc import Callable

from scenarios.faults.injector import Ended, Order
from scenarios.faults.proxy.control import Certificates
from scenarios.faults.proxy.endpoint import READ_BYTES, Endpoint
from scenarios.faults.proxy.force import Force
from scenarios.faults.proxy.link import Link
from scenarios.faults.proxy.loop import Loop
from scenarios.faults.proxy.shaping import NS
from scenarios.faults.proxy.way import Way
from scenarios.load.target import Target

_READ, _WRITE = select.EPOLLIN, select.EPOLLOUT
_GONE = select.EPOLLERR | select.EPOLLHUP
_BACKLOG = 1024
_RETRY_NS = 50_000_000
_READS_AT_ONCE = 4


class Server:
    """`over` is called with what came of each fault, once it is undone."""

    def __init__(
        self, loop: Loop, target: Target, certificates: Certificates | None, over: Callable[[Ended], None]
    ) -> None:
        self._loop = loop
        self._target = target
        self._over = over
        self._good = _server_side(certificates.good) if certificates else None
        self._expired = _server_side(certificates.expired) if certificates else None
        self._forces: dict[int, Force] = {}
        self._links: set[Link] = set()
        self._count = 0
        self._listener: socket.socket | None = None
        self.port = 0
        self._listen()

    # -- faults

    def put(self, order: Order) -> None:
        """Put a fault in force, on open connections too."""
        until_ns = time.monotonic_ns() + round(order.for_s * NS)
        force = Force(order, until_ns, lambda force: self._loop.at(0, lambda: self.end(force.order.number, "hits")))
        self._forces[order.number] = force
        if order.for_s:
            self._loop.at(until_ns, lambda: self.end(order.number, "time"))
        self._changed()

    def end(self, number: int, why: str) -> None:
        """Undo a fault, if it is still in force."""
        force = self._forces.pop(number, None)
        if force is not None:
            self._changed()
            self._over(force.ended(why))

    def _changed(self) -> None:
        forces = tuple(self._forces.values())
        for link in tuple(self._links):
            link.apply(forces)
            self._moment(0, link, link.flush)
        if any(force.order.kind == "network.refuse" for force in forces):
            self._deaf()
        elif self._listener is None:
            self._listen()

    # -- connections

    def _listen(self) -> None:
        """Listen, on the same port as before; again a little later where somebody else has it just now."""
        if self._listener is not None:
            return
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        try:
            listener.bind(("127.0.0.1", self.port))
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            if not self.port:
                raise
            self._loop.at(time.monotonic_ns() + _RETRY_NS, self._listen)
            return
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._loop.watch(listener.fileno(), _READ, self._accept)

    def _deaf(self) -> None:
        """New connections are refused."""
        if self._listener is not None:
            self._loop.forget(self._listener.fileno())
            self._listener.close()
            self._listener = None

    def _accept(self, _: int) -> None:
        while self._listener is not None:
            try:
                accepted, _address = self._listener.accept()
            except OSError:  # nobody else, or no descriptor left: they wait in the kernel's queue
                return
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._count += 1
            self._open(accepted)

    def _open(self, accepted: socket.socket) -> None:
        context = self._good
        for force in self._forces.values():
            if force.order.kind == "network.tls_expired" and not force.spent and force.chooses(self._count):
                force.hit()
                context = self._expired
        try:
            client = Endpoint(context.wrap_socket(accepted, True, False) if context else accepted)
            target = Endpoint(self._dial())
        except OSError:
            Endpoint(accepted).close(reset=True)
            return
        link = Link(self._count, client, target, self._moment, self._closed)
        link.apply(tuple(self._forces.values()))
        self._links.add(link)
        link.up.ready = lambda events: self._ready(link, link.up, events)
        link.down.ready = lambda events: self._ready(link, link.down, events)
        self._watch(link)

    def _dial(self) -> socket.socket:
        """A socket on its way to the target. Raises OSError."""
        peer = self._target.peers[0]
        family = socket.AF_UNIX if isinstance(peer, str) else socket.AF_INET6 if ":" in peer[0] else socket.AF_INET
        new = socket.socket(family, socket.SOCK_STREAM)
        try:
            new.setblocking(False)
            if family != socket.AF_UNIX:
                new.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = new.connect_ex(peer)
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, "connect")
            if self._target.tls is not None:
                host = self._target.address.host
                return self._target.tls.wrap_socket(new, do_handshake_on_connect=False, server_hostname=host)
        except BaseException:
            new.close()
            raise
        return new

    # -- what is ready

    def _ready(self, link: Link, way: Way, events: int) -> None:
        """Something can be read from the way's source, or written to it."""
        try:
            if events & _WRITE:
                self._writable(link, way)
            if events & (_READ | _GONE) and not (link.closed or way.ended):
                self._read(link, way)
        except OSError:
            way.ended = True
            link.broken(way is link.down)
        self._watch(link)

    def _writable(self, link: Link, way: Way) -> None:
        if way is link.down and link.connecting:
            code = way.source.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, "connect")
            link.connecting = False
        way.source.wants_write = False
        (link.up if way is link.down else link.down).blocked = False
        link.flush()

    def _read(self, link: Link, way: Way) -> None:
        for _ in range(_READS_AT_ONCE):
            try:
                data = way.source.recv()
            except BlockingIOError:
                return
            way.ended = not data
            if way is link.up:
                link.from_client(data)
            else:
                link.from_target(data)
            if link.closed or link.silent:
                return
            if not way.empty or not data:
                link.flush()
            if link.closed or way.ended or not (way.source.more() or len(data) == READ_BYTES):
                return

    def _moment(self, due_ns: int, link: Link, call: Callable[[], None]) -> None:
        """Call it then, for a link that is still there."""

        def come() -> None:
            if link.closed or link.silent:
                return
            try:
                call()
            except OSError:
                link.broken(False)
            self._watch(link)

        self._loop.at(due_ns, come)

    def _watch(self, link: Link) -> None:
        """Listen to what matters to the link now."""
        if link.closed:
            return
        if link.silent:
            self._loop.watch(link.client.fd, select.EPOLLRDHUP, lambda _: self._leave(link))
            return
        for way, back in ((link.up, link.down), (link.down, link.up)):
            mask = _READ if link.reads and not (way.full or way.ended) else 0
            if back.blocked or way.source.wants_write or (way is link.down and link.connecting):
                mask |= _WRITE
            self._loop.watch(way.source.fd, mask, way.ready)

    def _leave(self, link: Link) -> None:
        """A client that was told nothing has given up."""
        self._loop.forget(link.client.fd)
        link.client.close()

    def _closed(self, link: Link) -> None:
        """The link is about to close its target's side, and the client's unless it is silent."""
        self._links.discard(link)
        self._loop.forget(link.target.fd)
        if not link.silent:
            self._loop.forget(link.client.fd)


def _server_side(path: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
