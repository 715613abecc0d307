"""The decode process: `python -m engine.decode SETTINGS_JSON`, started by the API process only."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path

import msgspec

from engine import wire
from engine.decode.llama import Llama
from engine.decode.loop import DecodeLoop
from engine.decode.settings import DecodeSettings
from engine.decode.warmup import warm_up
from engine.errors import EngineError
from engine.process import die_with_parent, log


def main() -> int:
    began = time.perf_counter()
    settings = msgspec.json.decode(sys.argv[1], type=DecodeSettings)
    die_with_parent(settings.parent_pid)
    # The parent decides when to stop; a Ctrl-C of the terminal reaches it as well.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with socket.socket(fileno=settings.fd) as peer:
        try:
            llama = Llama(
                Path(settings.model),
                ctx=settings.ctx,
                slots=settings.slots,
                threads=settings.threads,
                gpu_layers=settings.gpu_layers,
                prefill_chunk=settings.prefill_chunk,
                deterministic=settings.deterministic,
                lora=[(name, Path(path)) for name, path in settings.lora],
                mmproj=Path(settings.mmproj) if settings.mmproj else None,
            )
            speed = warm_up(llama)
            load_s = time.perf_counter() - began
            peer.sendall(wire.pack(wire.Hello(llama.facts(), os.getpid(), speed.slowest_step_s)))
            log(
                "decode",
                "ready",
                load_s=load_s,
                device=llama.model.device,
                chunk=llama.chunk,
                step_s=speed.slowest_step_s,
                prompt_tokens_per_s=1 / speed.token_s,
                copy_worth_tokens=speed.worth,
            )
            DecodeLoop(llama, peer, settings, speed).run()
        except EngineError as error:
            log("decode", "fatal", error=str(error))
            peer.setblocking(True)
            try:
                peer.sendall(wire.pack(wire.Fatal(str(error))))
            except OSError:
                return 1
            return 1
    return 0


if __name__ == "__main__":
    # Freeing a model takes longer than leaving, and nothing here outlives the process.
    status = main()
    sys.stderr.flush()
    os._exit(status)
