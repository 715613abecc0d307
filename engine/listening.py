"""The listening socket: made by the supervisor, or by an API process that runs alone."""

from __future__ import annotations

import errno
import socket

from engine.config import EngineConfig

BACKLOG = 512


def bind(config: EngineConfig) -> socket.socket:
    """Bind and listen on the configured address. Raises OSError, also for a name that can be no host's."""
    sock = socket.socket(socket.AF_INET6 if ":" in config.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((config.host, config.port))
        sock.listen(BACKLOG)
    except TypeError as error:  # what the socket module makes of a name that no encoding fits
        sock.close()
        raise OSError(errno.EINVAL, "no valid host name") from error
    except OSError:
        sock.close()
        raise
    return sock
