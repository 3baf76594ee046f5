"""Open a run's page in headless Chromium and operate it: ``python tests/manual/page_in_browser.py RUN``.

RUN is the folder of a run with ``--save-maps``. Needs playwright (pip) and a Chromium (your system's). The browser is
offline. In Node, the potentials of ``--neurons N`` neurons are compared with those of the kernels. ``--screenshots``
saves pictures of the page: wide, dark, on a phone, and its top with the activation maps of s1 (``images/page.png``).
"""

import argparse
import base64
import json
import re
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.browser import BROWSERS, FLAGS, compute_in_node, find_browser  # noqa: E402
from support.neurons import POTENTIALS, choose_neurons, is_potential  # noqa: E402

from training.trained import load_network  # noqa: E402

WIDE, SMALL = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
SCREENS = {
    "wide": {"viewport": WIDE}, "dark": {"viewport": WIDE, "color_scheme": "dark"},
    "phone": {"viewport": SMALL, "device_scale_factor": 2, "is_mobile": True, "has_touch": True},
}  # fmt: skip


@contextmanager
def open_chromium():
    """Yields playwright's browser; ends the program with a line if there is none."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sys.exit("playwright is missing: pip install playwright")
    path = find_browser()
    if path is None:
        sys.exit(f"no Chromium found ({', '.join(BROWSERS)}): apt-get install chromium, or your system's way")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        yield browser
        browser.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--screenshots", type=Path, metavar="DIR")
    parser.add_argument("--neurons", type=int, default=100, metavar="N")
    args = parser.parse_args()
    if not (args.run / "index.html").is_file():
        sys.exit(f"{args.run} has no index.html; give the folder of a run")
    compare_potentials(args.run / "index.html", load_network(args.run).model, args.neurons)
    if args.screenshots:
        args.screenshots.mkdir(parents=True, exist_ok=True)

    with tempfile.TemporaryDirectory() as folder, open_chromium() as browser:
        # alone: nothing of the run's folder is beside it
        url = Path(shutil.copy(args.run / "index.html", folder)).as_uri()
        for name, screen in SCREENS.items():
            context = browser.new_context(**screen, offline=True)
            page, troubles, asked = context.new_page(), [], []
            page.on("pageerror", lambda error, troubles=troubles: troubles.append(str(error)))
            page.on("console", lambda said, troubles=troubles: said.type == "error" and troubles.append(said.text))
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.goto(url)
            if args.screenshots and name == "wide":
                show_top(page, args.screenshots / "page-top.png")
            operate(page)
            watch_features(page)
            is_narrow = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            check(is_narrow, "nothing is wider than the screen")
            broken = page.evaluate("[...document.images].filter(i => !i.naturalWidth).map(i => i.alt)")
            check(not broken, f"every figure shows {broken or ''}")
            check(not troubles, f"no errors {troubles or ''}")
            others = [address for address in asked if not address.startswith(("data:", url))]
            check(not others, f"nothing is loaded {others or ''}")
            if args.screenshots:
                page.screenshot(path=args.screenshots / f"page-{name}.png", full_page=True)
            print(f"{name}: works")
            context.close()


def compare_potentials(path, model, count):
    """Print how many neurons of the page's first image have the potentials of the kernels, to the bit.

    count: of random neurons, and of neurons whose potential is nearest to the threshold, about equally many per layer.
    """
    data = json.loads(re.search(r'id="data">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)[1])
    latency = np.frombuffer(base64.b64decode(data["images"][0]["maps"]["input"]), np.uint8)
    latencies = torch.tensor(latency).view(1, model.in_channels, *data["stages"][0]["size"])
    layers = dict(model.named_layers())
    places = []
    for number, stage in enumerate(data["stages"]):
        places += [(number, place, part["label"]) for place, part in enumerate(stage["parts"]) if "threshold" in part]
    rng = np.random.default_rng(0)
    for number, place, label in places:
        layer = layers[label]
        ((_, below),) = model.walk(latencies, data["stages"][number]["inputs"])
        chosen = choose_neurons(layer, below[0], -(-count // len(places)), rng)
        found = compute_in_node(path, POTENTIALS, [[0, number, place, *neuron] for neuron in chosen])
        equal = sum(is_potential(layer, below[0], *pair) for pair in zip(chosen, found, strict=True))
        print(f"{label}: the potentials of {equal} of {len(chosen)} neurons are those of the kernels at each time step")
        check(equal == len(chosen), "the potentials are equal")


def show_top(page, path):
    """Save the page down to the end of the card with the activation maps: the second image, s1, time step 9."""
    page.locator("#images button").nth(1).click()
    page.locator("#stages button").filter(has_text="s1").click()
    page.locator("#step").fill("9")
    box = page.locator("#maps").bounding_box()
    end = box["y"] + box["height"] + 24
    page.screenshot(path=path, full_page=True, clip={"x": 0, "y": 0, "width": 1280, "height": end})


def operate(page):
    """Every control, and what it must change."""
    data = json.loads(page.locator("#data").text_content())
    results = json.loads(page.locator("#results").text_content())
    best = results.get("test", {}).get("best", results.get("test", {}))
    if best:
        shown = page.locator(".tiles").inner_text()
        check(f"{100 * best['accuracy']:.2f} %" in shown, "the accuracy is that of results.json")

    check("silent" not in page.locator("#one-text").inner_text(), "the page opens on a feature that spikes")
    stages, last = [stage["name"] for stage in data["stages"]], data["steps"] - 1
    check(page.locator("#stages button").all_inner_texts() == stages, "a button for each stage")
    check(page.locator("#images button").count() == len(data["images"]), "a button for each image")
    for image in range(min(2, len(data["images"]))):
        page.locator("#images button").nth(image).click()
        now = page.locator("#now").inner_text()
        check(now.startswith(f"Image {data['images'][image]['index']},"), "the image changes")
        for position, stage in enumerate(data["stages"]):
            page.locator("#stages button").nth(position).click()
            check(page.locator("#what").inner_text().startswith(stage["name"]), f"{stage['name']} shows")
            for part in range(len(stage["parts"])):
                if len(stage["parts"]) > 1:
                    page.locator("#branches button").nth(part).click()
                check(colours(page, "#all") > 1, f"{stage['name']} has more than one colour")
                has_weights = stage["parts"][part]["label"] in data["weights"]
                check(page.locator("#weights").is_visible() == has_weights, "weights are those of convolutions")
            check_neuron(page, data, stage)

    deciding = [place for place, stage in enumerate(data["stages"]) if stage["decides"]]
    if deciding:
        page.locator("#stages button").nth(deciding[0]).click()
        leads = []
        for step in range(last + 1):
            page.locator("#step").fill(str(step))
            check(f"after time step {step}" in page.locator("#peaks h3").inner_text(), "the classes race")
            leads.append(page.locator("#peaks table").inner_text())
        check(len(set(leads)) > last / 2, "the race goes on")
    page.locator("#stages button").nth(1).click()
    page.locator("#step").fill("0")
    first = spikes(page)
    counts = [first]
    for step in range(1, last + 1):
        page.keyboard.press("ArrowRight")
        check(page.locator("#step").input_value() == str(step), "the arrow key goes on by a step")
        counts.append(spikes(page))
    check(counts == sorted(counts) and counts[-1] > first, "spikes stay, and become more")
    page.keyboard.press("ArrowLeft")
    check(spikes(page) == counts[-2], "the arrow key goes back")
    page.locator("#bars span").nth(3).click()
    check(spikes(page) == counts[3], "a bar is its time step")
    page.locator("#play").click()
    page.wait_for_timeout(1000)
    page.locator("#play").click()
    check(int(page.locator("#step").input_value()) > 3, "playing goes on")

    box = page.locator("#all").bounding_box()
    page.locator("#all").click(position={"x": box["width"] / 2, "y": 10})
    chosen = page.locator("#one-title").inner_text()
    check(chosen not in ("feature 0", ""), "a click chooses a feature")
    page.locator("#all").focus()
    page.keyboard.press("ArrowDown")
    following = page.locator("#one-title").inner_text()
    check(following == f"feature {int(chosen.split()[1]) + 1}", "the arrow key chooses the next")
    convolutions = [i for i, stage in enumerate(data["stages"]) if i > 1 and stage["parts"][0]["kernel"]]
    if convolutions:
        page.locator("#stages button").nth(convolutions[0]).click()
        page.locator("#weights").click(position={"x": 10, "y": 10})
        check(page.locator("#what").inner_text().startswith(stages[convolutions[0] - 1]), "a weight leads to its input")
        check(page.locator("#one-title").inner_text() == "feature 0", "and to the feature")


def check_neuron(page, data, stage):
    """A click on the large map chooses a neuron, the arrow keys its neighbours."""
    part = stage["parts"][-1]
    step = page.locator("#step").input_value()
    box = page.locator("#one").bounding_box()
    page.locator("#one").click(position={"x": box["width"] - 1, "y": 1})
    place = page.locator("#place").inner_text()
    check(place.startswith(f"neuron in row 0, column {part['columns'] - 1}"), f"a click chooses a neuron: {place}")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    place = page.locator("#place").inner_text()
    row = 1 % part["rows"]
    check(place.startswith(f"neuron in row {row}, column 0"), f"the arrow keys choose its neighbours: {place}")
    check(page.locator("#step").input_value() == step, "and do not change the time step")
    check(colours(page, "#field") > 1, "it shows what the neuron sees")
    weights = data["weights"].get(part["label"], {})
    check(page.locator("#curve").is_visible() == bool(weights), "a neuron with weights has a potential")
    if "floats" in weights:
        check("threshold" in page.locator("#curve-text").inner_text(), "against the threshold")
        spike = page.locator("#place").inner_text().split("step ")[1:]
        check(page.locator("#curve circle").count() == len(spike), "a dot is the spike")
        check(page.locator("#growth").is_visible() == (bool(spike) and "learns" in part), "a spike teaches")


def watch_features(page):
    """The slider over the moments of the first epoch, for each layer."""
    emergence = json.loads(page.locator("#data").text_content())["emergence"]
    check(bool(emergence), "the page has features that emerge")
    for number, record in enumerate(emergence.values()):
        page.locator("#emerging button").nth(number).click()
        pictures = []
        for moment, images in enumerate(record["images"]):
            page.locator("#moment").fill(str(moment))
            title = page.locator("#then-title").inner_text()
            check(title == f"after {images:,} images", f"the slider is at {images} images, not {title}")
            pictures.append(picture(page, "#then"))
        page.locator("#moment").fill(str(len(record["images"])))
        pictures.append(picture(page, "#then"))
        check(pictures[-1] == picture(page, "#end"), "the last position shows the end")
        check(len(set(pictures)) > 3, "the features change")
    step = page.locator("#step").input_value()
    page.locator("#moment").focus()
    page.keyboard.press("ArrowLeft")
    check(page.locator("#moment").input_value() == str(len(record["images"]) - 1), "an arrow key moves the slider")
    check(page.locator("#step").input_value() == step, "and no other slider")
    page.locator("#moment").fill("0")
    page.locator("#grow").click()
    page.wait_for_timeout(1800)
    page.locator("#grow").click()
    check(int(page.locator("#moment").input_value()) >= 2, "the features are played")


def picture(page, canvas):
    return page.evaluate("canvas => document.querySelector(canvas).toDataURL()", canvas)


def spikes(page):
    """How many neurons have spiked up to the chosen time step, as the page says."""
    return int(page.locator("#now").inner_text().split("step ")[1].split(": ")[1].split(" of")[0].replace(",", ""))


def colours(page, canvas):
    return page.evaluate(
        """canvas => {
          const element = document.querySelector(canvas);
          const { data } = element.getContext("2d").getImageData(0, 0, element.width, element.height);
          return new Set(new Uint32Array(data.buffer)).size;
        }""",
        canvas,
    )


def check(holds, what):
    if not holds:
        sys.exit(f"FAILS: {what}")


if __name__ == "__main__":
    main()
