"""The record of how the runs in the folder runs/ were made, by the last commit whose files have no format number:

    git worktree add ../before 4f142e7
    python tests/golden/make_runs.py ../before

They are not made again: a new version must read them, come to the same scores, and train them longer to the same
weights, whose digests are in runs.json.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors.torch import load_file

GOLDEN = Path(__file__).resolve().parent
sys.path[:0] = [str(GOLDEN.parent.parent), str(GOLDEN.parent)]

from support.golden_checkpoints import LONGER, compute_digest  # noqa: E402

from utils import write_json  # noqa: E402

COMMON = "--dataset digits --batch-size 100 --threads 1 --no-figures --output . "
FIELDS = "s1.out_channels=5 s2.out_channels=10 s3.out_channels=10 s1.rule.rates=0.1,-0.075 s2.rule.rates=0.1,-0.075 "
COMMANDS = {
    "rewarded": f"--model mozafari2018 --epochs 1 1 2 {COMMON} --set {FIELDS} s2.threshold=4 "
    "s3.rule.reward=0.05,-0.04 s3.rule.punishment=-0.05,0.006",
    "whitened": f"--model mozafari2018_margin --epochs 1 1 1 {COMMON} --encoder whitening --augment copies=1 flip "
    f"--readout svm --set {FIELDS} encoder.patch=5 encoder.time_steps=8 s1.threshold=4 s2.threshold=3",
}


def train(script: Path, words: str, folder: Path) -> None:
    subprocess.run([sys.executable, script, *words.split()], cwd=folder, check=True)


if __name__ == "__main__":
    script = Path(sys.argv[1]).resolve() / "train.py"
    digests = {}
    for name, words in COMMANDS.items():
        train(script, f"{words} --name {name}", GOLDEN / "runs")
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(GOLDEN / "runs" / name, Path(folder) / name)
            train(script, f"--resume {name} --epochs {LONGER[name]}", Path(folder))
            tensors = load_file(Path(folder) / name / "checkpoints" / "last.safetensors")
        digests[name] = {key: compute_digest(tensor) for key, tensor in tensors.items()}
    write_json(GOLDEN / "runs.json", digests)
