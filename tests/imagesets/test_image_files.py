"""Pictures as inputs of a network: formats, sizes, colours, and characters in the form of MNIST."""

import warnings
import zlib

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from support.draws import draw_pixels
from support.refusals import refuses
from support.tiers import slow_except

from imagesets import load
from imagesets.image_files import read_image
from imagesets.pictures import images_at, read_picture


def digit(height=28, width=28):
    """Return a light bar on a dark ground, with greys."""
    pixels = np.zeros((height, width), np.uint8)
    pixels[height // 4 : -height // 4, width // 3 : -width // 3] = 200
    pixels[height // 4, width // 3 : -width // 3] = 90
    return pixels


def letter():
    """Return an L of the proportions of MNIST: 20 pixels high, its centre of mass in the middle."""
    pixels = np.zeros((28, 28), np.uint8)
    pixels[2:22, 11:14] = pixels[19:22, 11:23] = 255
    return pixels


@pytest.fixture
def read(tmp_path):
    """A function that saves a picture and returns it as an input of 28×28 pixels, and the note."""

    def save_and_read(picture, centred=False, colours=1, stretched=False, format="TIFF", **saving):
        picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        picture.save(tmp_path / "picture", format, **saving)
        return read_image(tmp_path / "picture", 28, 28, centred, colours, stretched)

    return save_and_read


def check_form(image):
    """Check the form of MNIST: on black, the longer side 20 pixels, the centre of mass in the middle."""
    rows, columns = np.flatnonzero((image > 60).any(1)), np.flatnonzero((image > 60).any(0))
    assert 18 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 20
    assert np.allclose(ndimage.center_of_mass(image.astype(float)), 14, atol=0.6)
    assert image.max() == 255
    assert np.median(image) == 0


# any network

DIGIT = digit()
LIT = DIGIT > 0


def painted(colour, opacity):
    """Return a PNG of one grey value with the opacity of each pixel."""
    return Image.fromarray(np.dstack([np.full((28, 28, 3), colour, np.uint8), opacity.astype(np.uint8)]))


def turned(orientation, degrees):
    """Return a picture as a camera that was turned saves it, and what is saved with it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return Image.fromarray(DIGIT).rotate(degrees, expand=True), {"exif": exif}


def frames(format):
    first, *others = (Image.fromarray(np.rot90(DIGIT, turns)) for turns in range(3))
    return first, {"format": format, "save_all": True, "append_images": others}


PICTURES = [  # (picture, what is saved with it, what is read)
    *((Image.fromarray(DIGIT).convert(mode), {}, DIGIT) for mode in ("L", "RGB", "RGBA", "LA", "P")),
    (Image.fromarray(255 - DIGIT), {}, 255 - DIGIT),
    (painted(0, DIGIT), {}, 255 - DIGIT),  # transparent parts become white
    (Image.fromarray(DIGIT), {"transparency": 0}, np.where(LIT, DIGIT, 255)),
    *((*turned(orientation, degrees), DIGIT) for orientation, degrees in ((1, 0), (3, 180), (6, 90))),
    *((*frames(format), DIGIT) for format in ("PNG", "TIFF")),  # the first frame counts
]


@pytest.mark.parametrize(("picture", "saving", "expected"), PICTURES)
def test_a_picture_is_used_as_it_is_however_it_is_stored(read, picture, saving, expected):
    image, note = read(picture, **{"format": "PNG", **saving})
    assert (image.dtype, note) == (np.uint8, "")
    assert np.array_equal(image, expected)


def test_a_picture_in_the_form_of_mnist_is_not_centred_again(read):
    image, note = read(DIGIT, centred=True)
    assert note == ""
    assert np.array_equal(image, DIGIT)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_more_than_8_bits_are_refused(read, tmp_path, dtype):
    with refuses(tmp_path / "picture"):
        read(DIGIT.astype(dtype))


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
@pytest.mark.parametrize("depth", [8, 16])
def test_16_bits_of_any_kind_are_refused(colour_type, channels, depth, tmp_path):
    """PNG files of one opaque pixel: grey, RGB, grey with alpha, RGB with alpha."""

    def chunk(kind, data):
        checksum = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + checksum

    header = bytes([0, 0, 0, 1, 0, 0, 0, 1, depth, colour_type, 0, 0, 0])
    pixel = zlib.compress(b"\0" + b"\xff" * (channels * depth // 8))
    file = tmp_path / "pixel.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b""))
    if depth == 8:
        assert read_picture(file).tolist() == [[255]]
        return
    with refuses(file):
        read_picture(file)


def test_pictures_of_odd_modes(tmp_path):
    """Of a plain PBM, Pillow describes the data by a text; it converts no "La" to "RGBA"."""
    (tmp_path / "plain.pbm").write_text("P1 2 1 0 1")
    assert read_picture(tmp_path / "plain.pbm").tolist() == [[255, 0]]
    with refuses("La"):
        read_picture(Image.new("La", (4, 4)), "white")


def test_colours(read):
    """Red, green and blue count 0.299, 0.587 and 0.114 of white (ITU-R BT.601)."""
    picture = np.zeros((28, 28, 3), np.uint8)
    picture[9, 9:13] = [[100, 0, 0], [0, 100, 0], [0, 0, 100], [100, 200, 50]]
    image, note = read(picture)
    assert note == "made grey"
    assert image[9, 9:13].tolist() == [30, 59, 11, 153]
    assert np.array_equal(read(picture, colours=3)[0], picture)
    assert np.array_equal(read(DIGIT, colours=3)[0], DIGIT[..., None].repeat(3, 2))


@pytest.mark.parametrize("centred", [False, True])
def test_a_constant_image_becomes_black(read, centred):
    for value in (0, 255):
        for size in ((28, 28), (1, 1), (300, 20)):
            image, note = read(np.full(size, value, np.uint8), centred)
            assert "nothing to see" in note
            assert image.shape == (28, 28)
            assert not image.any()


@pytest.mark.parametrize(("height", "width"), [(56, 56), (14, 14), (56, 28), (20, 300)])
def test_another_size_keeps_its_proportions(read, height, width):
    picture = np.full((height, width), 100, np.uint8)
    picture[0, 0] = 101
    image, note = read(picture)
    assert image.shape == (28, 28)
    assert f"{width}×{height}" in note
    scale = 28 / max(height, width)
    rows, columns = (image > 50).any(1), (image > 50).any(0)
    assert (rows.sum(), columns.sum()) == (round(height * scale), round(width * scale))
    for light in rows, columns:
        assert abs(int(light.argmax()) - int(light[::-1].argmax())) <= 1  # in the middle


@pytest.mark.parametrize(("height", "width"), [(14, 10), (28, 28)])  # Pillow warns up to twice the limit, then raises
def test_an_image_of_too_many_pixels(height, width, tmp_path, monkeypatch):
    Image.fromarray(digit(height, width)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with refuses(tmp_path / "large.png"):
            read_image(tmp_path / "large.png", 28, 28)
    assert caught == []


def test_folders_and_patterns(tmp_path):
    for name in ("b.PNG", "a.jpg", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in images_at(tmp_path)] == ["a.jpg", "b.PNG"]
    assert [path.name for path in images_at(f"{tmp_path}/*.[jt]*")] == ["a.jpg", "notes.txt"]
    assert images_at(tmp_path / "a.jpg") == [tmp_path / "a.jpg"]
    for nothing in ("*.bmp", "folder.png"):
        with refuses(tmp_path / nothing):
            images_at(tmp_path / nothing)


# characters


@pytest.mark.parametrize("factor", [1, 3, 10])
@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("place", [(0, 0), (40, 90)])
def test_a_character_anywhere_at_any_size(read, factor, inverted, place):
    """Found on a larger ground, it is the image from which it was drawn."""
    sheet = np.zeros((70 * factor, 130 * factor), np.uint8)
    large = letter().repeat(factor, 0).repeat(factor, 1)
    top, left = place[0] * factor, place[1] * factor
    sheet[top : top + len(large), left : left + len(large)] = large
    image, note = read(255 - sheet if inverted else sheet, centred=True)
    assert ("inverted" in note) == inverted
    assert np.abs(image.astype(int) - letter()).mean() < 8
    check_form(image)


def test_weak_ink_under_uneven_light_with_noise(read):
    strength = np.zeros((200, 260))
    strength[30:110, 60:75] = strength[95:110, 60:110] = 1  # an L of 80 × 50 pixels
    y, x = np.mgrid[-1:1:200j, -1:1:260j]
    paper = 150 + 15 * x - 8 * y - 60 * strength + np.random.default_rng(0).normal(0, 5, x.shape)
    image, note = read(paper.clip(0, 255).astype(np.uint8), centred=True)
    assert "inverted" in note
    check_form(image)
    ink = np.argwhere(image > 60) - np.argwhere(image > 60).min(0)
    assert np.all((ink[:, 1] < 5) | (ink[:, 0] > 14))  # nothing but the two bars of the L


def test_paper_without_ink_becomes_black_and_odd_sizes_are_read(read):
    columns = np.abs(np.mgrid[-1:1:400j])
    image, note = read(np.tile(200 + (columns < 0.1), (300, 1)).astype(np.uint8), centred=True)
    assert "no ink" in note
    assert not image.any()
    for size in ((1, 2), (2, 1), (1, 300), (300, 1), (3, 3), (29, 28)):
        image, note = read(draw_pixels(*size), centred=True)
        assert (image.shape, image.dtype) == ((28, 28), np.uint8)
        assert note


def put(digit, side, rows, columns, y, x):
    """Return the strength of the ink, from 0 to 1, of a digit of MNIST that is enlarged and put on a larger sheet."""
    large = Image.fromarray(digit).resize((side, side), Image.Resampling.BILINEAR)
    sheet = np.zeros((rows, columns))
    sheet[y : y + side, x : x + side] = np.asarray(large) / 255
    return sheet


def crop(sheet):
    return sheet[sheet.any(1)][:, sheet.any(0)]


STYLES = {
    "white on black": lambda digit: 255 * put(digit, 180, 200, 200, 10, 10),
    "a coloured pen": lambda digit: (244, 240, 228) - put(digit, 280, 300, 400, 10, 90)[..., None] * (216, 200, 108),
    "opaque ink": lambda digit: np.dstack([np.full((128, 128, 3), 20), 255 * put(digit, 120, 128, 128, 4, 4)]),
    "a tight crop": lambda digit: 255 - 235 * crop(put(digit, 200, 200, 200, 0, 0)),
    "small in a corner": lambda digit: 250 - 220 * put(digit, 84, 480, 640, 380, 20),
    "eight by eight": lambda digit: 255 * put(digit, 8, 8, 8, 0, 0),
}


@pytest.mark.parametrize("style", slow_except(["a coloured pen", "a tight crop"], STYLES))
def test_digits_of_any_style_get_the_form_of_mnist(read, style):
    for digit in load("mnist").test_images[[4, 0]]:
        image, note = read(STYLES[style](digit).clip(0, 255).round().astype(np.uint8), centred=True, format="PNG")
        assert "centred" in note
        check_form(image)


POSTSCRIPT = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.mark.unix
def test_no_picture_starts_a_program(tmp_path, monkeypatch):
    """Pillow would give PostScript, also in a file with another ending, to Ghostscript."""
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\necho 10.0; touch {tmp_path / 'started'}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    (tmp_path / "x.png").write_text(POSTSCRIPT)
    with refuses("x.png"):
        read_picture(tmp_path / "x.png")
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("format", ["BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP", "GIF", "ICO"])
def test_the_formats_of_pictures(format, tmp_path):
    """Those that data/README.md names, by their content, and no others."""
    Image.fromarray(digit(32, 32)).save(tmp_path / "x.png", format)
    if format in ("GIF", "ICO"):
        with refuses("PNG"):
            read_picture(tmp_path / "x.png")
    else:
        assert read_picture(tmp_path / "x.png").shape == (32, 32)
