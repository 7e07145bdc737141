import re
from xml.etree import ElementTree

import numpy as np

from tasks.report.charts import HEIGHT, WIDTH, Series, curves, histogram


def points(svg: str) -> list[tuple[float, float]]:
    (path,) = re.findall(r'class="line s0" d="([^"]*)"', svg)
    return [(float(a), float(b)) for a, b in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path)]


def test_chart_is_well_formed_and_escapes_its_labels():
    evil = "<script>\"&'"
    svg = curves([Series(evil, np.arange(3), np.arange(3), "s0")], evil, evil, alt=evil)
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == evil
    assert [t.text for t in root.iter("text")].count(evil) == 2
    assert "<script" not in svg


def test_a_straight_line_stays_straight_within_the_frame():
    drawn = np.array(
        points(curves([Series("", np.arange(9), 3 * np.arange(9), "s0")], "", "", alt=""))
    )
    slopes = np.diff(drawn[:, 1]) / np.diff(drawn[:, 0])
    np.testing.assert_allclose(slopes, slopes[0], rtol=0.02)
    assert slopes[0] < 0  # up on the screen
    assert (drawn >= 0).all()
    assert (drawn <= [WIDTH, HEIGHT]).all()


def test_nan_interrupts_a_curve():
    svg = curves([Series("", np.arange(5), np.array([0, 1, np.nan, 1, 0]), "s0")], "", "", alt="")
    (path,) = re.findall(r'class="line s0" d="([^"]*)"', svg)
    assert path.count("M") == 2
    assert "nan" not in svg


def test_curves_without_any_value_or_span_are_drawn_as_empty_axes():
    for y in (np.full(3, np.nan), np.zeros(3)):
        ElementTree.fromstring(curves([Series("", np.zeros(3), y, "s0")], "", "", alt=""))


def test_histogram_of_whole_numbers_has_a_bar_for_each():
    edges, counts = histogram(np.array([3.0, 3, 4, 6]))
    np.testing.assert_array_equal(edges, [2.5, 3.5, 4.5, 5.5, 6.5])
    np.testing.assert_array_equal(counts, [2, 1, 0, 1])


def test_histogram_counts_every_value():
    values = np.random.default_rng(0).poisson(2000, 5000).astype(float)
    for sample in (values, values + 0.5, values / 7, np.full(9, 2.5), np.full(9, 4.0)):
        edges, counts = histogram(sample)
        assert counts.sum() == sample.size
        assert 1 <= counts.size <= 61
        assert edges.size == counts.size + 1


def test_axis_makes_room_for_its_longest_tick():
    line = [Series("a", np.arange(3.0), np.array([0.04715, 0.0474, 0.0476]), "s0")]
    axis = re.search(r'class="axis" d="M([\d.]+) ', curves(line, "x", "y", alt="a"))
    short = [Series("a", np.arange(3.0), np.arange(3.0), "s0")]
    before = re.search(r'class="axis" d="M([\d.]+) ', curves(short, "x", "y", alt="a"))
    assert float(before[1]) == 54
    assert float(axis[1]) > 60
