"""Make the README's pictures of a real run from its folder: ``python images/examples.py RUN``.

They are the run's own figures, made smaller. The activation maps need a run with ``--save-maps``.
"""

import sys
from pathlib import Path

from PIL import Image

WIDEST, COLOURS = 1200, 128
FIGURES = {
    "example-history.png": "figures/history.png",
    "example-confusion.png": "figures/confusion_matrix.png",
    "example-features.png": "figures/features_s2.png",
    "example-maps.png": "maps/end/s1/*_label-2.png",
}


def main(run):
    for name, pattern in FIGURES.items():
        source = next(Path(run).glob(pattern))
        with Image.open(source) as picture:
            picture = picture.convert("RGB")
            picture.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
            picture.quantize(COLOURS).save(Path(__file__).parent / name, optimize=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
