"""A small OpenAI-compatible server with known answers and, if asked for, one bug: what a chaos search should find.

It answers `Add A and B.` with the sum in words of one token each, streamed: a prefill, then token after token. There
are four slots; who finds none waits. Standard library only, so that it can be launched with any Python.

Bugs:
    deadlock-after-reset-in-prefill   a client that is gone by the end of its prefill leaves the prefill lock taken
    leak-on-cancel                    a slot whose client goes away in mid-stream is never given back
    foreign-tokens-after-restart      a killed server's unfinished tokens are found again and given to the next client
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

BUGS = ("none", "deadlock-after-reset-in-prefill", "leak-on-cancel", "foreign-tokens-after-restart")
SLOTS = 4
TOKEN_S = 0.02
_QUESTION = re.compile(r"Add (\d+) and (\d+)\.")
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def answer_to(prompt: str) -> list[str]:
    """The tokens of the right answer."""
    found = _QUESTION.search(prompt)
    if found is None:
        return ["I", " add", "."]
    digits = [_DIGITS[int(digit)] for digit in str(int(found[1]) + int(found[2]))]
    return ["The", " sum", " is", *(f" {digit}" for digit in digits), "."]


class Gone(Exception):
    """The client hung up."""


class Server:
    """`spool`: a file that outlives the process, of the bug that needs one."""

    def __init__(self, bug: str, spool: Path, prefill_s: float) -> None:
        self.bug = bug
        self.prefill_s = prefill_s
        self.spool = spool
        self.slots = asyncio.Semaphore(SLOTS)
        self.prefill = asyncio.Lock()
        self.found: list[str] = []
        if bug == "foreign-tokens-after-restart" and spool.exists():
            self.found = json.loads(spool.read_text())
            spool.unlink()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, request after request."""
        try:
            while (head := await reader.readuntil(b"\r\n\r\n")) and await self._answer(head, reader, writer):
                pass
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, Gone):
            pass
        except asyncio.CancelledError:
            return  # SIGTERM
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection can be used again."""
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        if head.startswith(b"GET "):
            models: dict[str, object] = {"object": "list", "data": [{"id": "planted", "object": "model"}]}
            await _write_whole(writer, 200, models if b"/v1/models" in head.split(b"\r\n")[0] else {"status": "ok"})
            return True
        try:
            asked = json.loads(body)
            prompt = asked["prompt"] if "prompt" in asked else asked["messages"][-1]["content"]
            prompt, chat, most = str(prompt), "messages" in asked, int(asked.get("max_tokens", 256))
        except (ValueError, KeyError, TypeError, IndexError):
            await _write_whole(writer, 400, {"error": {"message": "no prompt", "type": "invalid_request_error"}})
            return True
        await self._stream(prompt, most, chat, reader, writer)
        return True

    async def _stream(
        self, prompt: str, most: int, chat: bool, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await self.slots.acquire()
        kept = True
        try:
            await self._prefill(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            sent = 0
            async for token in self._tokens(prompt, most):
                if _gone(reader):
                    kept = self.bug != "leak-on-cancel"
                    raise Gone
                await _write_event(writer, _piece(token, chat))
                sent += 1
            usage = {"prompt_tokens": len(prompt.split()), "completion_tokens": sent, "total_tokens": sent}
            await _write_event(writer, _end(chat))
            await _write_event(writer, {**_frame(chat), "choices": [], "usage": usage})
            writer.write(_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
            await writer.drain()
        except ConnectionError:
            kept = self.bug != "leak-on-cancel"
            raise
        finally:
            if kept:
                self.slots.release()

    async def _prefill(self, reader: asyncio.StreamReader) -> None:
        """One prompt at a time."""
        await self.prefill.acquire()
        await asyncio.sleep(self.prefill_s)
        gone = _gone(reader)
        if gone and self.bug == "deadlock-after-reset-in-prefill":
            raise Gone  # and the lock stays taken
        self.prefill.release()
        if gone:
            raise Gone

    async def _tokens(self, prompt: str, most: int) -> AsyncIterator[str]:
        """The answer, token by token; what a killed process had not yet sent comes before it, with the bug."""
        tokens = [*self.found, *answer_to(prompt)][:most]
        self.found = []
        spools = self.bug == "foreign-tokens-after-restart"
        try:
            for at, token in enumerate(tokens):
                if spools:
                    self._keep(tokens[at:])
                await asyncio.sleep(TOKEN_S)
                yield token
        finally:
            if spools:
                self.spool.unlink(missing_ok=True)

    def _keep(self, tokens: list[str]) -> None:
        """Whole or not at all: the process may be killed at any moment."""
        half = self.spool.with_suffix(".half")
        half.write_text(json.dumps(tokens))
        half.replace(self.spool)


def _gone(reader: asyncio.StreamReader) -> bool:
    return reader.at_eof() or reader.exception() is not None


def _frame(chat: bool) -> dict[str, object]:
    kind = "chat.completion.chunk" if chat else "text_completion"
    return {"id": "planted", "object": kind, "created": 0, "model": "planted"}


def _piece(token: str, chat: bool) -> dict[str, object]:
    said = {"delta": {"content": token}} if chat else {"text": token}
    return {**_frame(chat), "choices": [{"index": 0, **said, "finish_reason": None}]}


def _end(chat: bool) -> dict[str, object]:
    said: dict[str, object] = {"delta": {}} if chat else {"text": ""}
    return {**_frame(chat), "choices": [{"index": 0, **said, "finish_reason": "stop"}]}


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def _write_event(writer: asyncio.StreamWriter, event: dict[str, object]) -> None:
    writer.write(_chunk(b"data: %s\n\n" % json.dumps(event).encode()))
    await writer.drain()


async def _write_whole(writer: asyncio.StreamWriter, status: int, body: dict[str, object]) -> None:
    data = json.dumps(body).encode()
    word = {200: b"OK", 400: b"Bad Request"}[status]
    head = b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    writer.write(head % (status, word, len(data)) + data)
    await writer.drain()


async def main() -> None:
    """Serve on loopback until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--bug", choices=BUGS, default="none")
    parser.add_argument("--spool", type=Path, default=Path("planted-spool.json"))
    parser.add_argument("--prefill", type=float, default=0.1, help="seconds of each prompt")
    args = parser.parse_args()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    serve = Server(args.bug, args.spool, args.prefill).serve
    server = await asyncio.start_server(serve, "127.0.0.1", args.port, limit=1 << 20)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
