"""Image files as inputs."""

import warnings

import numpy as np
import pytest
from PIL import Image

from errors import InputError
from training.image_file import ORIENTATION, read_image


def digit(height=28, width=28):
    """A light bar on a dark ground, with greys."""
    pixels = np.zeros((height, width), np.uint8)
    pixels[height // 4 : -height // 4, width // 3 : -width // 3] = 200
    pixels[height // 4, width // 3 : -width // 3] = 90
    return pixels


def saved(path, pixels, mode=None):
    picture = Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(path)
    return path


def test_a_grey_image_is_taken_as_it_is(tmp_path):
    pixels, note = read_image(saved(tmp_path / "grey.png", digit()), 28, 28)
    assert (pixels.dtype, note) == (np.uint8, "")
    assert np.array_equal(pixels, digit())


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_colours_become_grey(mode, tmp_path):
    pixels, note = read_image(saved(tmp_path / "colour.png", digit(), mode), 28, 28)
    assert note == "made grey"
    assert np.array_equal(pixels, digit())


def test_dark_on_light_is_inverted(tmp_path):
    pixels, note = read_image(saved(tmp_path / "ink.png", 255 - digit()), 28, 28)
    assert note == "inverted: it was dark on light"
    assert np.array_equal(pixels, digit())


def test_ink_on_a_transparent_ground(tmp_path):
    ink = np.zeros((28, 28, 4), np.uint8)
    ink[..., 3] = digit()
    pixels, note = read_image(saved(tmp_path / "ink.png", ink), 28, 28)
    assert note == "made grey, inverted: it was dark on light"
    assert np.array_equal(pixels, digit())


@pytest.mark.parametrize("light", [200, 255])
def test_light_on_a_transparent_ground(light, tmp_path):
    chalk = np.full((28, 28, 4), light, np.uint8)
    chalk[..., 3] = np.where(digit() > 0, 255, 0)
    pixels, note = read_image(saved(tmp_path / "chalk.png", chalk), 28, 28)
    assert note == "made grey"
    assert np.array_equal(pixels, np.where(digit() > 0, light, 0))


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_camera_held_sideways(orientation, tmp_path):
    turns = {1: 0, 3: 180, 6: 90}  # degrees that the picture was turned by when it was saved
    picture = Image.fromarray(digit()).rotate(turns[orientation], expand=True)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    picture.save(tmp_path / "photo.png", exif=exif)
    pixels, note = read_image(tmp_path / "photo.png", 28, 28)
    assert note == ("turned upright, as the camera noted" if orientation != 1 else "")
    assert np.array_equal(pixels, digit())


def test_sixteen_bits_keep_their_greys(tmp_path):
    pixels, note = read_image(saved(tmp_path / "deep.png", digit().astype(np.uint16) * 257), 28, 28)
    assert note == "reduced to 8 bits"
    assert np.array_equal(pixels, digit())


@pytest.mark.parametrize(("height", "width"), [(56, 56), (14, 14), (56, 28), (20, 300), (1, 1)])
def test_another_size_keeps_its_proportions(height, width, tmp_path):
    pixels, note = read_image(saved(tmp_path / "other.png", np.full((height, width), 100, np.uint8)), 28, 28)
    assert pixels.shape == (28, 28)
    assert note == f"resized from {width}×{height}"
    scale = 28 / max(height, width)
    rows, columns = (pixels > 50).any(1), (pixels > 50).any(0)
    assert (rows.sum(), columns.sum()) == (round(height * scale), round(width * scale))
    for light in rows, columns:
        assert abs(int(light.argmax()) - int(light[::-1].argmax())) <= 1  # in the middle


@pytest.mark.parametrize(("height", "width"), [(14, 10), (28, 28)])  # Pillow warns up to twice the limit, then raises
def test_an_image_of_too_many_pixels(height, width, tmp_path, monkeypatch):
    saved(tmp_path / "large.png", digit(height, width))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with pytest.raises(InputError, match=r"large\.png has too many pixels; give an image of at most 100"):
            read_image(tmp_path / "large.png", 28, 28)
    assert said == []


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_no_image(content, tmp_path):
    (tmp_path / "file.png").write_bytes(content)
    with pytest.raises(InputError, match=r"file\.png cannot be read as an image; give a PNG or JPEG file"):
        read_image(tmp_path / "file.png", 28, 28)
    with pytest.raises(InputError, match=r"no image at .*missing\.png"):
        read_image(tmp_path / "missing.png", 28, 28)
