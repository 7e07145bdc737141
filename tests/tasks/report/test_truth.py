"""The page of the truth says in words what the numbers mean."""

import pytest

from tasks.report.truth import quantity_rows, wavefront_line
from tasks.truth import Comparison, Quantity

FOUND = (
    Quantity("C10", "Å", 55.0, 54.3, 0.19),
    Quantity("mirror", "", False, False, None),
    Quantity("C30", "Å", -5000.0, None, None),
)


def test_row_has_the_truth_and_what_was_found_with_its_uncertainty():
    rows = {row["name"]: row for row in quantity_rows(Comparison(FOUND, 0.02, ()))}
    assert rows["C10"] == {"name": "C10", "truth": "55", "found": "54.30 ± 0.19", "unit": "Å"}
    assert (rows["mirror"]["truth"], rows["mirror"]["found"]) == ("no", "no")
    assert (rows["C30"]["truth"], rows["C30"]["found"]) == ("−5\u202f000", "not fitted")


@pytest.mark.parametrize(("quantities", "explained"), [(FOUND, True), (FOUND[:2], False)])
def test_lower_orders_are_explained_only_where_higher_ones_were_not_fitted(quantities, explained):
    line = wavefront_line(Comparison(quantities, 0.02, ()))
    assert "0.02 rad" in line
    assert ("Lower orders make up" in line) == explained
