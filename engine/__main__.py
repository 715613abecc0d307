"""The API process: `python -m engine --config-json FILE|-`. It starts the decode process before anything slow."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from engine.api.child import spawn_decode
from engine.config import EngineConfig
from engine.errors import ConfigError
from engine.process import die_with_parent, log


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m engine", description=__doc__)
    parser.add_argument(
        "--config-json", required=True, help="file with the settings as JSON, or - for one line of stdin"
    )
    parser.add_argument("--parent-pid", type=int, help="set by the supervisor: end when this process ends")
    parser.add_argument("--listen-fd", type=int, help="set by the supervisor: an open listening socket")
    options = parser.parse_args()
    supervised = options.parent_pid is not None
    if supervised:
        die_with_parent(options.parent_pid)
    try:
        text = _first_line(0) if options.config_json == "-" else Path(options.config_json).read_bytes()
        config = EngineConfig.from_json(text).validate()
    except (ConfigError, OSError) as error:
        log("api", "bad_config", error=str(error))
        return 2
    try:
        os.nice(config.nice)
    except PermissionError as error:
        log("api", "bad_config", error=f"nice: {config.nice} asks for more than this user may ({error.strerror})")
        return 2
    child = spawn_decode(config)
    from engine.api.server import serve  # 0.3 s of imports, during which the model loads

    try:
        import uvloop
    except ImportError:
        import asyncio

        return asyncio.run(serve(config, child, options.listen_fd, supervised=supervised))
    return int(uvloop.run(serve(config, child, options.listen_fd, supervised=supervised)))


def _first_line(descriptor: int) -> bytes:
    """One line and not a byte more: what follows on stdin are the supervisor's commands."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(descriptor, 1)):
        line += byte
    return line


if __name__ == "__main__":
    sys.exit(main())
