"""Moved copies and noise: by hand, against NumPy's own moves, and equal in parts and on any number of threads."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.draws import draw_pixels as pixels

from engine.augmentation import Augmentation
from imagesets.augmentation import compute_movements, move_images, warp
from training.plan import read_augmentation

ALL = "copies=17 turn=8 shift=1.2 scale=0.08 shear=0.08 flip"


def move(image, turn=0, down=0, right=0, size=1, shear=0, mirrored=False):
    """Move one image."""
    image, values = np.asarray(image, np.uint8), (turn, down, right, size, shear, mirrored)
    return warp(image[None], compute_movements(*(np.array([value]) for value in values)))[0]


def shifted(image, down, right):
    """Shift an image by whole pixels, with black outside of it."""
    room = max(abs(down), abs(right))
    padded = np.pad(image, [(room, room)] * 2 + [(0, 0)] * (image.ndim - 2))
    return np.roll(padded, (down, right), axis=(0, 1))[room : room + image.shape[0], room : room + image.shape[1]]


@pytest.mark.parametrize("shape", [(8, 8), (7, 8), (5, 9, 3), (1, 1)])
def test_moves_that_mix_no_pixels(shape):
    image = pixels(*shape)
    np.testing.assert_array_equal(move(image), image)
    np.testing.assert_array_equal(move(image, turn=180), image[::-1, ::-1])
    np.testing.assert_array_equal(move(image, mirrored=True), image[:, ::-1])
    for down, right in ((1, 0), (0, -2), (-3, 4), (0, 100)):
        np.testing.assert_array_equal(move(image, down=down, right=right), shifted(image, down, right))


@pytest.mark.parametrize("side", [6, 7])
def test_quarter_turns_of_a_square(side):
    """The image is mirrored first, then turned, then shifted."""
    image = pixels(side, side)
    np.testing.assert_array_equal(move(image, turn=90), np.rot90(image))
    np.testing.assert_array_equal(move(image, turn=-90), np.rot90(image, -1))
    np.testing.assert_array_equal(move(image, turn=90, down=2, right=1), shifted(np.rot90(image), 2, 1))
    np.testing.assert_array_equal(move(image, turn=90, mirrored=True), np.rot90(image[:, ::-1]))


def test_moves_between_pixels_by_hand():
    """By 1/4 down and 1/2 right, each pixel spreads over four: 3/8 and 3/8 in its row, 1/8 and 1/8 in the next."""
    image = [[0, 200, 0, 0], [0, 40, 0, 0], [0, 0, 0, 0]]
    assert move(image, down=0.25, right=0.5).tolist() == [[0, 75, 75, 0], [0, 40, 40, 0], [0, 5, 5, 0]]
    assert move([[100, 8]], right=0.25).tolist() == [[75, 31]]  # 3/4 · 100; 1/4 · 100 + 3/4 · 8
    assert move([[100, 8]], right=-0.5).tolist() == [[54, 4]]
    row = [[0, 80, 160, 240, 160]]
    assert move(row, size=2).tolist() == [[80, 120, 160, 200, 240]]
    assert move(row, size=0.5).tolist() == [[0, 0, 160, 160, 0]]
    slanted = move([[0, 0, 100, 0, 0]] * 5, shear=0.5)
    assert slanted[4].tolist() == [0, 0, 0, 100, 0]  # two rows below the centre, one pixel to the right
    assert slanted[3].tolist() == [0, 0, 50, 50, 0]
    assert slanted[0].tolist() == [0, 100, 0, 0, 0]


def test_copies_differ_and_stay_within_their_bounds():
    dot = np.zeros((2000, 21, 21), np.uint8)
    dot[:, 10, 10] = 255
    shift = Augmentation(copies=2, shift=3)
    ones, twos = (move_images(dot, shift, copy, seed=0) for copy in (1, 2))
    assert (ones != twos).any((1, 2)).mean() > 0.99
    assert (ones != move_images(dot, shift, 1, seed=1)).any((1, 2)).mean() > 0.99
    assert move_images(dot, shift, 0, seed=0) is dot
    centre = (ones * np.arange(-10, 11)).sum((1, 2)) / ones.sum((1, 2))  # how far right
    assert 2.9 < centre.max() < 3.02
    assert -3.02 < centre.min() < -2.9
    assert abs(centre.mean()) < 0.12  # the mean of 2000 uniform draws from -3 to 3 has a σ of 0.04


def test_flip_mirrors_half_of_the_images():
    images = pixels(1000, 4, 5)
    result = move_images(images, read_augmentation("copies=1 flip"), 1, seed=0)
    mirrored = (result == images[:, :, ::-1]).all((1, 2))
    assert 450 < mirrored.sum() < 550
    np.testing.assert_array_equal(result[~mirrored], images[~mirrored])


@pytest.mark.parametrize("shape", [(28, 28), (9, 12, 3)])
def test_a_copy_is_the_same_in_parts_and_on_any_number_of_threads(shape):
    images, moves = pixels(50, *shape), read_augmentation(ALL)
    images.flags.writeable = False
    torch.set_num_threads(1)
    alone = move_images(images, moves, 3, seed=5)
    torch.set_num_threads(3)
    assert (alone.shape, alone.dtype) == (images.shape, np.uint8)
    np.testing.assert_array_equal(move_images(images, moves, 3, seed=5), alone)
    parts = [move_images(images[a:b], moves, 3, seed=5, first=a) for a, b in ((0, 1), (1, 30), (30, 30), (30, 50))]
    np.testing.assert_array_equal(np.concatenate(parts), alone)


LIMITS = {"turn": 180, "shift": 4096, "scale": 0.9, "shear": 1}
amounts = st.fixed_dictionaries({name: st.floats(0, LIMITS[name]) for name in LIMITS} | {"flip": st.booleans()})


@given(copies=st.integers(1, 10_000), amounts=amounts)
def test_augmentations_are_written_as_they_are_read(copies, amounts):
    augmentation = Augmentation(copies, **amounts) if any(amounts.values()) else Augmentation()
    assert read_augmentation(str(augmentation)) == augmentation
    assert bool(augmentation) == (str(augmentation) != "none")
    assert read_augmentation(" ".join(reversed(ALL.split()))) == Augmentation(17, 8, 1.2, 0.08, 0.08, True)
