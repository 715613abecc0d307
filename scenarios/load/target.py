"""The address under load, ready for use: resolved, its certificates loaded, and a planned request as its bytes."""

from __future__ import annotations

import os
import re
import socket
import ssl
from dataclasses import dataclass, field

from scenarios.address import DIRECT, Address, Road, read_address, read_proxy
from scenarios.errors import TargetError
from scenarios.request import PlannedRequest

_UNSAFE_IN_PATH = re.compile(r"[^!-~]")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FROM_ENVIRONMENT = "env:"

Peer = tuple[str, int] | str  # host and port of an IP socket, path of a Unix one


@dataclass(frozen=True, slots=True)
class Target:
    """Where connections go and what every request carries. Headers and key may be secret."""

    address: Address
    tls: ssl.SSLContext | None
    peers: tuple[Peer, ...]  # resolved once, so that no request waits for a resolver; the proxy's where there is one
    proxied: bool = False
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    api_key: str = field(default="", repr=False)
    hidden: tuple[str, ...] = field(default=(), repr=False)  # the headers' values that came from the environment

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not appear in a journal, should the server echo it."""
        return tuple(filter(None, (self.api_key, *self.hidden)))


def parse_target(base_url: str, api_key: str = "", road: Road = DIRECT) -> Target:
    """A Target for a URL as `read_address` takes it; blocks on the resolver and reads files. Raises TargetError."""
    address = read_address(base_url)
    key = read_key(api_key)
    headers = tuple((_header_name(name), _header_value(name, value)) for name, value in road.headers)
    given = zip(headers, road.headers, strict=True)
    hidden = tuple(value for (_, value), (_, source) in given if source.startswith(_FROM_ENVIRONMENT))
    tls = _trust(road) if address.scheme == "https" else None
    if address.socket:
        if road.proxy:
            raise TargetError("a Unix socket is not reached through a proxy; leave one of them out")
        return Target(address, tls, (address.socket,), False, headers, key, hidden)
    via = read_proxy(road.proxy) if road.proxy else address
    try:
        found = socket.getaddrinfo(via.host, via.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise TargetError(f"target host {via.host!r} cannot be resolved: {error}") from error
    peers = tuple(dict.fromkeys((str(entry[4][0]), via.port) for entry in found))
    return Target(address, tls, peers, bool(road.proxy), headers, key, hidden)


def read_key(text: str, whose: str = "the API key") -> str:
    """An API key as it is sent, without the white space around it. Raises TargetError."""
    key = text.strip()
    if _UNSAFE_IN_PATH.search(key):
        raise TargetError(f"{whose} holds characters that cannot go into a request")
    return key


def _trust(road: Road) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if road.ca_file:
        try:
            context.load_verify_locations(road.ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise TargetError(f"{road.ca_file} holds no certificates that can be read ({error}); give PEM") from error
    if not road.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _header_name(name: str) -> str:
    if not _TOKEN.fullmatch(name) or name.lower() in ("content-length", "transfer-encoding", "connection"):
        raise TargetError(f"header {name!r} cannot be set for every request")
    return name


def _header_value(name: str, value: str) -> str:
    if value.startswith(_FROM_ENVIRONMENT):
        variable = value.removeprefix(_FROM_ENVIRONMENT)
        if variable not in os.environ:
            raise TargetError(f"header {name} takes its value from ${variable}, which is not set")
        value = os.environ[variable]
    if not value.isprintable():
        raise TargetError(f"the value of header {name} holds characters that cannot go into a request")
    return value


def wire_bytes(request: PlannedRequest, target: Target, api_key: str | None = None) -> bytes:
    """The request exactly as it is written. Raises ValueError where a path or header cannot be sent; use `raw` there.

    A header of the road replaces the default of the same name, one of the plan replaces both, Host and Authorization
    included. `api_key` stands in for the target's own.
    """
    if request.raw:
        return request.raw
    address = target.address
    path = address.prefix + request.path
    if _UNSAFE_IN_PATH.search(path) or not path.startswith("/"):
        raise ValueError(f"path {request.path!r} cannot be sent as it is; use raw bytes for that")
    if target.proxied and target.tls is None:
        path = f"http://{address.authority}{path}"
    headers = {
        "host": ("Host", address.authority),
        "user-agent": ("User-Agent", "seatrial"),
        "accept": ("Accept", "text/event-stream" if request.stream else "application/json"),
    }
    if request.body or request.method not in ("GET", "HEAD"):
        headers["content-type"] = ("Content-Type", "application/json")
        headers["content-length"] = ("Content-Length", str(len(request.body)))
    if key := target.api_key if api_key is None else api_key:
        headers["authorization"] = ("Authorization", f"Bearer {key}")
    headers |= {name.lower(): (name, value) for name, value in target.headers}
    own: list[tuple[str, str]] = []
    for name, value in request.headers:
        if not _TOKEN.fullmatch(name) or "\r" in value or "\n" in value or "\0" in value:
            raise ValueError(f"header {name!r} cannot be sent as it is; use raw bytes for that")
        headers.pop(name.lower(), None)
        own.append((name, value))
    if not _TOKEN.fullmatch(request.method):
        raise ValueError(f"method {request.method!r} cannot be sent as it is; use raw bytes for that")
    lines = [f"{request.method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in [*headers.values(), *own])]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + request.body
