"""Sends fuzzed requests and judges their answers: `from fuzz_answers import Reply, check, visit`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fuzz_shot import CHAT, COMPLETE, DETOKENIZE, EMBED, MODERATE, N_EMBD, TOKENIZE, Shot

HANG_S = 30.0
"""Nothing that is asked here takes a second; what is not answered after this long never will be."""
_READ_LIMIT = 1 << 16


@dataclass(frozen=True, slots=True)
class Reply:
    """What a client saw. status 0: it left before there was an answer."""

    status: int
    headers: dict[str, str]
    body: bytes
    took_s: float = 0.0
    """From its request's first byte to its own last one."""

    @property
    def closes(self) -> bool:
        return self.headers.get("connection", "").lower() == "close"

    def __repr__(self) -> str:
        return f"Reply({self.status}, {self.headers}, {self.body[:800]!r})"


LEFT = Reply(0, {}, b"")


async def visit(address: tuple[str, int], shots: Sequence[Shot]) -> list[Reply]:
    """Send the requests one after the other, over one connection as long as it lasts.

    Raises AssertionError when an answer does not come, or is no HTTP.
    """
    replies: list[Reply] = []
    writer: asyncio.StreamWriter | None = None
    try:
        for shot in shots:
            if writer is None:
                reader, writer = await asyncio.open_connection(*address, limit=_READ_LIMIT)
            try:
                async with asyncio.timeout(HANG_S):
                    reply = await _exchange(reader, writer, shot)
            except TimeoutError:
                raise AssertionError(f"no answer after {HANG_S:g} s: {shot}") from None
            except (OSError, EOFError, ValueError) as error:
                raise AssertionError(f"the answer broke off ({error!r}): {shot}") from error
            replies.append(reply)
            if reply.closes or not reply.status or shot.declared is not None:
                await _close(writer)
                writer = None
    finally:
        if writer is not None:
            await _close(writer)
    return replies


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, shot: Shot) -> Reply:
    start_s = time.monotonic()
    with contextlib.suppress(ConnectionError):  # refused before all of it was sent: the answer is there
        writer.write(shot.head() + shot.body)
        if shot.leaves_after_s is not None:
            await asyncio.sleep(shot.leaves_after_s)
            writer.transport.abort()
            return LEFT
        await writer.drain()
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *lines = head.rstrip().split("\r\n")
        status = int(line.split()[1])
        headers = {name.strip().lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
        if status >= 200:
            break
    body = b""
    if shot.method != "HEAD":
        if "content-length" in headers:
            body = await reader.readexactly(int(headers["content-length"]))
        else:
            body = await _chunked(reader)
    return Reply(status, headers, body, time.monotonic() - start_s)


async def _chunked(reader: asyncio.StreamReader) -> bytes:
    chunks: list[bytes] = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        chunks.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readexactly(2)
    return b"".join(chunks)


def check(shot: Shot, reply: Reply) -> None:
    """Raise AssertionError when the answer is not one that the request may get."""
    if reply is LEFT:
        return
    where = f"{shot}\n{reply}"
    assert reply.status in shot.statuses, f"status {reply.status}, not one of {sorted(shot.statuses)}: {where}"
    if shot.method == "HEAD":
        return
    if reply.status == 200:
        try:
            _check_answer(shot, reply)
        except (LookupError, TypeError, ValueError) as error:
            raise AssertionError(f"not the documented shape ({error!r}): {where}") from error
        except AssertionError as error:
            raise AssertionError(f"{error}: {where}") from error
    else:
        error = _error_of(json.loads(reply.body), where)
        if reply.status == 400 and error["code"] in ("invalid_value", "unsupported_value", "context_length_exceeded"):
            assert error["param"], f"no field is named: {where}"
            assert not shot.param or error["param"].split(".")[0] == shot.param, f"not {shot.param}: {where}"


def _error_of(body: Any, where: str) -> dict[str, Any]:
    assert set(body) == {"error"}, where
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}, where
    assert isinstance(error["message"], str), where
    assert error["message"], where
    assert error["param"] is None or isinstance(error["param"], str), where
    assert error["type"] not in ("server_error", "service_unavailable"), where
    return error


def _check_answer(shot: Shot, reply: Reply) -> None:
    if shot.path.split("?")[0].rstrip("/") == "/metrics":
        return
    if reply.headers["content-type"].startswith("text/event-stream"):
        _check_stream(shot, reply.body)
        return
    body = json.loads(reply.body)
    if shot.path in (CHAT, COMPLETE):
        _check_usage(body["usage"])
        assert body["object"] == ("chat.completion" if shot.path == CHAT else "text_completion")
        assert [choice["index"] for choice in body["choices"]] == list(range(len(body["choices"])))
        assert shot.choices in (0, len(body["choices"]))
        for choice in body["choices"]:
            _check_choice(shot, choice)
    elif shot.path == EMBED:
        assert body["object"] == "list"
        assert [item["index"] for item in body["data"]] == list(range(len(body["data"])))
        assert all(isinstance(item["embedding"], str) or len(item["embedding"]) == N_EMBD for item in body["data"])
    elif shot.path == TOKENIZE:
        assert body["count"] == len(body["tokens"])
    elif shot.path == DETOKENIZE:
        assert isinstance(body["content"], str)
    elif shot.path == MODERATE:
        assert all(isinstance(result["flagged"], bool) for result in body["results"])


def _check_choice(shot: Shot, choice: dict[str, Any]) -> None:
    assert choice["finish_reason"] in ("stop", "length", "tool_calls")
    text = choice["text"] if shot.path == COMPLETE else choice["message"]["content"]
    if shot.path == CHAT:
        assert choice["message"]["role"] == "assistant"
        assert text is None or isinstance(text, str)
    if shot.param == "response_format" and choice["finish_reason"] == "stop":
        json.loads(text)


def _check_usage(usage: dict[str, Any]) -> None:
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens"] > 0
    assert 0 <= usage["prompt_tokens_details"]["cached_tokens"] <= usage["prompt_tokens"]


def _check_stream(shot: Shot, body: bytes) -> None:
    *events, rest = body.split(b"\n\n")
    assert not rest
    assert all(event.startswith(b"data: ") for event in events)
    data = [event.removeprefix(b"data: ") for event in events]
    last = data.pop()
    chunks = [json.loads(event) for event in data]
    texts: dict[int, str] = {}
    finishes: dict[int, str] = {}
    for chunk in chunks:
        if chunk.get("usage"):
            _check_usage(chunk["usage"])
        for choice in chunk["choices"]:
            index = choice["index"]
            said = choice["text"] if shot.path == COMPLETE else choice["delta"].get("content")
            texts[index] = texts.get(index, "") + (said or "")
            if choice["finish_reason"]:
                finishes[index] = choice["finish_reason"]
    if last != b"[DONE]":
        _error_of(json.loads(last), last.decode())
        return
    assert sorted(finishes) == list(range(len(finishes)))
    assert finishes.keys() == texts.keys()
    assert shot.choices in (0, len(finishes))
    if shot.param == "response_format":
        for index, finish in finishes.items():
            if finish == "stop":
                json.loads(texts[index])
