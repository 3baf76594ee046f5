"""The pages in a Chromium that playwright operates: only with --slow, and if both are there. The browser is offline.

A picture of the page is left in the test's folder (``--basetemp DIR`` chooses where).
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.browser import FLAGS, find_browser, needs_browser
from support.command import DIGITS, TRAINED, start
from support.run_folders import only_run

import evaluate
import imagesets
from training.trained import load_network

pytestmark = [pytest.mark.slow, needs_browser]
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
SCREENS = {
    "wide": {"viewport": WIDE}, "dark": {"viewport": WIDE, "color_scheme": "dark"},
    "phone": {"viewport": NARROW, "device_scale_factor": 2, "is_mobile": True, "has_touch": True},
}  # fmt: skip
TWO = [(0.3, 0.3), (0.45, 0.2), (0.65, 0.25), (0.68, 0.4), (0.5, 0.6), (0.3, 0.78), (0.75, 0.78)]
SIGNS = {
    "A": [[(0.25, 0.85), (0.5, 0.15), (0.75, 0.85)], [(0.36, 0.6), (0.64, 0.6)]],
    "T": [[(0.2, 0.2), (0.8, 0.2)], [(0.5, 0.2), (0.5, 0.85)]],
    "X": [[(0.25, 0.2), (0.75, 0.85)], [(0.75, 0.2), (0.25, 0.85)]],
}
FIRST_WRONG = 10  # of the images on the page to draw on: ten digits, then one that is decided wrongly
BROKEN = "[...document.images].filter(image => !image.naturalWidth).map(image => image.alt)"
UNNAMED = """[...document.querySelectorAll("button, input, [tabindex]")].filter(each =>
    each.checkVisibility() && !(each.ariaLabel || each.textContent.trim() || each.labels?.length)).map(each => each.id)
"""
DRAWN = """canvas => {
  const element = document.querySelector(canvas);
  const { data } = element.getContext("2d").getImageData(0, 0, element.width, element.height);
  return [...new Uint32Array(data.buffer)];
}"""


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api", reason="there is no playwright to operate a browser with")
    with playwright.sync_playwright() as started:
        yield started.chromium.launch(executable_path=find_browser(), args=FLAGS)


@pytest.fixture(scope="module")
def run_page(tmp_path_factory):
    """The address of the page of a run, where nothing else is beside the file."""
    output = tmp_path_factory.mktemp("runs")
    assert start(f"--model mozafari2018 {DIGITS} --batch-size 100 --epochs 1 1 2 --map-index 0 1", output) == 0
    return Path(shutil.copy(only_run(output) / "index.html", tmp_path_factory.mktemp("alone"))).as_uri()


def write_drawing_page(folder, name, *words):
    page = folder / "draw.html"
    assert evaluate.main([str(TRAINED.with_stem(name)), "--draw", str(page), *words]) == 0
    return page.as_uri()


@pytest.fixture(scope="module")
def drawing_page(tmp_path_factory):
    mnist = imagesets.load("mnist")
    is_wrong = load_network(TRAINED).classify(mnist.test_images[:500])[0] != mnist.test_labels[:500]
    shown = map(str, [*range(FIRST_WRONG), is_wrong.argmax()])
    return write_drawing_page(tmp_path_factory.mktemp("page"), "mozafari2018", "--map-index", *shown)


@pytest.fixture(params=SCREENS)
def page(request, chromium, tmp_path):
    """A page on a screen, for one file."""
    troubles, asked = [], []
    context = chromium.new_context(**SCREENS[request.param], offline=True)
    context.on("weberror", lambda error: troubles.append(str(error.error)))
    context.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
    context.on("request", lambda asking: asked.append(asking.url))
    page = context.new_page()
    yield page
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(BROKEN) == []
    assert page.evaluate(UNNAMED) == []  # screen readers name each control
    assert troubles == []
    assert {address for address in asked if not address.startswith("data:")} == {page.url}
    context.close()


def read(page, selector):
    return page.locator(selector).inner_text()


def place(page, selector="#step"):
    """The position of a slider."""
    return int(page.locator(selector).input_value())


def click(page, selector, number=0, **options):
    page.locator(selector).nth(number).click(**options)


def press(page, selector, *keys):
    page.locator(selector).focus()
    for key in keys:
        page.keyboard.press(key)


def play(page, button):
    """Let an animation go on for a while."""
    click(page, button)
    page.wait_for_timeout(1800)
    click(page, button)


def count_spikes(page):
    """How many neurons have spiked up to the chosen time step."""
    return int(read(page, "#now").split("step ")[1].split(": ")[1].split(" of")[0].replace(",", ""))


def test_every_map_of_a_run(page, run_page):
    page.goto(run_page)
    data = json.loads(page.locator("#data").text_content())
    assert "silent" not in read(page, "#one-text")  # it opens on a feature that spikes
    for number, image in enumerate(data["images"]):
        click(page, "#images button", number)
        assert read(page, "#now").startswith(f"Image {image['index']},")
        for position, stage in enumerate(data["stages"]):
            click(page, "#stages button", position)
            assert read(page, "#what").startswith(stage["name"])
            assert len({*page.evaluate(DRAWN, "#all")}) > 1
            check_neuron(page, stage["parts"][0], stage["name"] in data["weights"])


def check_neuron(page, part, has_weights):
    """A click on the large map chooses a neuron, the arrow keys its neighbours."""
    step, width = place(page), page.locator("#one").bounding_box()["width"]
    click(page, "#one", position={"x": width - 1, "y": 1})
    assert read(page, "#place").startswith(f"neuron in row 0, column {part['columns'] - 1}")
    press(page, "#one", "ArrowDown", "ArrowRight")
    assert read(page, "#place").startswith(f"neuron in row {1 % part['rows']}, column 0")
    assert place(page) == step
    assert len({*page.evaluate(DRAWN, "#field")}) > 1
    assert page.locator("#curve").is_visible() == page.locator("#weights").is_visible() == has_weights
    if "threshold" in part:
        assert "threshold" in read(page, "#curve-text")
        spikes = read(page, "#place").count("step ")
        assert page.locator("#curve circle").count() == spikes
        assert page.locator("#growth").is_visible() == (spikes > 0 and "learns" in part)


def test_every_control_of_a_run(page, run_page):
    page.goto(run_page)
    last = json.loads(page.locator("#data").text_content())["steps"] - 1
    click(page, "#stages button", -1)
    leads = []
    for step in (last, 0):
        page.locator("#step").fill(str(step))
        assert f"after time step {step}" in read(page, "#peaks h3")
        leads.append(read(page, "#peaks table"))
    assert leads[0] != leads[1]
    click(page, "#stages button", 1)
    counts = [count_spikes(page)]
    for step in range(1, last + 1):
        press(page, "#step", "ArrowRight")
        assert place(page) == step
        counts.append(count_spikes(page))
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]
    click(page, "#bars span", 3)
    assert count_spikes(page) == counts[3]
    play(page, "#play")
    assert place(page) > 3

    click(page, "#all", position={"x": 300, "y": 10})
    _, chosen = read(page, "#one-title").split()
    press(page, "#all", "ArrowDown")
    assert read(page, "#one-title") == f"feature {int(chosen) + 1}" != "feature 1"
    click(page, "#stages button", 3)
    click(page, "#weights", position={"x": 10, "y": 10})  # a weight leads to its input
    assert (read(page, "#what")[:2], read(page, "#one-title")) == ("c1", "feature 0")


def test_features_that_emerge(page, run_page):
    page.goto(run_page)
    for number, record in enumerate(json.loads(page.locator("#data").text_content())["emergence"].values()):
        click(page, "#emerging button", number)
        pictures = []
        for moment, images in enumerate(record["images"]):
            page.locator("#moment").fill(str(moment))
            assert read(page, "#then-title") == f"after {images:,} images"
            pictures.append(page.evaluate(DRAWN, "#then"))
        page.locator("#moment").fill(str(len(pictures)))
        assert page.evaluate(DRAWN, "#then") == page.evaluate(DRAWN, "#end")
        assert len({*map(tuple, pictures)}) > 2
    step = place(page)
    press(page, "#moment", "ArrowLeft")
    assert (place(page, "#moment"), place(page)) == (len(pictures) - 1, step)
    page.locator("#moment").fill("0")
    play(page, "#grow")
    assert place(page, "#moment") >= 2


def stroke(page, points):
    """Draw a line through points, as fractions of the paper: with a finger if there is a touch screen."""
    page.locator("#paper").scroll_into_view_if_needed()
    box = page.locator("#paper").bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    if page.evaluate("navigator.maxTouchPoints"):
        session = page.context.new_cdp_session(page)
        touches = [("touchStart", points[:1]), *(("touchMove", [point]) for point in points), ("touchEnd", [])]
        for kind, places in touches:
            touched = [{"x": x, "y": y} for x, y in places]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touched})
    else:
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points:
            page.mouse.move(*point, steps=8)
        page.mouse.up()
    page.wait_for_timeout(300)


def test_drawing(page, drawing_page):
    page.goto(drawing_page)
    assert read(page, "#decision") == "silent"
    stroke(page, TWO)
    assert read(page, "#decision") == "2"
    assert "centred" in read(page, "#note")
    click(page, "#stages button", -1)
    assert "decision 2" in read(page, "#now")
    click(page, "#images button", 1 + FIRST_WRONG)
    index = read(page, "#note").split()[-1]
    assert read(page, "#now").startswith(f"Image {index}, label")
    assert read(page, "#label") != f"label {read(page, '#decision')}"
    stroke(page, [(0.1, 0.1), (0.2, 0.1)])
    for note in ("not moved", f"test image {index}"):
        assert read(page, "#note") == note
        click(page, "#undo")
    assert "centred" in read(page, "#note")
    page.locator("#centred").uncheck()
    assert "averaged" in read(page, "#note")
    click(page, "#clear")
    assert read(page, "#decision") == "silent"
    step = place(page)
    press(page, "#paper", *["ArrowUp"] * 30, *["ArrowLeft"] * 30, *["ArrowRight"] * 14, " ", *["ArrowDown"] * 24, " ")
    page.wait_for_timeout(300)
    assert (read(page, "#decision"), place(page)) == ("1", step)


def test_a_changed_network(page, drawing_page):
    page.goto(drawing_page)
    click(page, "#images button", 1)
    assert "leads by" in read(page, "#lead")
    first, noise = (page.get_by_label(name) for name in ("threshold of s1", "noise"))
    first.fill("45")
    page.wait_for_timeout(300)
    assert read(page, "#decision") == "silent"
    noise.fill("0.3")
    assert "threshold of s1 45 instead of 15, noise 0.3 instead of 0" in read(page, "#changes")
    click(page, "#original")
    page.wait_for_timeout(300)
    assert not page.locator("#changed").is_visible()
    assert read(page, "#decision") == read(page, "#label").split()[-1]
    assert first.input_value() == "15"


def draw_sign(page, sign, rng):
    """Draw a sign, each time a little otherwise; return the decision."""
    click(page, "#clear")
    size = rng.uniform(0.7, 1, 2)
    for line in SIGNS[sign]:
        stroke(page, (line * size + rng.normal(0, 0.02, (len(line), 2))).tolist())
    return read(page, "#decision")


def test_a_punished_decision_is_another_one(page, drawing_page):
    page.goto(drawing_page)
    before = draw_sign(page, "A", np.random.default_rng(0))
    page.get_by_role("button", name="wrong", exact=True).click()
    assert read(page, "#decision") != before
    assert read(page, "#learns-title") == "what it was taught"
    check_forgetting(page, before, 2)


def test_signs_that_the_page_is_taught(page, tmp_path):
    """Three drawings of each; most of three others are then right."""
    page.goto(write_drawing_page(tmp_path, "multiscale2026"))
    before = draw_sign(page, "A", np.random.default_rng(0))
    rng = np.random.default_rng(1)
    for sign in 3 * [*SIGNS]:
        draw_sign(page, sign, rng)
        page.locator("#name").fill(sign)
        press(page, "#name", "Enter")
    assert sum(draw_sign(page, sign, rng) == sign for sign in 3 * [*SIGNS]) > 4
    check_forgetting(page, before, 10)


def check_forgetting(page, before, answers):
    click(page, "#forget")
    assert draw_sign(page, "A", np.random.default_rng(0)) == before
    assert page.locator("#answers button").count() == answers
    assert not page.locator("#changed").is_visible()
