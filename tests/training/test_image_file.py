"""What becomes of the pictures that people have."""

import warnings

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from support.draw_digits import STYLES, huge

from errors import InputError
from training.image_file import ORIENTATION, read_image

CENTRED = "contrast stretched, scaled from {1}×{0} and centred as MNIST's digits"


def digit(height=28, width=28):
    """A light bar on a dark ground, with greys."""
    pixels = np.zeros((height, width), np.uint8)
    pixels[height // 4 : -height // 4, width // 3 : -width // 3] = 200
    pixels[height // 4, width // 3 : -width // 3] = 90
    return pixels


def letter():
    """An L of the proportions of a character of MNIST: 20 pixels high, its centre of mass in the middle."""
    pixels = np.zeros((28, 28), np.uint8)
    pixels[2:22, 11:14] = pixels[19:22, 11:22] = 255
    return pixels


def saved(path, pixels, mode=None):
    picture = Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(path)
    return path


def check_form(image):
    """The form of MNIST: on black, the longer side 20 pixels, the centre of mass in the middle."""
    rows, columns = np.flatnonzero((image > 60).any(1)), np.flatnonzero((image > 60).any(0))
    assert 18 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 20
    assert np.allclose(ndimage.center_of_mass(image.astype(float)), 14, atol=0.6)
    assert image.max() == 255
    assert np.median(image) == 0


# any network


@pytest.mark.parametrize("centred", [False, True])
def test_a_grey_image_is_taken_as_it_is(centred, tmp_path):
    pixels, note = read_image(saved(tmp_path / "grey.png", digit()), 28, 28, centred)
    assert (pixels.dtype, note) == (np.uint8, "")
    assert np.array_equal(pixels, digit())


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_colours_become_grey(mode, tmp_path):
    pixels, note = read_image(saved(tmp_path / "colour.png", digit(), mode), 28, 28)
    assert note == "made grey"
    assert np.array_equal(pixels, digit())


def test_a_transparent_colour(tmp_path):
    Image.fromarray(digit()).save(tmp_path / "keyed.png", transparency=0)
    pixels, note = read_image(tmp_path / "keyed.png", 28, 28)
    assert note == "made grey"
    assert np.array_equal(pixels, digit())


def test_only_characters_are_inverted(tmp_path):
    path = saved(tmp_path / "shirt.png", 255 - digit())
    pixels, note = read_image(path, 28, 28)
    assert note == ""
    assert np.array_equal(pixels, 255 - digit())
    pixels, note = read_image(path, 28, 28, centred=True)
    assert note.startswith("inverted: it was dark on light, ")


def test_ink_on_a_transparent_ground(tmp_path):
    ink = np.zeros((28, 28, 4), np.uint8)
    ink[..., 3] = digit()
    pixels, note = read_image(saved(tmp_path / "ink.png", ink), 28, 28)
    assert note == "made grey"
    assert np.array_equal(pixels, 255 - digit())


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


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (digit().astype(np.uint16) * 257, "reduced from 16 to 8 bits"),
        ((digit() * (4095 / 255)).round().astype(np.uint16), "reduced from 12 to 8 bits"),
        (digit().astype(np.int32), "taken as 8 bits"),
        (digit().astype(np.float32), "taken as 8 bits"),
    ],
)
def test_deep_images_keep_their_greys(values, note, tmp_path):
    pixels, told = read_image(saved(tmp_path / "deep.tiff", values), 28, 28)
    assert told == note
    assert np.array_equal(pixels, digit())


@pytest.mark.parametrize(
    ("values", "note"),
    [
        ((digit() / 200).astype(np.float32), "its values of 0 to 1 made 8 bits"),
        ((digit() / 100 - 1).astype(np.float32), "its values of -1 to 1 made 8 bits"),
        ((digit() / 200).astype(np.float32) + np.where(digit(), 0, np.nan).astype(np.float32), "its values of 0.45"),
        (digit().astype(np.int32) * 1000, "its values of 0 to 2e+05 made 8 bits"),
        (digit().astype(np.int32) - 300, "its values of -300 to -100 made 8 bits"),
    ],
)
def test_other_numbers_count_by_their_range(values, note, tmp_path):
    pixels, told = read_image(saved(tmp_path / "range.tiff", values), 28, 28)
    assert told.startswith(note)
    low = np.nanmin(values)
    expected = np.rint((np.nan_to_num(values.astype(float), nan=low) - low) * (255 / (np.nanmax(values) - low)))
    assert np.array_equal(pixels, expected)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("values", [np.uint8(0), np.uint8(255), np.uint16(40000), np.float32(0.5), np.float32(np.nan)])
@pytest.mark.parametrize("size", [(28, 28), (1, 1), (300, 20)])
def test_a_constant_image_is_silent(size, values, centred, tmp_path):
    pixels, note = read_image(saved(tmp_path / "constant.tiff", np.full(size, values)), 28, 28, centred)
    assert note.endswith("nothing to see: all its pixels are alike")
    assert pixels.shape == (28, 28)
    assert not pixels.any()


@pytest.mark.parametrize("ending", ["gif", "png", "tiff"])
def test_of_several_frames_the_first(ending, tmp_path):
    first, *others = (Image.fromarray(np.rot90(digit(), turns)) for turns in range(3))
    first.save(tmp_path / f"frames.{ending}", save_all=True, append_images=others)
    pixels, note = read_image(tmp_path / f"frames.{ending}", 28, 28)
    assert note.startswith("frame 1 of 3")
    assert np.array_equal(pixels, digit())


@pytest.mark.parametrize(("height", "width"), [(56, 56), (14, 14), (56, 28), (20, 300)])
def test_another_size_keeps_its_proportions(height, width, tmp_path):
    shape = np.full((height, width), 100, np.uint8)
    shape[0, 0] = 101
    pixels, note = read_image(saved(tmp_path / "other.png", shape), 28, 28)
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


# characters


@pytest.mark.parametrize("factor", [1, 3, 10])
@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("place", [(0, 0), (40, 90)])
def test_a_character_anywhere_at_any_size(factor, inverted, place, tmp_path):
    """Found on a larger ground, it is the image that it was taken from."""
    sheet = np.zeros((70 * factor, 130 * factor), np.uint8)
    large = letter().repeat(factor, 0).repeat(factor, 1)
    top, left = place[0] * factor, place[1] * factor
    sheet[top : top + len(large), left : left + len(large)] = large
    sheet = 255 - sheet if inverted else sheet
    pixels, note = read_image(saved(tmp_path / "sheet.png", sheet), 28, 28, centred=True)
    expected = CENTRED.format(*sheet.shape)
    assert note == ("inverted: it was dark on light, " if inverted else "") + expected
    assert np.abs(pixels.astype(int) - letter()).mean() < 8
    check_form(pixels)


def test_weak_ink_under_uneven_light_with_noise(tmp_path):
    strength = np.zeros((200, 260))
    strength[30:110, 60:75] = strength[95:110, 60:110] = 1  # an L of 80 × 50 pixels
    y, x = np.mgrid[-1:1:200j, -1:1:260j]
    light = 150 + 40 * x - 20 * y - 15 * (x * x + y * y)
    paper = light - 30 * strength + np.random.default_rng(0).normal(0, 5, light.shape)
    path = saved(tmp_path / "photo.png", paper.clip(0, 255).astype(np.uint8))
    pixels, note = read_image(path, 28, 28, centred=True)
    assert note == "inverted: it was dark on light, " + CENTRED.format(200, 260)
    check_form(pixels)
    ink = np.argwhere(pixels > 127) - np.argwhere(pixels > 127).min(0)
    assert np.all((ink[:, 1] < 5) | (ink[:, 0] > 14))  # nothing but the two bars of the L
    expected = Image.fromarray((255 * strength[30:110, 60:110]).astype(np.uint8)).resize((12, 20))
    assert abs(len(ink) - np.count_nonzero(np.asarray(expected) > 127)) < 15


def test_hairlines_are_thickened(tmp_path):
    sheet = np.full((400, 400), 255, np.uint8)
    sheet[50:350, 100:102] = sheet[348:350, 100:300] = 0
    pixels, note = read_image(saved(tmp_path / "hairline.png", sheet), 28, 28, centred=True)
    assert "strokes thickened" in note
    check_form(pixels)
    assert (pixels[10] > 127).sum() == 2


def test_specks_are_left_out_and_the_dot_of_an_i_is_not(tmp_path):
    sheet = np.full((200, 200), 240, np.uint8)
    sheet[60:140, 80:95] = sheet[35:50, 80:95] = 20  # an i, 105 pixels high
    sheet[180:182, 180:182] = 20
    pixels, _ = read_image(saved(tmp_path / "i.png", sheet), 28, 28, centred=True)
    rows = np.flatnonzero((pixels > 127).any(1))
    assert np.ptp(rows) + 1 == 20
    assert np.count_nonzero(np.diff(rows) > 1) == 1


@pytest.mark.parametrize("what", ["noise", "light", "one level"])
def test_paper_without_ink_is_silent(what, tmp_path):
    y, x = np.mgrid[-1:1:300j, -1:1:400j]
    paper = {
        "noise": np.random.default_rng(0).normal(200, 8, x.shape),
        "light": 150 + 60 * x - 30 * y * y,
        "one level": 200 + (np.abs(x) < 0.1),
    }[what]
    path = saved(tmp_path / "paper.png", paper.clip(0, 255).astype(np.uint8))
    pixels, note = read_image(path, 28, 28, centred=True)
    assert note == "nothing to see: no ink on its ground"
    assert not pixels.any()


@pytest.mark.parametrize("size", [(1, 2), (2, 1), (2, 2), (1, 300), (300, 1), (3, 3), (29, 28)])
def test_odd_sizes_are_read(size, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    pixels, note = read_image(saved(tmp_path / "odd.png", noise), 28, 28, centred=True)
    assert (pixels.shape, pixels.dtype) == ((28, 28), np.uint8)
    assert note


@pytest.mark.parametrize("style", [style for style in STYLES if style is not huge])
def test_drawn_digits_get_the_form_of_mnist(style, tmp_path):
    rng = np.random.default_rng(0)
    for digit in (4, 7):
        style(digit, rng).save(tmp_path / "drawn.png")
        pixels, note = read_image(tmp_path / "drawn.png", 28, 28, centred=True)
        assert "centred as MNIST's digits" in note
        check_form(pixels)
