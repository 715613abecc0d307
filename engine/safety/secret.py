"""Keys and passwords by the formats that their issuers give them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from engine.safety.finding import Detector, Finding, mask, visible

# Every quantifier is possessive or bounded, and a lookbehind keeps a search from starting again inside a run.
FORMATS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("aws", r"(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}(?![A-Za-z0-9])"),
        ("github", r"(?<![A-Za-z0-9_])(?:gh[pousr]_[A-Za-z0-9]{30,255}+|github_pat_[A-Za-z0-9_]{40,255}+)"),
        ("gitlab", r"(?<![A-Za-z0-9_-])glpat-[A-Za-z0-9_-]{20,255}+"),
        ("sk", r"(?<![A-Za-z0-9_-])sk-(?=[A-Za-z_-]{0,40}\d)[A-Za-z0-9_-]{20,255}+"),
        ("stripe", r"(?<![A-Za-z0-9_])[sr]k_(?:live|test)_[A-Za-z0-9]{16,255}+"),
        ("slack", r"(?<![A-Za-z0-9_-])xox[abeprs]-[A-Za-z0-9-]{10,255}+"),
        ("google", r"(?<![A-Za-z0-9_-])AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
        ("huggingface", r"(?<![A-Za-z0-9_])hf_[A-Za-z0-9]{30,100}+"),
        ("npm", r"(?<![A-Za-z0-9_])npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])"),
        ("jwt", r"(?<![\w.-])eyJ[A-Za-z0-9_-]{8,4096}+\.eyJ[A-Za-z0-9_-]{8,8192}+\.[A-Za-z0-9_-]{16,2048}+"),
        ("pem", r"-----BEGIN (?:[A-Z0-9]{2,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----"),
        ("url-password", r"(?<=://)[^\s:/@]{1,100}:(?!//)[^\s:/@]{3,100}@(?=[\w\[])"),
    )
)


def secrets(text: str) -> Iterator[Finding]:
    """Key formats and passwords in URLs; a URL whose password is a placeholder (`<password>`, `***`) is left out."""
    for name, pattern in FORMATS:
        for found in pattern.finditer(text):
            value = found.group()
            if name == "url-password" and _placeholder(value[value.index(":") + 1 : -1]):
                continue
            shown = visible(value) if name == "pem" else mask(value)
            yield Finding("secret", "high", found.start(), found.end(), f"secret.{name}", shown)


def _placeholder(password: str) -> bool:
    return password[0] in "<{[$*" or set(password) <= set("*xX.…") or password.lower() in {"password", "pass", "secret"}


def _find(text: str, planted: str) -> Iterator[Finding]:
    return secrets(text)


SECRET = Detector("secret", ("secret",), _find)
