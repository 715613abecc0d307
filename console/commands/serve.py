"""Only the engine, as an OpenAI-compatible server, until Ctrl-C. It is restarted when it dies.

What is left open (context, slots, layers on a GPU) is chosen so that it fits into the memory there is."""

from __future__ import annotations

import argparse
import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING

from console import options

if TYPE_CHECKING:
    from engine.config import EngineConfig

EXAMPLES = """\
examples:
  seatrial serve
  seatrial serve --model my-model.gguf --ctx 4096 --slots 8 --port 8080
  seatrial serve --host 0.0.0.0 --api-key-file keys.txt
  seatrial serve --lora legal=legal.gguf --lora sales=sales.gguf    a request chooses one as its model
  seatrial serve --log engine.log --log-requests --response-cache 64MB
  seatrial serve --port 0 --json                                    the address as one JSON line

The URL is printed on stdout once the server is ready. A server that others can reach needs --api-key-file.
"""

_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)
_FLAGS = {
    "queue_limit": "--queue",
    "prefill_chunk": "--chunk",
    "step_target_s": "--step-target",
    "response_cache_bytes": "--response-cache",
    "otel_endpoint": "--otel",
    "drain_s": "--drain",
}
"""Settings whose option is not their name with dashes."""


def configure(parser: argparse.ArgumentParser) -> None:
    whole = options.whole
    model = parser.add_argument_group("the model")
    model.add_argument("--model", metavar="PATH|hf:ORG/REPO:FILE", help="a GGUF file (default: the demo model)")
    model.add_argument("--lora", action="append", type=_named_path, default=[], metavar="NAME=PATH",
                       help="a LoRA adapter, used by requests for the model NAME; may be given again")  # fmt: skip
    model.add_argument("--mmproj", type=Path, metavar="FILE", help="a projector (GGUF), for images in chats")

    size = parser.add_argument_group("how much at once")
    size.add_argument("--ctx", type=whole(0, 1 << 20), default=0, metavar="N",
                      help="tokens of each sequence (default: the model's, up to 8192, if they fit)")  # fmt: skip
    size.add_argument("--slots", type=whole(0, 256), default=0, metavar="N",
                      help="sequences decoded at once (default: as many as fit, up to 16)")  # fmt: skip
    size.add_argument("--queue", type=whole(0, 100_000), default=32, metavar="N",
                      help="requests that may wait (default: 32)")  # fmt: skip
    size.add_argument("--gpu-layers", type=_layers, default=-1, metavar="N|auto",
                      help="layers on the GPU (default: auto, as many as fit)")  # fmt: skip
    size.add_argument("--threads", type=whole(0, 1024), default=0, metavar="N", help="default: all cores but one")

    net = parser.add_argument_group("who may ask")
    net.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    net.add_argument("--port", type=whole(0, 65_535), default=8080, metavar="N",
                     help="0: any free one (default: 8080)")  # fmt: skip
    net.add_argument("--api-key-file", type=Path, metavar="FILE", help="accepted keys, one a line")

    pace = parser.add_argument_group("speed")
    pace.add_argument("--step-target", type=options.seconds, default=0.05, metavar="T",
                      help="longest step that also computes prompts, such as 50ms (default)")  # fmt: skip
    pace.add_argument("--chunk", type=whole(0, 4096), default=0, metavar="N",
                      help="most prompt tokens in one call (default: by the model's size)")  # fmt: skip
    pace.add_argument("--deterministic", action="store_true",
                      help="the same text to the bit whoever else runs, for any model; slower")  # fmt: skip
    pace.add_argument("--no-prefix-cache", action="store_true", help="compute every prompt anew")
    pace.add_argument("--isolate-keys", action="store_true",
                      help="share prompts and kept answers only among requests of one API key")  # fmt: skip
    pace.add_argument("--response-cache", type=_bytes, default=0, metavar="SIZE",
                      help="keep whole answers that never change in this much memory, such as 64MB")  # fmt: skip

    watch = parser.add_argument_group("logs, and the end")
    watch.add_argument("--log", type=Path, metavar="FILE", help="the engine's log (default: none is kept)")
    watch.add_argument(
        "--log-requests",
        action="store_true",
        help="one JSON line a chat or completion in the log, without its text",
    )
    watch.add_argument("--log-prompts", action="store_true", help="the same with its text, also in --otel's spans")
    watch.add_argument("--otel", default="", metavar="URL", help="send OpenTelemetry spans there (OTLP over HTTP)")
    watch.add_argument("--drain", type=_drain, default=10.0, metavar="T",
                       help="time for running requests when it is stopped (default: 10s)")  # fmt: skip
    watch.add_argument("--json", action="store_true", help="print the ready line as JSON")


def handle(args: argparse.Namespace) -> int:
    from console.errors import UsageError
    from console.hub import resolve_model
    from console.serving import Serving, announce
    from engine.config import DEMO_MODEL, EngineConfig
    from engine.errors import ConfigError, EngineError
    from engine.resolve import resolve
    from scenarios.errors import TargetError

    if (args.log_requests or args.log_prompts) and args.log is None:
        raise UsageError("--log-requests: there is no log to write them to; give --log FILE")
    try:
        config = EngineConfig(
            model=resolve_model(args.model) or DEMO_MODEL,
            host=args.host,
            port=args.port,
            ctx=args.ctx,
            slots=args.slots,
            threads=args.threads,
            gpu_layers=args.gpu_layers,
            queue_limit=args.queue,
            api_key_file=args.api_key_file,
            prefill_chunk=args.chunk,
            step_target_s=args.step_target,
            deterministic=args.deterministic,
            prefix_cache=not args.no_prefix_cache,
            isolate_keys=args.isolate_keys,
            lora=tuple(args.lora),
            mmproj=args.mmproj,
            response_cache_bytes=args.response_cache,
            log_requests=args.log_requests or args.log_prompts,
            log_prompts=args.log_prompts,
            otel_endpoint=args.otel,
            drain_s=args.drain,
        )
        _refuse_same_names(config)
        config, report = resolve(config)
        announce(config, report)
        return asyncio.run(Serving(config, args.log, as_json=args.json).run())
    except ConfigError as error:
        raise UsageError(f"{_flag(error.field)}: {error.what}; {_with_flags(error.fix)}") from error
    except EngineError as error:
        raise TargetError(f"the engine did not start: {error}") from error


def _refuse_same_names(config: EngineConfig) -> None:
    from console.errors import UsageError

    seen = {config.name}
    for name, _path in config.lora:
        if name in seen:
            raise UsageError(f"--lora {name}: there is a model of this name already; give each its own")
        seen.add(name)


def _flag(field: str) -> str:
    return _FLAGS.get(field, f"--{field.replace('_', '-')}")


def _with_flags(fix: str) -> str:
    return fix.replace("api_key_file", "--api-key-file").replace("otel_endpoint", "--otel")


def _named_path(text: str) -> tuple[str, Path]:
    """`NAME=PATH`."""
    name, equals, path = text.partition("=")
    if not (name and equals and path) or not name.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=PATH")
    return name, Path(path).expanduser()


def _layers(text: str) -> int:
    return -1 if text == "auto" else options.whole(0, 10_000)(text)


def _drain(text: str) -> float:
    return 0.0 if text in ("0", "0s") else options.seconds(text)


def _bytes(text: str) -> int:
    """`64MB`, `1.5GiB`, or plain bytes."""
    match = _BYTES.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size (write 64MB or 1GiB)")
    unit = 1024 if match[3] else 1000
    value = float(match[1]) * unit ** " KMGT".index(match[2].upper() or " ")
    if not value <= 1 << 40:
        raise argparse.ArgumentTypeError(f"{text!r} is more than 1 TiB")
    return int(value)
