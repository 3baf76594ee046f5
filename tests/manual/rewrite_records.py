"""Rewrite the records of checkpoints that a version before the declarations has saved; their tensors do not change.

    python tests/manual/rewrite_records.py results/checkpoints/*.safetensors tests/golden/*.safetensors

The older record contains single fields of the stages ("overrides"), the new one contains the stages ("declaration").
"""

import json
import sys
from pathlib import Path

import safetensors.torch
import torch

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.golden_checkpoints import declared  # noqa: E402

from engine.declaration import to_plain  # noqa: E402
from models import build_model  # noqa: E402
from training.checkpoint import compute_checksum, load_checkpoint, rebuild_network  # noqa: E402


def rewrite_record(path: Path) -> None:
    """Replace the fields of the stages by the stages."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    record = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["checkpoint"])
    if "overrides" not in record:
        return
    arguments = {name: record[name] for name in ("in_channels", "num_classes", "time_steps", "image_size")}
    model = build_model(record["model"], overrides=record["overrides"], **arguments)
    stages = {name: to_plain(stage) for name, stage in model.declaration.items()}
    changed = {}
    for name, value in record.items():
        changed |= {"declaration": stages} if name == "overrides" else {name: value}
    tensors = safetensors.torch.load(data)
    text = json.dumps(changed)
    path.write_bytes(safetensors.torch.save(tensors, {"checkpoint": text, "sha256": compute_checksum(text, tensors)}))
    rebuild_network(load_checkpoint(path))
    after = safetensors.torch.load_file(path)
    assert tensors.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in tensors.items())


if __name__ == "__main__":
    with declared():
        for name in sys.argv[1:]:
            rewrite_record(Path(name))
