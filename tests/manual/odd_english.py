"""Print the lines that match patterns of unusual English: ``python tests/manual/odd_english.py [FILE …]``.

Without files, all text files of the repository are searched. Read each match, because a few are right.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PATTERNS = (
    *(r"(?<!there )\bis no (?!longer)", r"\banew\b", r" alike\b", r"\bof (its|his|their) own\b"),
    *(r"\bone's\b", r"\bmeanwhile\b", r"\bso many\b", r"\bwhoever\b"),
)
ODD = re.compile("|".join(PATTERNS), re.IGNORECASE)
ENDINGS = {".py", ".md", ".html", ".ipynb", ".sh", ".toml", ".txt", ".cff"}
LONGEST = 1000  # characters; the pictures of the notebook are longer


def main(names: list[str]) -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    count = 0
    for path in map(Path, names or tracked.splitlines()):
        if path.suffix in ENDINGS and path.name != Path(__file__).name:
            for number, line in enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), 1):
                if len(line) < LONGEST and ODD.search(line):
                    print(f"{path}:{number}: {line.strip()}")
                    count += 1
    print(f"{count} matches")


if __name__ == "__main__":
    main(sys.argv[1:])
