"""The small confusion matrix: its colours are the fractions of a row, and it has room for what is in it."""

import numpy as np
import pytest

from report.map_pictures import COLOURS, text_width
from report.matrix_picture import draw_matrix

NUMBERED = [str(number) for number in range(10)]


def colours_of(picture):
    """How often each colour of the scale is there, without texts."""
    return np.bincount(np.asarray(picture).ravel(), minlength=256)[:COLOURS]


def test_colours_are_the_roots_of_fractions():
    """A class all right, one a quarter of which is silent: full, and the roots of three and of one quarter."""
    found = colours_of(draw_matrix([[8, 0, 0], [0, 6, 2]], ["a", "b"], "two"))
    assert set(np.flatnonzero(found)) == {0, round(0.25**0.5 * 127), round(0.75**0.5 * 127), 127}


def test_a_class_without_images_has_no_colour():
    assert np.flatnonzero(colours_of(draw_matrix(np.zeros((2, 3), int), ["a", "b"], "none"))).tolist() == [0]


@pytest.mark.parametrize("names", [NUMBERED, ["Ankle boot", "<b>", "Ω"], [f"class {n}" for n in range(62)]])
def test_every_row_and_column_is_on_it(names):
    """In the last row and column, which is silence, too."""
    matrix = np.zeros((len(names), len(names) + 1), int)
    matrix[-1, -1] = 5
    picture = draw_matrix(matrix, names, "title")
    pixels = np.asarray(picture)
    rows, columns = np.nonzero(pixels == COLOURS - 1)
    assert len(rows) > 100
    assert rows.max() < picture.height - 1
    assert columns.max() < picture.width - 1
    assert picture.width > text_width("title", 15, True)
