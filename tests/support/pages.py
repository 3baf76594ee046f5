"""The Python code of docs/extending.md."""

import re

from utils import ROOT

EXAMPLE = re.compile(r"```python\n(.*?)```", re.DOTALL)
EXAMPLES = EXAMPLE.findall((ROOT / "docs" / "extending.md").read_text())


def find_example(text):
    """Return the only example of the page that contains a text."""
    (example,) = (example for example in EXAMPLES if text in example)
    return example
