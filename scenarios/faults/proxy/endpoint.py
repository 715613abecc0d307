"""One side of a connection, plain or TLS, that never blocks."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct

READ_BYTES = 65_536
_AT_ONCE_RST = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s


class Endpoint:
    """`recv` and `send` raise BlockingIOError where they would wait; `wants_write`: until it can be written."""

    __slots__ = ("fd", "sock", "tls", "wants_write")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.tls = isinstance(sock, ssl.SSLSocket)
        self.wants_write = False

    def recv(self) -> bytes:
        """Up to 64 KiB; b"" at the end."""
        try:
            return self.sock.recv(READ_BYTES)
        except ssl.SSLWantReadError:
            raise BlockingIOError from None
        except ssl.SSLWantWriteError:
            self.wants_write = True
            raise BlockingIOError from None
        except ssl.SSLEOFError:
            return b""

    def send(self, data: bytes) -> int:
        """Bytes that were taken."""
        try:
            return self.sock.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def more(self) -> bool:
        """Whether decrypted bytes wait that the descriptor says nothing of."""
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def shut(self) -> None:
        """Nothing more will be written (FIN)."""
        with contextlib.suppress(OSError):
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock.setblocking(False)
                self.sock.unwrap()
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def close(self, reset: bool = False) -> None:
        """Close it, with RST where it is to look like a broken connection."""
        if reset:
            with contextlib.suppress(OSError):
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE_RST)
        self.sock.close()
