"""The saturation curve as text: fits its width, and no point stands on the wrong side of a bound."""

from __future__ import annotations

import msgspec
import pytest
from test_report_samples import make_document

from scenarios.report import Material, render_json, render_markdown, render_text
from scenarios.report.capacity import lines, plot
from scenarios.report.layout import cells
from scenarios.result import Capacity, CapacityProbe, CurvePoint, ResultDocument


def probe(rate: float, goodput: float, kind: str = "steady", end_rate: float | None = None) -> CapacityProbe:
    return CapacityProbe(
        kind=kind,
        rate=rate,
        end_rate=rate if end_rate is None else end_rate,
        duration_s=28.0,
        due=1559,
        good=round(1559 * goodput),
        goodput=goodput,
        shed=0,
        ttft_p95_s=0.0363,
        completion_rate=60.0,
        backlog_per_s=9.6,
        holds=goodput >= 0.95,
    )


CURVE = (
    CurvePoint(rate=10.0, goodput=1.0, ttft_p95_s=0.03),
    CurvePoint(rate=55.0, goodput=0.951, ttft_p95_s=0.49),
    CurvePoint(rate=62.0, goodput=0.949, ttft_p95_s=0.51),
    CurvePoint(rate=69.6, goodput=0.0, ttft_p95_s=4.3),
)
FOUND = Capacity(
    rate=60.5,
    low=59.9,
    high=61.2,
    confidence=0.95,
    share=0.95,
    slo_ttft_s=0.5,
    why="Capacity 60.5/s, 59.9 to 61.2/s.",
    probes=(probe(4.0, 1.0, "ramp", 32.0), probe(69.6, 0.0), probe(55.0, 0.951)),
    curve=CURVE,
)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    found = msgspec.structs.replace(FOUND, rate=69.0)
    for capacity in (FOUND, found):
        assert all(cells(line) <= width for line in lines(capacity, width))
        assert all(cells(line) <= width for line in plot(capacity, width))


def test_every_point_stands_on_its_own_side_of_the_bound() -> None:
    drawn = list(plot(FOUND, 80))
    good, waits = drawn[1:7], drawn[8:14]
    good_bound = next(i for i, line in enumerate(good) if "┄" in line)
    wait_bound = next(i for i, line in enumerate(waits) if "┄" in line)
    assert sum(line.count("●") for line in good[:good_bound]) == 2  # 100 % and 95.1 %
    assert sum(line.count("●") for line in good[good_bound + 1 :]) == 2  # 94.9 % and 0 %
    assert sum(line.count("●") for line in waits[wait_bound + 1 :]) == 2
    assert waits[0].count("▲") == 1  # above the scale
    assert "95 %" in good[good_bound]
    assert "500 ms" in waits[wait_bound]


def test_the_capacity_is_marked_on_the_scale() -> None:
    *_, axis, words = plot(FOUND, 80)
    assert axis.count("┴") == 1
    at = axis.index("┴")
    assert "60.5/s" in words[at - 4 : at + 5]


def test_the_reports_say_capacity_probes_and_curve() -> None:
    document = with_capacity(FOUND)
    text, markdown = render_text(Material(document=document), "j"), render_markdown(Material(document=document))
    for part in ("60.5/s, 95 % interval 59.9 to 61.2/s", "4 to 32", "✗ does not", "┴"):
        assert part in text
        assert part in markdown
    assert "Capacity" not in render_text(Material(document=make_document()), "j")
    assert msgspec.json.decode(render_json(document), type=ResultDocument) == document


def test_a_search_that_found_nothing_says_why_and_shows_what_it_tried() -> None:
    why = "The service does not meet its SLO even at 4/s."
    nothing = msgspec.structs.replace(FOUND, rate=None, low=None, high=4.0, why=why)
    assert why[:-1] in " ".join(" ".join(lines(nothing, 80)).split())
    assert not any("┴" in line for line in lines(nothing, 80))
    bare = msgspec.structs.replace(nothing, probes=(), curve=())
    assert len(list(lines(bare, 80))) == 1


def with_capacity(capacity: Capacity) -> ResultDocument:
    document = make_document()
    return msgspec.structs.replace(document, summary=msgspec.structs.replace(document.summary, capacity=capacity))
