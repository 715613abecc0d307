"""Images on their way into a prompt: what a file may claim, where a request may hold one, and what it becomes."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api.chat import parse_chat
from engine.api.job import MAX_IMAGE_BYTES, Asker, Job, Served, chat_job
from engine.api.messages import MAX_IMAGES
from engine.api.render import CHATML, Renderer
from engine.decode.images import ImageSpan, outside, piece_end, pseudo_tokens, span_at
from engine.errors import BadRequest
from engine.image_file import MAX_BYTES, MAX_SCANS, ImageError, Size, check_effort, measure
from engine.wire import ModelFacts, Segment
from tests.pictures import data_url, jpeg, png, png_of

SPANS = (ImageSpan(2, 5), ImageSpan(5, 9, whole=True))
PARTS_ONLY = (
    "{% for message in messages %}<{{ message.role }}>{% for part in message.content %}"
    "{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}{% endfor %}"
)


def content(*parts: str | bytes) -> list[dict[str, object]]:
    """A message's content: texts and image files."""
    return [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": data_url(part)}}
        for part in parts
    ]


def job_of(parts: list[dict[str, object]], template: str = CHATML, *, images: bool = True, **fields: object) -> Job:
    body = json.dumps({"messages": [{"role": "user", "content": parts}], **fields}).encode()
    facts = ModelFacts(
        description="", n_params=1, size_bytes=1, quantisation="", n_vocab=100, ctx=4096, ctx_train=4096, slots=4,
        device="CPU", gpu_layers=0, longest_token_bytes=16, chat_template=template, bos="", eos="", build="",
        images=images,
    )  # fmt: skip
    served = Served("demo", facts, max_messages=16, most_answers=8)
    return chat_job(parse_chat(body, images=images), served, Renderer(template), Asker("", 0))


def prompt_of(parts: list[dict[str, object]], template: str = CHATML) -> list[Segment]:
    return job_of(parts, template).commands[0].segments


def refusal(parts: list[dict[str, object]], template: str = CHATML, **options: object) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        job_of(parts, template, **options)
    assert caught.value.status == 400
    return caught.value


def test_png_and_jpeg_tell_their_size() -> None:
    assert measure(png(1, 31, 7)) == Size(31, 7)
    assert measure(jpeg(1, 40, 20)) == Size(40, 20)
    assert measure(jpeg(1)[:2] + b"\xff\xff" + jpeg(1)[2:]) == Size(16, 16), "padding before a marker is allowed"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "unknown format"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WebP"),
        (b"GIF89a", "GIF"),
        (b"\0\0\0\x20ftypavif", "HEIC, AVIF"),
        (b"\x89PNG\r\n\x1a\n\0\0", "no header"),
        (png_of(4, 4, b"", colour=5), "colour type 5"),
        (png_of(0, 4, b""), "0 x 4 pixels"),
        (png_of(8193, 8192, b""), "8193 x 8192"),
        (png_of(8000, 8000, b""), "8000 x 8000"),
        (png_of(1, 101, b""), "1 x 101"),
        (jpeg(1)[:60], "states no size"),
        (b"\xff\xd8\xff\xc3" + bytes(20), "states no size"),
        (b"\xff\xd8\xff\xe0\0\0", "states no size"),
        (png(1) + bytes(MAX_BYTES), "bytes, and"),
    ],
)
def test_what_is_no_image_or_too_large_is_refused_by_its_header(data: bytes, why: str) -> None:
    with pytest.raises(ImageError, match=why):
        measure(data)


@given(st.binary(max_size=64) | st.binary(max_size=64).map(lambda tail: jpeg(1)[:90] + tail))
def test_any_bytes_are_measured_or_refused(data: bytes) -> None:
    try:
        size = measure(data)
    except ImageError:
        return
    assert size.width > 0
    assert size.height > 0


def test_a_png_that_inflates_to_more_than_its_pixels_is_refused_without_inflating_it() -> None:
    bomb = png_of(64, 64, bytes(100_000_000))
    assert measure(bomb) == Size(64, 64)
    start = time.process_time()
    with pytest.raises(ImageError, match="more data than its pixels need"):
        check_effort(bomb)
    assert time.process_time() - start < 0.1


def test_damaged_pixels_and_endless_scans_are_refused_and_good_files_pass() -> None:
    good = png(1)
    check_effort(good)
    check_effort(png_of(3, 3, bytes(3 * 25), depth=16, colour=6))
    check_effort(jpeg(1, scans=MAX_SCANS))
    middle = len(good) // 2
    with pytest.raises(ImageError, match="cannot be inflated"):
        check_effort(good[:middle] + bytes(64) + good[middle + 64 :])
    with pytest.raises(ImageError, match="scans"):
        check_effort(jpeg(1, scans=MAX_SCANS + 1))


def test_an_image_stands_where_the_client_put_it_and_its_neighbours_stay_text() -> None:
    cat, dog = png(1), jpeg(2)
    segments = prompt_of(content("<|im_end|> is ", cat, "a cat? And", dog, cat))
    assert [segment.image for segment in segments] == [b"", b"", cat, b"", dog, cat, b""]
    assert [segment.text for segment in segments] == [
        "<|im_start|>user\n", "<|im_end|> is ", "", "a cat? And", "", "", "<|im_end|>\n<|im_start|>assistant\n",
    ]  # fmt: skip
    assert [segment.scaffold for segment in segments] == [True, False, False, False, False, False, True]


def test_templates_that_take_contents_as_parts_only_get_them_so() -> None:
    cat = png(1)
    segments = prompt_of(content("Look: ", cat), PARTS_ONLY)
    assert [(segment.text, segment.image) for segment in segments] == [("<user>", b""), ("Look: ", b""), ("", cat)]
    assert prompt_of(content("Look: "), PARTS_ONLY)[1].text == "Look: "


def test_a_template_that_loses_an_image_is_an_error_and_no_silent_loss() -> None:
    for template in ("{{ messages[0].content[:9] }}", "{{ messages[0].role }}"):
        assert "leaves out an image" in refusal(content("Look at this: ", png(1)), template).message


def test_a_template_may_trim_and_capitalise_around_an_image() -> None:
    segments = prompt_of(content(" look ", png(1), " "), "{{ messages[0].content | trim | upper }}")
    assert [segment.text or segment.image for segment in segments] == ["LOOK ", png(1)]


def test_nothing_is_fetched_from_the_network() -> None:
    for url in ("https://example.org/cat.png", "http://127.0.0.1:1/", "file:///etc/passwd", "data:,x", "/cat.png"):
        error = refusal([{"type": "image_url", "image_url": {"url": url}}])
        assert "nothing is fetched from the network" in error.message
        assert error.param == "messages[0].content[0].image_url.url"


def test_a_file_that_is_no_image_is_named_with_its_place() -> None:
    error = refusal([*content("a", png(1)), {"type": "image_url", "image_url": {"url": data_url(b"GIF89a")}}])
    assert (error.param, error.code) == ("messages[0].content[2].image_url.url", "invalid_image")
    assert "send PNG or JPEG" in error.message
    for tail in ("A", "AA=A", "AAA\n", "Ä", "====", "AAAA AAAA"):
        parts = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{tail}"}}]
        assert refusal(parts).code == "invalid_image"


def test_without_a_projector_images_are_refused_with_the_flag_that_loads_one() -> None:
    error = refusal(content("What is this?", png(1)), images=False)
    assert "--mmproj" in error.message
    assert error.param == "messages[0].content[1].type"


def test_how_many_images_and_how_many_bytes_are_taken_is_bounded() -> None:
    assert str(MAX_IMAGES) in refusal(content(*[png(1, 2, 2)] * (MAX_IMAGES + 1))).message
    large = png(1, 2, 2) + bytes(MAX_IMAGE_BYTES // 4)
    assert len(job_of(content(large), n=3).commands) == 3
    assert refusal(content(large), n=4).param == "n"


def test_the_same_image_has_the_same_pseudo_tokens_and_no_other_has_any_of_them() -> None:
    cat, dog = pseudo_tokens(b"cat", 600), pseudo_tokens(b"dog", 600)
    assert cat == pseudo_tokens(b"cat", 600)
    assert len({*cat, *dog}) == 1200
    assert max(*cat, *dog) < 0


def test_pieces_end_at_images_and_leave_whole_ones_whole() -> None:
    ends = [piece_end(SPANS, start, 7) for start in (0, 2, 3, 5)]
    assert ends == [2, 5, 5, 9]
    assert piece_end(SPANS, 0, 1) == 1
    assert piece_end(SPANS, 2, 4) == 4
    assert piece_end(SPANS, 9, 12) == 12
    assert [outside(SPANS, length) for length in range(11)] == [0, 1, 2, 2, 2, 5, 5, 5, 5, 9, 10]
    assert span_at(SPANS, 8) == (1, SPANS[1])
