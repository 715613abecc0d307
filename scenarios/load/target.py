"""The address under load, and a planned request as the bytes that go to it."""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from scenarios.errors import TargetError
from scenarios.request import PlannedRequest

_UNSAFE_IN_PATH = re.compile(r"[^!-~]")  # anything but visible ASCII would break or smuggle a request line
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, slots=True)
class Target:
    """A base URL taken apart. `prefix` is its path without the final /v1, which the plan's paths carry."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    prefix: str
    addresses: tuple[str, ...]  # resolved once, so that no request waits for a resolver
    api_key: str = field(default="", repr=False)

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def parse_target(base_url: str, api_key: str = "") -> Target:
    """A Target for http(s)://host[:port][/prefix][/v1]; blocks on the resolver. Raises TargetError."""
    parts = urlsplit(base_url)
    try:
        port = parts.port
    except ValueError as error:
        raise TargetError(f"target {base_url!r}: {error}; give a port from 1 to 65535") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise TargetError(f"target {base_url!r} is no http:// or https:// URL with a host")
    if parts.username is not None or parts.query or parts.fragment:
        raise TargetError("a target URL takes no user, query or fragment; give the key through the environment")
    if _UNSAFE_IN_PATH.search(parts.path) or _UNSAFE_IN_PATH.search(api_key.strip()):
        raise TargetError("the target's path or API key holds characters that cannot go into a request")
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    port = port or (443 if tls else 80)
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise TargetError(f"target host {parts.hostname!r} cannot be resolved: {error}") from error
    addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
    prefix = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return Target(parts.hostname, port, tls, prefix, addresses, api_key.strip())


def wire_bytes(request: PlannedRequest, target: Target) -> bytes:
    """The request exactly as it is written. Raises ValueError where a path or header cannot be sent; use `raw` there.

    A header of the plan replaces the default of the same name, Host and Authorization included.
    """
    if request.raw:
        return request.raw
    path = target.prefix + request.path
    if _UNSAFE_IN_PATH.search(path) or not path.startswith("/"):
        raise ValueError(f"path {request.path!r} cannot be sent as it is; use raw bytes for that")
    headers = {
        "host": ("Host", target.authority),
        "user-agent": ("User-Agent", "seatrial"),
        "accept": ("Accept", "text/event-stream" if request.stream else "application/json"),
    }
    if request.body or request.method not in ("GET", "HEAD"):
        headers["content-type"] = ("Content-Type", "application/json")
        headers["content-length"] = ("Content-Length", str(len(request.body)))
    if target.api_key:
        headers["authorization"] = ("Authorization", f"Bearer {target.api_key}")
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
