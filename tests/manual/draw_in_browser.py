"""Compare the page of ``evaluate.py --draw`` with the network, and draw on it: ``tests/manual/draw_in_browser.py RUN``.

RUN is the folder of a run on MNIST, or a checkpoint. In headless Chromium, the page decides test images. Its decisions,
first spikes, potentials and the network's images of drawings are compared with those of Python with weights of 8 bits.
Then the page is drawn on with the mouse, the keyboard and a finger, which needs playwright (pip), and learns signs:
three drawings of each; other drawings of them, and the page's test images, are counted. ``--screenshots DIR`` saves
pictures: a digit, a wrong decision, silence, what it was taught, dark, on a phone.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from page_in_browser import SCREENS, check, open_chromium  # noqa: E402
from support.browser import answer_in_browser, centre_in_browser  # noqa: E402

import evaluate  # noqa: E402
import imagesets  # noqa: E402
from imagesets.image_files import read_image  # noqa: E402
from report.exports.draw import quantize  # noqa: E402
from training.trained import load_network  # noqa: E402

COMPARED = 20  # images of which all first spikes are compared
DRAWINGS = 100
FIRST_WRONG = 10  # the page's images: ten that the network may decide, then wrong decisions
TAUGHT = 3  # drawings of each sign; as many others are tested
SIGNS = {
    "A": [[(0.25, 0.85), (0.5, 0.15), (0.75, 0.85)], [(0.36, 0.6), (0.64, 0.6)]],
    "T": [[(0.2, 0.2), (0.8, 0.2)], [(0.5, 0.2), (0.5, 0.85)]],
    "X": [[(0.25, 0.2), (0.75, 0.85)], [(0.75, 0.2), (0.25, 0.85)]],
}
TWO = [(0.3, 0.3), (0.45, 0.2), (0.65, 0.25), (0.68, 0.4), (0.5, 0.6), (0.3, 0.78), (0.75, 0.78)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--screenshots", type=Path, metavar="DIR")
    args = parser.parse_args()
    network = load_network(args.run)
    data = imagesets.load("mnist")
    images, labels = data.test_images[: args.images], data.test_labels[: args.images]
    latencies = network.encoder.encode(images)
    wrong = np.flatnonzero(network.model.predict(latencies).numpy() != labels)[:5]
    shown = [str(index) for index in (*range(FIRST_WRONG), *wrong)]
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "draw.html"
        check(evaluate.main([args.run, "--draw", str(page), "--map-index", *shown]) == 0, "the page is written")
        model, whole_weights = quantize(network.model)
        compare(page, model, whole_weights[model.decision].unit, images, latencies)
        rng = np.random.default_rng(1)
        drawings = np.stack([draw(image, rng) for image in images[:DRAWINGS]])
        size = images.shape[1:]
        expected = np.stack([read_image(Image.fromarray(picture), *size, centred=True)[0] for picture in drawings])
        differences = centre_in_browser(page, drawings) != expected
        equal = DRAWINGS - differences.any((1, 2)).sum()
        print(f"drawings: {equal} of {DRAWINGS} equal images, {differences.sum()} other pixels")
        operate(page, args.screenshots)


def compare(page, model, unit, images, latencies):
    """Print how many decisions, first spikes and potentials of the page and of Python are equal."""
    decisions, details, times = answer_in_browser(page, images, COMPARED)
    equal = (decisions == model.predict(latencies).numpy()).sum()
    print(f"{page.name}: {page.stat().st_size / 1e6:.2f} MB, {equal} of {len(images)} equal decisions")
    print(f"  an answer takes {np.median(times):.1f} ms (median) and {times.max():.1f} ms (longest)")
    first = latencies[:COMPARED]
    maps = {"input": first, **dict(model.walk(first, [name for name in model.declaration if name != model.decision]))}
    for name, expected in maps.items():
        found = np.stack([each[name] for each in details])
        other = (found != expected.numpy().reshape(found.shape)).sum()
        print(f"  {name}: {other} of {found.size:,} first spikes differ")
    peaks = model.stages[model.decision].peaks(model.map_of(first, model.input_name(model.decision))[:]).numpy()
    found = np.stack([each["potentials"].reshape(peaks.shape[1], -1).max(1) for each in details])
    print(f"  {(found != peaks.astype(np.float64) * unit).sum()} of {peaks.size:,} highest potentials differ")
    check(equal >= 0.999 * len(images), "decisions are equal")


def draw(image, rng):
    """Return a digit of MNIST of any size, anywhere on a paper of 280×280 pixels."""
    side = int(rng.integers(80, 280))
    paper = Image.new("L", (280, 280))
    paper.paste(Image.fromarray(image).resize((side, side)), tuple(rng.integers(0, 281 - side, 2).tolist()))
    return np.asarray(paper)


def operate(path, screenshots):
    """Draw on the page on each screen, and use each control."""
    if screenshots:
        screenshots.mkdir(parents=True, exist_ok=True)
    with open_chromium() as browser:
        for name, screen in SCREENS.items():
            context = browser.new_context(**screen, offline=True)
            page, troubles, asked = context.new_page(), [], []
            page.on("pageerror", lambda error, troubles=troubles: troubles.append(str(error)))
            page.on("console", lambda said, troubles=troubles: said.type == "error" and troubles.append(said.text))
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.goto(path.as_uri())

            def save(state, page=page, name=name):
                if screenshots:
                    page.evaluate("scrollTo(0, 0)")
                    page.screenshot(path=screenshots / f"draw-{name}-{state}.png")

            check(read(page, "#decision") == "silent", "an empty paper is silent")
            save("silent")
            stroke(page, TWO, "has_touch" in screen)
            check(read(page, "#decision") == "2", "a drawn 2 is a 2")
            check("centred" in read(page, "#note"), "it is centred")
            print(f"{name}: a stroke is answered in {read(page, '#took')}")
            save("digit")
            page.locator("#stages button").last.click()
            check("decision 2" in read(page, "#now"), "the maps are those of the drawing")
            page.locator("#images button").nth(1 + FIRST_WRONG).click()
            index = read(page, "#note").split()[-1]
            check(read(page, "#now").startswith(f"Image {index}, label"), "a test image shows")
            check(read(page, "#label") != f"label {read(page, '#decision')}", "its decision is wrong")
            save("wrong")
            stroke(page, [(0.1, 0.1), (0.2, 0.1)], "has_touch" in screen)
            check(read(page, "#note") == "not moved", "what is drawn on a test image is not moved")
            page.locator("#undo").click()
            check(read(page, "#note") == f"test image {index}", "undo removes the stroke")
            page.locator("#undo").click()
            check("centred" in read(page, "#note"), "undo returns to the drawing")
            page.locator("#centred").uncheck()
            check("averaged" in read(page, "#note"), "the drawing can stay in its place")
            page.locator("#images button").nth(1).click()
            check("leads by" in read(page, "#lead"), "the lead over the next class shows")
            first = page.locator("#sliders input").first
            first.fill("45")
            page.wait_for_timeout(300)
            check(read(page, "#decision") == "silent", "with a high threshold, the network is silent")
            page.locator("#sliders input").last.fill("0.3")
            check("threshold of s1 45 instead of 15, noise 0.3 instead of 0" in read(page, "#changes"), "it says so")
            save("changed")
            page.locator("#original").click()
            page.wait_for_timeout(300)
            check(not page.locator("#changed").is_visible(), "the network is restored")
            check(read(page, "#decision") == read(page, "#label").split()[-1], "and decides as before")
            check(first.input_value() == "15", "so is the slider")
            page.locator("#clear").click()
            check(read(page, "#decision") == "silent", "a cleared paper is silent")
            step = page.locator("#step").input_value()
            page.locator("#paper").focus()
            for key in (*["ArrowUp"] * 30, *["ArrowLeft"] * 30, *["ArrowRight"] * 14, " ", *["ArrowDown"] * 24, " "):
                page.keyboard.press(key)
            page.wait_for_timeout(300)
            check(read(page, "#decision") == "1", "a 1 can be drawn with the keyboard")
            check(page.locator("#step").input_value() == step, "the keys of the paper do not change the time step")
            save("keyboard")
            if page.locator("#rehearse").count():
                learn(page, name, "has_touch" in screen, save)
            is_narrow = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            check(is_narrow, "nothing is wider than the screen")
            unnamed = page.evaluate("""[...document.querySelectorAll("button, input, [tabindex]")].filter(element =>
                !(element.ariaLabel || element.textContent.trim() || element.labels?.length)).length""")
            check(not unnamed, "each control has a name for readers of the screen")
            check(not troubles, f"no errors {troubles or ''}")
            check(not [address for address in asked if not address.startswith(("data:", path.as_uri()))], "no requests")
            print(f"{name}: works")
            context.close()


def learn(page, name, by_finger, save):
    """Teach the page signs, or punish its decision if it is only told what is right; then let it forget them."""
    page.locator("#centred").check()
    rng = np.random.default_rng(0)
    draw_sign(page, "A", rng, by_finger)
    before = read(page, "#decision")
    if not page.locator("#add").is_visible():  # R-STDP
        page.get_by_role("button", name="wrong", exact=True).click()
        check(read(page, "#decision") != before, "a punished decision is another one")
        print(f"{name}: an A was a {before}: {read(page, '#lesson')}")
    else:
        for sign in SIGNS:
            for _ in range(TAUGHT):
                draw_sign(page, sign, rng, by_finger)
                page.locator("#name").fill(sign)
                page.locator("#name").press("Enter")
        save("taught")
        right = 0
        for sign in SIGNS:
            for _ in range(TAUGHT):
                draw_sign(page, sign, rng, by_finger)
                right += read(page, "#decision") == sign
        print(f"{name}: {right} of {TAUGHT * len(SIGNS)} other drawings of {', '.join(SIGNS)} are right")
        check(read(page, "#learns-title") == "what it was taught", "the neuron that learned shows what it was taught")
    print(f"{name}: {read(page, '#taught')!r}")
    draw_sign(page, "A", np.random.default_rng(0), by_finger)
    page.locator("#forget").click()
    check(read(page, "#decision") == before, "a network that forgets decides as before")
    check(page.locator("#answers button").count() in (2, 10), "and has its classes")
    check(not page.locator("#changed").is_visible(), "and is not changed")


def draw_sign(page, sign, rng, by_finger):
    page.locator("#clear").click()
    turn, width, height = rng.uniform(-0.15, 0.15), *rng.uniform(0.7, 1, 2)
    for line in SIGNS[sign]:
        x, y = ((np.array(line) - 0.5) * (width, height) + rng.normal(0, 0.02, (len(line), 2))).T
        points = np.column_stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)]) + 0.5
        stroke(page, points.tolist(), by_finger)


def read(page, selector):
    return page.locator(selector).inner_text()


def stroke(page, points, by_finger):
    """Draw a line through points, as fractions of the paper, with the mouse or a finger."""
    page.locator("#paper").scroll_into_view_if_needed()
    box = page.locator("#paper").bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    if by_finger:
        session = page.context.new_cdp_session(page)
        for kind, (x, y) in [("touchStart", points[0]), *(("touchMove", point) for point in points)]:
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    else:
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points:
            page.mouse.move(*point, steps=8)
        page.mouse.up()
    page.wait_for_timeout(300)


if __name__ == "__main__":
    main()
