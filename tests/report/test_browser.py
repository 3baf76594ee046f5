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


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api", reason="there is no playwright to operate a browser with")
    with playwright.sync_playwright() as started:
        yield started.chromium.launch(executable_path=find_browser(), args=FLAGS)


@pytest.fixture(scope="module")
def run_page(tmp_path_factory):
    output = tmp_path_factory.mktemp("runs")
    assert start(f"--model mozafari2018 {DIGITS} --batch-size 100 --epochs 1 1 2 --map-index 0 1", output) == 0
    return only_run(output) / "index.html"


@pytest.fixture(scope="module")
def drawing_page(tmp_path_factory):
    images, labels = imagesets.load("mnist").test_images[:500], imagesets.load("mnist").test_labels[:500]
    wrong = np.flatnonzero(load_network(TRAINED).classify(images)[0] != labels)[0]
    page = tmp_path_factory.mktemp("page") / "draw.html"
    shown = map(str, [*range(FIRST_WRONG), wrong])
    assert evaluate.main([str(TRAINED), "--draw", str(page), "--map-index", *shown]) == 0
    return page


@pytest.fixture(params=SCREENS)
def visit(request, chromium, tmp_path):
    """A function that opens a page on a screen, where nothing else is beside the file."""
    troubles, asked, pages = [], [], []
    folder = tmp_path / "alone"
    folder.mkdir()
    context = chromium.new_context(**SCREENS[request.param], offline=True)

    def visit_page(path):
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
        page.on("request", lambda asking: asked.append(asking.url))
        page.goto(Path(shutil.copy(path, folder)).as_uri())
        pages.append(page)
        return page

    yield visit_page
    (page,) = pages
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("[...document.images].filter(image => !image.naturalWidth).map(image => image.alt)") == []
    unnamed = """[...document.querySelectorAll("button, input, [tabindex]")].filter(each =>
        each.checkVisibility() && !(each.ariaLabel || each.textContent.trim() || each.labels?.length))
        .map(each => each.id)"""
    assert page.evaluate(unnamed) == []  # screen readers name each control
    assert troubles == []
    assert [address for address in asked if not address.startswith(("data:", tmp_path.as_uri()))] == []
    context.close()


def read(page, selector):
    return page.locator(selector).inner_text()


def place(page, selector="#step"):
    """The position of a slider."""
    return int(page.locator(selector).input_value())


def click(page, selector, x, y):
    """Click beside a corner of an element: a negative position counts from its right or its lower side."""
    box = page.locator(selector).bounding_box()
    page.locator(selector).click(position={"x": x % box["width"], "y": y % box["height"]})


def press(page, selector, *keys):
    page.locator(selector).focus()
    for key in keys:
        page.keyboard.press(key)


def count_spikes(page):
    """How many neurons have spiked up to the chosen time step."""
    return int(read(page, "#now").split("step ")[1].split(": ")[1].split(" of")[0].replace(",", ""))


def picture(page, canvas):
    return page.evaluate("canvas => document.querySelector(canvas).toDataURL()", canvas)


def count_colours(page, canvas):
    script = """canvas => {
      const element = document.querySelector(canvas);
      const { data } = element.getContext("2d").getImageData(0, 0, element.width, element.height);
      return new Set(new Uint32Array(data.buffer)).size;
    }"""
    return page.evaluate(script, canvas)


def test_every_map_of_a_run(visit, run_page):
    page = visit(run_page)
    data, results = (json.loads(page.locator(name).text_content()) for name in ("#data", "#results"))
    assert f"{100 * results['test']['best']['accuracy']:.2f} %" in read(page, ".tiles")
    assert "silent" not in read(page, "#one-text")  # it opens on a feature that spikes
    assert page.locator("#stages button").all_inner_texts() == [stage["name"] for stage in data["stages"]]
    for number, image in enumerate(data["images"]):
        page.locator("#images button").nth(number).click()
        assert read(page, "#now").startswith(f"Image {image['index']},")
        for position, stage in enumerate(data["stages"]):
            page.locator("#stages button").nth(position).click()
            assert read(page, "#what").startswith(stage["name"])
            assert count_colours(page, "#all") > 1
            (part,) = stage["parts"]
            assert page.locator("#weights").is_visible() == (part["label"] in data["weights"])
            check_neuron(page, data, part)
    assert number == 1


def check_neuron(page, data, part):
    """A click on the large map chooses a neuron, the arrow keys its neighbours."""
    step = place(page)
    click(page, "#one", -1, 1)
    assert read(page, "#place").startswith(f"neuron in row 0, column {part['columns'] - 1}")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert read(page, "#place").startswith(f"neuron in row {1 % part['rows']}, column 0")
    assert place(page) == step
    assert count_colours(page, "#field") > 1
    assert page.locator("#curve").is_visible() == (part["label"] in data["weights"])
    if "threshold" in part:
        assert "threshold" in read(page, "#curve-text")
        spike = read(page, "#place").split("step ")[1:]
        assert page.locator("#curve circle").count() == len(spike)
        assert page.locator("#growth").is_visible() == (bool(spike) and "learns" in part)


def test_every_control_of_a_run(visit, run_page):
    page = visit(run_page)
    last = json.loads(page.locator("#data").text_content())["steps"] - 1
    page.locator("#stages button").last.click()
    leads = set()
    for step in range(last + 1):
        page.locator("#step").fill(str(step))
        assert f"after time step {step}" in read(page, "#peaks h3")
        leads.add(read(page, "#peaks table"))
    assert len(leads) > last / 2
    page.locator("#stages button").nth(1).click()
    page.locator("#step").fill("0")
    counts = [count_spikes(page)]
    for step in range(1, last + 1):
        page.keyboard.press("ArrowRight")
        assert place(page) == step
        counts.append(count_spikes(page))
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]
    page.keyboard.press("ArrowLeft")
    assert count_spikes(page) == counts[-2]
    page.locator("#bars span").nth(3).click()
    assert count_spikes(page) == counts[3]
    page.locator("#play").click()
    page.wait_for_timeout(1000)
    page.locator("#play").click()
    assert place(page) > 3

    click(page, "#all", 300, 10)
    _, chosen = read(page, "#one-title").split()
    assert int(chosen) > 0
    press(page, "#all", "ArrowDown")
    assert read(page, "#one-title") == f"feature {int(chosen) + 1}"
    page.locator("#stages button").nth(3).click()
    click(page, "#weights", 10, 10)  # a weight leads to its input
    assert read(page, "#what").startswith("c1")
    assert read(page, "#one-title") == "feature 0"


def test_features_that_emerge(visit, run_page):
    page = visit(run_page)
    records = json.loads(page.locator("#data").text_content())["emergence"].values()
    for number, record in enumerate(records):
        page.locator("#emerging button").nth(number).click()
        pictures = []
        for moment, images in enumerate(record["images"]):
            page.locator("#moment").fill(str(moment))
            assert read(page, "#then-title") == f"after {images:,} images"
            pictures.append(picture(page, "#then"))
        page.locator("#moment").fill(str(len(record["images"])))
        assert picture(page, "#then") == picture(page, "#end")
        assert len(set(pictures)) > 2
    step = place(page)
    press(page, "#moment", "ArrowLeft")
    assert (place(page, "#moment"), place(page)) == (len(record["images"]) - 1, step)
    page.locator("#moment").fill("0")
    page.locator("#grow").click()
    page.wait_for_timeout(1800)
    page.locator("#grow").click()
    assert place(page, "#moment") >= 2


def stroke(page, points):
    """Draw a line through points, as fractions of the paper: with a finger if there is a touch screen."""
    page.locator("#paper").scroll_into_view_if_needed()
    box = page.locator("#paper").bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    if page.evaluate("navigator.maxTouchPoints"):
        session = page.context.new_cdp_session(page)
        for kind, places in ("touchStart", points[:1]), ("touchMove", points):
            for x, y in places:
                session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    else:
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points:
            page.mouse.move(*point, steps=8)
        page.mouse.up()
    page.wait_for_timeout(300)


def test_drawing(visit, drawing_page):
    page = visit(drawing_page)
    assert read(page, "#decision") == "silent"
    stroke(page, TWO)
    assert read(page, "#decision") == "2"
    assert "centred" in read(page, "#note")
    page.locator("#stages button").last.click()
    assert "decision 2" in read(page, "#now")
    page.locator("#images button").nth(1 + FIRST_WRONG).click()
    index = read(page, "#note").split()[-1]
    assert read(page, "#now").startswith(f"Image {index}, label")
    assert read(page, "#label") != f"label {read(page, '#decision')}"
    stroke(page, [(0.1, 0.1), (0.2, 0.1)])
    assert read(page, "#note") == "not moved"
    page.locator("#undo").click()
    assert read(page, "#note") == f"test image {index}"
    page.locator("#undo").click()
    assert "centred" in read(page, "#note")
    page.locator("#centred").uncheck()
    assert "averaged" in read(page, "#note")
    page.locator("#clear").click()
    assert read(page, "#decision") == "silent"
    step = place(page)
    press(page, "#paper", *["ArrowUp"] * 30, *["ArrowLeft"] * 30, *["ArrowRight"] * 14, " ", *["ArrowDown"] * 24, " ")
    page.wait_for_timeout(300)
    assert (read(page, "#decision"), place(page)) == ("1", step)


def test_a_changed_network(visit, drawing_page):
    page = visit(drawing_page)
    page.locator("#images button").nth(1).click()
    assert "leads by" in read(page, "#lead")
    first, noise = (page.get_by_label(name) for name in ("threshold of s1", "noise"))
    first.fill("45")
    page.wait_for_timeout(300)
    assert read(page, "#decision") == "silent"
    noise.fill("0.3")
    assert "threshold of s1 45 instead of 15, noise 0.3 instead of 0" in read(page, "#changes")
    page.locator("#original").click()
    page.wait_for_timeout(300)
    assert not page.locator("#changed").is_visible()
    assert read(page, "#decision") == read(page, "#label").split()[-1]
    assert first.input_value() == "15"


def draw_sign(page, sign, rng):
    page.locator("#clear").click()
    turn, width, height = rng.uniform(-0.15, 0.15), *rng.uniform(0.7, 1, 2)
    for line in SIGNS[sign]:
        x, y = ((np.array(line) - 0.5) * (width, height) + rng.normal(0, 0.02, (len(line), 2))).T
        points = np.column_stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)]) + 0.5
        stroke(page, points.tolist())


def test_a_punished_decision_is_another_one(visit, drawing_page):
    page = visit(drawing_page)
    draw_sign(page, "A", np.random.default_rng(0))
    before = read(page, "#decision")
    page.get_by_role("button", name="wrong", exact=True).click()
    assert read(page, "#decision") != before
    assert read(page, "#learns-title") == "what it was taught"
    check_forgetting(page, before)


def test_signs_that_the_page_is_taught(visit, tmp_path):
    """Three drawings of each; most of three others are then right."""
    network = TRAINED.with_name("multiscale2026.safetensors")
    assert evaluate.main([str(network), "--draw", str(tmp_path / "margin.html")]) == 0
    page = visit(tmp_path / "margin.html")
    rng = np.random.default_rng(0)
    draw_sign(page, "A", rng)
    before = read(page, "#decision")
    for sign in 3 * [*SIGNS]:
        draw_sign(page, sign, rng)
        page.locator("#name").fill(sign)
        page.locator("#name").press("Enter")
    right = 0
    for sign in 3 * [*SIGNS]:
        draw_sign(page, sign, rng)
        right += read(page, "#decision") == sign
    assert right > 4
    check_forgetting(page, before)


def check_forgetting(page, before):
    draw_sign(page, "A", np.random.default_rng(0))
    page.locator("#forget").click()
    assert read(page, "#decision") == before
    assert page.locator("#answers button").count() in (2, 10)
    assert not page.locator("#changed").is_visible()
