"""E-mail and IP addresses. Each candidate is looked at in a bounded window, so that hostile text costs linear time."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from engine.safety.finding import Detector, Finding, Severity, mask

LOCAL_LIMIT = 64
_LOCAL_EXTRA = frozenset(".!#$%&'*+/=?^_`{|}~-")
_DOMAIN = re.compile(r"(?:[^\W_](?:[\w-]{0,62})\.){1,8}(?:[^\W\d_]{2,24}|xn--[a-z0-9-]{2,59})(?![\w@])")
_AT = re.compile(r"@|\s?[(\[{]\s?at\s?[)\]}]\s?", re.IGNORECASE)
_SPELLED_DOT = re.compile(r"\s?[(\[{]\s?dot\s?[)\]}]\s?", re.IGNORECASE)
_ROLES = frozenset(
    [
        "abuse",
        "admin",
        "billing",
        "careers",
        "contact",
        "feedback",
        "hello",
        "help",
        "helpdesk",
        "hr",
        "info",
        "jobs",
        "mail",
        "marketing",
        "media",
        "newsletter",
        "no-reply",
        "noreply",
        "office",
        "orders",
        "postmaster",
        "press",
        "privacy",
        "sales",
        "security",
        "service",
        "shop",
        "support",
        "team",
        "webmaster",
    ]
)
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\.?\w)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{2,}+(?:(?:\d{1,3}\.){3}\d{1,3})?(?![\w:])")
_VERSION_BEFORE = re.compile(r"(?:\b(?:version|release|build|section|chapter|rev)\.?\s{0,3}|\bv)$", re.IGNORECASE)


def emails(text: str) -> Iterator[Finding]:
    """Addresses as RFC 5321 writes them (quoted local parts left out), letters of any script, also `name (at) host`."""
    done = 0
    for at in _AT.finditer(text):
        start = at.start()
        while start > max(done, at.start() - LOCAL_LIMIT - 1) and (
            text[start - 1].isalnum() or text[start - 1] in _LOCAL_EXTRA
        ):
            start -= 1
        local = text[start : at.start()]
        bare = local.lstrip(".!#$%&'*+/=?^`{|}~-").rstrip(".")
        if not bare or len(local) > LOCAL_LIMIT or not any(char.isalnum() for char in bare):
            continue
        start += len(local) - len(local.lstrip(".!#$%&'*+/=?^`{|}~-"))
        if at.group() == "@":
            domain = _DOMAIN.match(text, at.end())
            end = domain.end() if domain else 0
        else:
            window = text[at.end() : at.end() + 300]
            spelled = _DOMAIN.match(_SPELLED_DOT.sub(".", window, count=8))
            end = at.end() + _original_length(window, spelled.end()) if spelled else 0
        if not end or (bare == "git" and text[end : end + 1] == ":"):
            continue
        done = end
        severity: Severity = "low" if bare.lower() in _ROLES else "medium"
        host = text[at.end() : end]
        yield Finding("pii.email", severity, start, end, "contact.email", f"{mask(bare)}@{mask(host)}")


def _original_length(window: str, length: int) -> int:
    """How many characters of `window` make up `length` characters after spelled-out dots became dots."""
    grown = 0
    for dot in _SPELLED_DOT.finditer(window):
        if dot.start() - grown >= length:
            break
        grown += len(dot.group()) - 1
    return length + grown


def ips(text: str) -> Iterator[Finding]:
    """IPv4 and IPv6 addresses of hosts; loopback, unspecified and broadcast name nobody and are left out."""
    for found in _IPV4.finditer(text):
        if not _VERSION_BEFORE.search(text, max(0, found.start() - 12), found.start()):
            yield from _address(found.group(), found.start())
    for found in _IPV6.finditer(text):
        value = found.group()
        if value.count(":") >= 2 and len(value) <= 45 and any(char.isdigit() for char in value):
            yield from _address(value.removesuffix(":") if not value.endswith("::") else value, found.start())


def _address(value: str, start: int) -> Iterator[Finding]:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return
    if address.is_loopback or address.is_unspecified or address.is_multicast or value == "255.255.255.255":
        return
    severity: Severity = "medium" if address.is_global else "low"
    yield Finding("pii.ip", severity, start, start + len(value), f"contact.ipv{address.version}", mask(value))


def _find(text: str, planted: str) -> Iterator[Finding]:
    if "@" in text or " at " in text.lower() or "at)" in text.lower() or "at]" in text.lower():
        yield from emails(text)
    yield from ips(text)


CONTACT = Detector("contact", ("pii.email", "pii.ip"), _find)
