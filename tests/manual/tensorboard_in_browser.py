"""Open a finished run in TensorBoard, in a headless Chromium, and check that its pages are filled.

    python train.py --model mozafari2018 --dry-run --tensorboard --save-maps 1 --map-every 1
    python tests/manual/tensorboard_in_browser.py runs/mozafari2018-… --screenshots pages

Needs Chromium and ``pip install playwright``. Prints what each page shows; the exit code is 1 if something is missing.
"""

import argparse
import json
import re
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.chromium import open_chromium

WAIT = 60  # seconds: for TensorBoard to start, and for a page to be filled
SCALARS = {  # of each of its runs
    ".": {"stages/s1/convergence", "test/accuracy", "test/f1_macro", "validation/accuracy"},
    "train": {"accuracy/by_epoch", "loss/by_epoch"},
    "validation": {"accuracy/by_epoch", "loss/by_epoch", "scores/f1_macro"},
    "train_within_epochs": {"accuracy/by_images", "loss/by_images"},
}
IMAGES = {
    ".": {f"report/{name}" for name in ("confusion_matrix", "errors", "history", "roc_curves", "spike_times")},
    "validation": {"scores/confusion_matrix"},
}
# What it says of itself at every start, and cannot be told not to: it needs no TensorFlow, and reads quickly.
KNOWN = "TensorFlow installation not found", "NOTE: Using experimental fast data loading", "load_fast", "issues/4784"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("--screenshots", type=Path, metavar="DIR", help="save a picture of every page there")
    args = parser.parse_args()
    if not list(args.run.glob("events.out.tfevents.*")):
        sys.exit(f"{args.run} has no TensorBoard events; give the folder of a run with --tensorboard")
    if args.screenshots:
        args.screenshots.mkdir(parents=True, exist_ok=True)

    missing = []
    with tensorboard(args.run) as url, open_chromium() as browser:
        missing += check_data(url)
        page = browser.new_page(viewport={"width": 1500, "height": 1200})
        page.on("pageerror", lambda error: print(f"  JavaScript: {error}"))
        for name, look in PAGES.items():
            page.goto("about:blank")  # a new fragment alone would not load the page again
            page.goto(f"{url}/#{name}")
            shown, filled = wait_for(lambda look=look: look(page))
            print(f"{name:<10} {'shows' if filled else 'LACKS'} {shown}")
            if not filled:
                missing.append(name)
            if args.screenshots:
                page.wait_for_timeout(1000)  # for what is still moving
                page.screenshot(path=args.screenshots / f"{name}.png")
    if missing:
        sys.exit(f"missing: {', '.join(missing)}")
    print("every page is filled")


def check_data(url):
    """What TensorBoard has read, by its own account; returns what is missing."""
    missing = set()
    for kind, wanted in (("scalars", SCALARS), ("images", IMAGES)):
        found = ask(url, f"plugin/{kind}/tags")
        print(f"{kind:<10} " + ", ".join(f"{len(tags)} of {run}" for run, tags in found.items()))
        missing |= {f"{run}: {tag}" for run, tags in wanted.items() for tag in tags - set(found.get(run, ()))}
        if kind == "scalars":
            missing |= {
                f"points of {run}: {tag}" for run, tags in found.items() for tag in tags
                if not ask(url, f"plugin/scalars/scalars?run={run}&tag={tag}")
            }  # fmt: skip
        elif not any(tag.startswith("maps/") for tag in found["."]):
            missing.add("maps")
    missing |= {kind for kind in ("histograms", "text") if not ask(url, f"plugin/{kind}/tags").get(".")}
    return sorted(missing)


# ---------------------------------------------------------------------------------------------------------------------
# What a page shows, and whether that is all of it. Playwright's selectors see into open shadow roots.


def look_at_timeseries(page):
    """Accuracy comes first, then loss, both open, each with training and validation in one chart."""
    groups = [text.strip() for text in page.locator(".card-group .group-title").all_inner_texts()]
    cards = page.locator(".card-group scalar-card").all_inner_texts()
    together = bool(cards) and "train" in cards[0] and "validation" in cards[0]
    return f"the groups {', '.join(groups)}; {len(cards)} charts", groups[:2] == ["accuracy", "loss"] and together


def look_at_scalars(page):
    curves = page.locator("vz-line-chart2").evaluate_all(
        "charts => charts.map(c => (c.shadowRoot || c).querySelectorAll('path.line[d], path.symbol[d]').length)"
    )
    return f"{len(curves)} charts in the groups that are open", bool(curves) and min(curves) > 0


def look_at_images(page):
    widths = page.locator("tf-image-loader img").evaluate_all("images => images.map(i => i.naturalWidth)")
    return f"{len(widths)} images, {max(widths, default=0)} pixels across at most", bool(widths) and min(widths) > 1


def look_at_histograms(page):
    curves = page.locator("vz-histogram-timeseries").evaluate_all(
        "charts => charts.map(c => (c.shadowRoot || c).querySelectorAll('path.outline').length)"
    )
    return f"{len(curves)} charts with {sum(curves)} histograms", bool(curves) and min(curves) > 0


def look_at_text(page):
    texts = page.locator("tf-text-loader pre").all_inner_texts()
    lines = sum(len(text.splitlines()) for text in texts)
    return f"{lines} lines of text", any("threshold" in text for text in texts)


PAGES = {
    "timeseries": look_at_timeseries,
    "scalars": look_at_scalars,
    "images": look_at_images,
    "histograms": look_at_histograms,
    "text": look_at_text,
}


@contextmanager
def tensorboard(run):
    """Serve the run on a free port; yields the URL once the run has been read."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", "--logdir", run, "--host", "localhost", "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    said = []
    threading.Thread(target=lambda: said.extend(process.stdout), daemon=True).start()

    def look_for_address():
        found = re.search(r"http://localhost:\d+", "".join(said))
        return found and found[0], found or process.poll() is not None

    try:
        url, _ = wait_for(look_for_address)
        if not url:
            sys.exit("TensorBoard did not start:\n" + "".join(said))
        wait_for(lambda: (None, "test/f1_macro" in ask(url, "plugin/scalars/tags").get(".", ())))
        yield url
        new = [line for line in said if line.strip() and url not in line and not any(known in line for known in KNOWN)]
        if new:
            sys.exit("TensorBoard warns:\n" + "".join(new))
    finally:
        process.terminate()
        process.wait()


def wait_for(look):
    """Call ``look``, which returns something and whether that will do, until it does or the time is up."""
    end = time.monotonic() + WAIT
    while True:
        found, enough = look()
        if enough or time.monotonic() > end:
            return found, enough
        time.sleep(0.5)


def ask(url, question, **data):
    """The JSON answer of one of TensorBoard's data endpoints."""
    request = urllib.request.Request(f"{url}/data/{question}", headers={"Content-Type": "application/json"})
    request.data = json.dumps(data).encode() if data else None
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=WAIT) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main()
