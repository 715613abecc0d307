"""Only the engine, as an OpenAI-compatible server, until Ctrl-C. It is restarted when it dies."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from console import options, terminal
from console.exits import Exit

if TYPE_CHECKING:
    from engine.config import EngineConfig
    from engine.supervisor import EngineEvent

EXAMPLES = """\
examples:
  seatrial serve
  seatrial serve --model my-model.gguf --ctx 4096 --slots 8 --port 8080
  seatrial serve --host 0.0.0.0 --api-key-file keys.txt

The URL is printed on stdout once the server is ready. A server that others can reach needs --api-key-file.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    whole = options.whole
    parser.add_argument("--model", metavar="PATH|hf:ORG/REPO:FILE", help="a GGUF file (default: the demo model)")
    parser.add_argument(
        "--ctx", type=whole(32, 1 << 20), default=1024, metavar="N", help="tokens of each sequence (default: 1024)"
    )
    parser.add_argument(
        "--slots", type=whole(1, 256), default=16, metavar="N", help="sequences decoded at once (default: 16)"
    )
    parser.add_argument(
        "--queue", type=whole(0, 100_000), default=32, metavar="N", help="requests that may wait (default: 32)"
    )
    parser.add_argument("--threads", type=whole(0, 1024), default=0, metavar="N", help="default: all cores but one")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument(
        "--port", type=whole(0, 65_535), default=8080, metavar="N", help="0: any free one (default: 8080)"
    )
    parser.add_argument("--api-key-file", type=Path, metavar="FILE", help="accepted keys, one a line")


def handle(args: argparse.Namespace) -> int:
    from console.errors import UsageError
    from console.hub import resolve_model
    from engine.config import DEMO_MODEL, EngineConfig
    from engine.errors import ConfigError, EngineError
    from scenarios.errors import TargetError

    try:
        config = EngineConfig(
            model=resolve_model(args.model) or DEMO_MODEL,
            host=args.host,
            port=args.port,
            ctx=args.ctx,
            slots=args.slots,
            threads=args.threads,
            queue_limit=args.queue,
            api_key_file=args.api_key_file,
        ).validate()
        return asyncio.run(_serve(config))
    except ConfigError as error:
        fix = error.fix.replace("api_key_file", "--api-key-file")
        raise UsageError(f"--{error.field.replace('_', '-')}: {error.what}; {fix}") from error
    except EngineError as error:
        raise TargetError(f"the engine did not start: {error}") from error


async def _serve(config: EngineConfig) -> int:
    from engine.supervisor import EngineSupervisor

    ended = asyncio.Event()
    code = Exit.GO

    def stop(number: int) -> None:
        nonlocal code
        code = Exit.INTERRUPTED if number == signal.SIGINT else Exit.GO
        ended.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    supervisor = EngineSupervisor(config, _tell, None)
    try:
        starting = asyncio.create_task(supervisor.start())
        stopping = asyncio.create_task(ended.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
        else:
            starting.result()
            terminal.emit(f"{supervisor.url}\n")
            terminal.note("ready; Ctrl-C ends it")
            await stopping
    finally:
        await supervisor.stop()
    return code


def _tell(event: EngineEvent) -> None:
    from scenarios.report.words import one_line

    terminal.note(f"engine {event.kind}" + (f": {one_line(event.detail)}" if event.detail else ""))
