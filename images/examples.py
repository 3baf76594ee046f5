"""Make the README's pictures of a run: ``python images/examples.py RUN [EVALUATION]``.

They are the figures in the folder of the run, reduced in size. The activation maps of the run, or of an evaluation of
it, need ``--save-maps``. The script also makes a digit for ``--predict``, dark on light like a scan.

The code of the other pictures of this folder is in the history: ``git show 989d4a12:images/networks.py`` drew the
networks, ``git show 4d659952:tests/manual/page_in_browser.py`` saved page.png, and ``git show
8edb5b7:images/draw.py`` drew all others.
"""

import sys
from pathlib import Path

from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent
MAX_WIDTH = 1000  # pixels
FIGURES = {
    "example-history.png": "figures/history.png",
    "example-confusion.png": "figures/confusion_matrix.png",
    "example-features.png": "figures/features_s2.png",
    "example-maps.png": "maps/**/s1/*_label-2.png",
}


def main(folders: list[str]) -> None:
    for name, pattern in FIGURES.items():
        source = next(path for folder in folders for path in Path(folder).glob(pattern))
        with Image.open(source) as picture:
            # a palette of 256 colours would break the colour bar of the confusion matrix
            picture = picture if picture.mode == "P" else picture.convert("RGB")
            picture.thumbnail((MAX_WIDTH, MAX_WIDTH), Image.Resampling.LANCZOS)
            picture.save(HERE / name, optimize=True)
    sys.path.insert(0, str(HERE.parent))
    from imagesets import load

    digit = ImageOps.invert(Image.fromarray(load("mnist").test_images[0]))
    digit.resize((140, 140), Image.Resampling.BICUBIC).save(HERE / "example-digit.png")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])
