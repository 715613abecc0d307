"""Where requests go, and by which road: a target's URL read in one place, and what lies between it and us. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

from scenarios.errors import TargetError
from scenarios.sanitise import view

_UNSAFE = re.compile(r"[^!-~]")  # anything but visible ASCII would break or smuggle a request line
_PORTS = {"http": 80, "https": 443}
_UNIX = "unix:"
UNIX_PATH_BYTES = 107  # what the kernel's address of a Unix socket holds, less its final NUL
EXAMPLE = "write it like http://localhost:8000 or unix:/run/llm.sock"


class Road(msgspec.Struct, frozen=True):
    """What a request meets on its way. `headers` hold a value, or `env:NAME` for one that must not be written down.

    proxy: `http://host[:port]`; https targets are reached through it by CONNECT. ca_file: PEM certificates to trust
    beside the system's own; empty: none. verify: whether a server's certificate must be good.
    """

    proxy: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    ca_file: str = ""
    verify: bool = True


DIRECT = Road()


@dataclass(frozen=True, slots=True)
class Address:
    """A target's URL taken apart. `prefix` is its path without the final /v1, which the plan's paths carry.

    `socket` is the path of a Unix socket; host and port then only serve the Host header.
    """

    scheme: str
    host: str
    port: int
    prefix: str = ""
    socket: str = ""

    @property
    def authority(self) -> str:
        """Host, and the port where it is not the scheme's own, as the Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """How this target is always written: without /v1, a final slash or a port that goes without saying."""
        return _UNIX + self.socket if self.socket else f"{self.scheme}://{self.authority}{self.prefix}"

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine."""
        if self.socket or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def read_address(text: str) -> Address:
    """The target of `[http://|https://]host[:port][/prefix][/v1]` or `unix:PATH`. Raises TargetError."""
    if text.startswith(_UNIX):
        return _read_unix(text.removeprefix(_UNIX))
    if "@" in text:  # also behind a slash: a password may hold one, and no message may show it
        raise TargetError(
            "a URL must not carry a user or password; give the key through the environment (an @ in a path is %40)"
        )
    shown = view(text, 200)
    try:
        parts = urlsplit(text if "//" in text else f"http://{text}")
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise TargetError(f"{shown}: {error}; {EXAMPLE}") from error
    if parts.scheme not in _PORTS or not host:
        raise TargetError(f"{shown} is no http:// or https:// address; {EXAMPLE}")
    if _UNSAFE.search(text):
        raise TargetError(f"{shown}: a URL holds printable ASCII only; {EXAMPLE}")
    if parts.query or parts.fragment or port == 0:
        raise TargetError(f"{shown}: only scheme, host, port and path belong here; {EXAMPLE}")
    prefix = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return Address(parts.scheme, host, port or _PORTS[parts.scheme], prefix)


def _read_unix(path: str) -> Address:
    if not path.startswith("/") or "\0" in path:
        raise TargetError(f"{view(_UNIX + path, 200)}: the socket's whole path belongs here; write unix:/run/llm.sock")
    if len(path.encode("utf-8", "surrogateescape")) > UNIX_PATH_BYTES:
        raise TargetError(f"{view(path, 200)} is longer than a Unix socket's path may be ({UNIX_PATH_BYTES} bytes)")
    return Address("http", "localhost", _PORTS["http"], socket=path)


def read_proxy(text: str) -> Address:
    """A proxy's `http://host[:port]`. Raises TargetError."""
    address = read_address(text)
    if address.scheme != "http" or address.socket or address.prefix:
        raise TargetError(f"{view(text, 200)} is no proxy; write it like http://localhost:3128")
    return address
