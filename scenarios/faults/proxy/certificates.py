"""Certificates of a throw-away authority: what the proxy shows in the target's name, and one that has expired."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from scenarios.errors import TargetError
from scenarios.faults.proxy.control import Certificates


def make_certificates(folder: Path, host: str) -> tuple[str, Certificates]:
    """PEM files in `folder`: of the authority to trust, and the proxy's two. Raises TargetError without trustme."""
    try:
        import trustme
    except ImportError:
        raise TargetError("faults on the way to https:// need trustme: pip install 'seatrial[tls]'") from None
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = trustme.CA()
    yesterday = datetime.now(UTC) - timedelta(days=1)
    paths = {}
    issued = (
        ("good", authority.issue_cert("127.0.0.1", host)),
        ("expired", authority.issue_cert("127.0.0.1", host, not_after=yesterday)),
    )
    for name, blobs in (
        ("authority", [authority.cert_pem]),
        *((name, [one.private_key_pem, *one.cert_chain_pems]) for name, one in issued),
    ):
        path = folder / f"proxy-{name}.pem"
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(b"".join(blob.bytes() for blob in blobs))
        paths[name] = str(path)
    return paths["authority"], Certificates(paths["good"], paths["expired"])
