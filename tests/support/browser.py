"""Compute with the script of a page, in a headless Chromium or in Node. Both are offline: the page is a file."""

import base64
import html
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

BROWSERS = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-proxy-server",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
# decisions of all pictures; of the first ones, the maps and potentials in base64; milliseconds of each answer
ANSWER = """
const toText = array => {
  let text = "";
  for (const byte of new Uint8Array(array.buffer)) text += String.fromCharCode(byte);
  return btoa(text);
};
const pixels = unpack(given.pixels), area = height * width, decisions = [], details = [], times = [];
for (let i = 0; i < given.count; i++) {
  const picture = { shape: [height, width], bytes: pixels.subarray(i * area, (i + 1) * area) };
  const begin = performance.now(), { decision, maps, potentials, race } = answer(picture);
  times.push(performance.now() - begin);
  decisions.push(decision);
  if (i < given.details) {
    const stages = Object.fromEntries(Object.entries(maps).map(([name, map]) => [name, toText(map)]));
    const [last, ofClasses] = [potentials, race].map(values => toText(Float64Array.from(values[""].floats)));
    details.push({ maps: stages, potentials: last, race: ofClasses });
  }
}
return { decisions, details, times };
"""
READ = """
const pixels = unpack(given.pixels), [rows, columns] = given.shape, area = rows * columns;
const images = Array.from({ length: given.count }, (_, i) => {
  const picture = { shape: [rows, columns], bytes: pixels.subarray(i * area, (i + 1) * area) };
  return [...centreCharacter(picture, height, width, [])];
});
return { images, size: [height, width] };
"""


def find_browser():
    """Return the path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


needs_browser = pytest.mark.skipif(find_browser() is None, reason="there is no Chromium to compute with")
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node to compute with")


def compute_in_browser(page, body, given):
    """Return what the JavaScript ``body`` returns, which reads ``given`` and all that the page declares, as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "page.html"
        script = f"""<pre id="found"></pre><script>
        const given = {json.dumps(given)};
        document.getElementById("found").textContent = JSON.stringify((() => {{ {body} }})());
        </script>"""
        copy.write_text(Path(page).read_text(encoding="utf-8") + script, encoding="utf-8")
        words = [find_browser(), *FLAGS, f"--user-data-dir={folder}/profile", "--dump-dom", copy.as_uri()]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    (found,) = re.findall(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    return json.loads(html.unescape(found))


def compute_in_node(page, body, given):
    """Do the work of ``compute_in_browser`` with the parts of the scripts that compute, without paper and canvas."""
    text = Path(page).read_text(encoding="utf-8")
    texts = dict(re.findall(r'id="(data|exported)">(.*?)</script>', text, re.DOTALL))
    script = text[text.rindex('"use strict"') : text.rindex("const at =")]
    if "exported" in texts:
        script += text[text.rindex("const exported =") : text.rindex("// ---- From the drawing")]
    program = f"""
    const texts = {json.dumps(texts)}, document = {{ getElementById: id => ({{ textContent: texts[id] }}) }};
    const given = {json.dumps(given)};
    {script}
    console.log(JSON.stringify((() => {{ {body} }})()));
    """
    done = subprocess.run(["node", "-"], input=program, capture_output=True, text=True, timeout=300, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def answer_in_browser(page, images, details, compute=compute_in_browser):
    """Return the page's answers to images, uint8 (N, H, W). compute: ``compute_in_browser`` or ``compute_in_node``.

    Returns decisions int (N,), a dict {stage: map (F, H, W), "potentials": float64 (F, Ho, Wo), "race": float64
    (T, classes)} of flat arrays for each of the first ``details`` images, and the milliseconds of each answer, (N,).
    """
    pixels = base64.b64encode(images.tobytes()).decode()
    found = compute(page, ANSWER, {"pixels": pixels, "count": len(images), "details": details})
    described = []
    for each in found["details"]:
        maps = {name: np.frombuffer(base64.b64decode(text), np.uint8) for name, text in each["maps"].items()}
        floats = {name: np.frombuffer(base64.b64decode(each[name])) for name in ("potentials", "race")}
        described.append({**maps, **floats})
    return np.array(found["decisions"]), described, np.array(found["times"])


def centre_in_browser(page, pictures):
    """Return the network's images, uint8 (N, H, W), of pictures of characters, uint8 (N, rows, columns)."""
    pixels = base64.b64encode(pictures.tobytes()).decode()
    found = compute_in_browser(page, READ, {"pixels": pixels, "count": len(pictures), "shape": pictures.shape[1:]})
    return np.array(found["images"], np.uint8).reshape(-1, *found["size"])
