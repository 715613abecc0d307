"""Certificates for the proxy's side of a TLS target: a throw-away authority, a good one and one that has expired."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC), datetime(2002, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Certificates:
    """TLS as the client meets it on 127.0.0.1."""

    good: ssl.SSLContext
    expired: ssl.SSLContext


def make_certificates(ca_file: Path) -> Certificates | None:
    """New ones; the authority's certificate is written to `ca_file`, its key is kept nowhere. None without trustme."""
    try:
        import trustme
    except ImportError:
        return None
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(ca_file))
    good = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(good)
    expired = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    begun, over = _LONG_AGO
    authority.issue_cert("127.0.0.1", not_before=begun, not_after=over).configure_cert(expired)
    return Certificates(good, expired)
