"""Open a finished run in TensorBoard, in a headless Chromium, and check that every page shows something.

    python train.py --model mozafari2018 --dry-run --tensorboard
    python tests/tensorboard_in_browser.py runs/mozafari2018-… --screenshots pages

Needs Chromium and ``pip install playwright``. Prints what each page shows; the exit code is 1 if something is missing.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

WAIT = 60  # seconds for TensorBoard to start, to read the run, and for a page to be drawn
BROWSERS = "chromium", "chromium-browser", "google-chrome", "chrome"
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-proxy-server",
)  # fmt: skip
# page → (what is counted there, CSS of it); Playwright's CSS looks into open shadow roots
PAGES = {
    "scalars": ("charts", "vz-line-chart2, scalar-card, .vz-line-chart2"),
    "images": ("pictures", "tf-image-loader img"),
    "histograms": ("histograms", "vz-histogram-timeseries"),
    "text": ("texts", "tf-text-loader, .text-row, tf-markdown-view"),
    "hparams": ("rows", "tf-hparams-table-view tr, vaadin-grid-cell-content, tf-hparams-main"),
    "projector": ("canvases", "canvas"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("--screenshots", type=Path, metavar="DIR", help="save a picture of every page there")
    args = parser.parse_args()
    print(args)


if __name__ == "__main__":
    main()
