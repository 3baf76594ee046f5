"""Train each network in every way that must make no difference, and compare SHA-256 over all of its weights.

    python tests/manual/determinism.py                      # all networks; --model mozafari2018 …: some

The same command runs twice; on 1, 2 and 3 threads; stopped by SIGTERM after some time and resumed, on another number of
threads; and with the latency maps below the learning stage computed again for every batch, instead of once. All digests
of a network must be equal on one kind of processor. So must those of a training from moved copies, if only a decision
stage learns with labels: on 1 and on 2 threads, and resumed. They must differ from those without copies.
"""

import argparse
import contextlib
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

import train  # noqa: E402
from engine.stages import INPUT  # noqa: E402
from errors import InputError  # noqa: E402
from models import MODELS, build_model, network_names  # noqa: E402
from network_trainer import NetworkTrainer  # noqa: E402
from training.checkpoint import compute_checksum, load_checkpoint  # noqa: E402
from utils import find_processor  # noqa: E402

THREADS = 1, 2, 3
FLAGS = "--dataset digits --ratio 0.4 --batch-size 100 --no-figures --device cpu --save-every 0 --readout none"
PLAIN, MOVED = ["--augment", "none"], ["--augment", "copies=2", "turn=8", "shift=1.2", "flip"]


def digest(run):
    """Return the digest of the last weights and rates and, if the network classifies, of the best."""
    content = load_checkpoint(run / "checkpoints" / "last.safetensors")
    best = content.progress.best["state"] if content.progress.best else {}
    return compute_checksum("", content.state | {f"best {name}": tensor for name, tensor in best.items()})


class Recomputed:
    """The map of a stage, which is computed again for each batch."""

    device = "cpu"

    def __init__(self, network, latencies, name):
        self.network, self.latencies, self.name = network, latencies, name

    def __getitem__(self, chosen):
        return self.network.map_of(self.latencies[chosen], self.name)[:]  # a gathered map is packed


def prepare(network, phase, train, validation, copies):
    """Compute no map in advance."""
    latencies, name = train.maps[INPUT], network.input_name(phase.stages[0])
    train.maps = {name: Recomputed(network, latencies, name), INPUT: latencies}
    yield from ()


class Ways:
    """The ways to train a network; each returns the digest of its result."""

    def __init__(self, model, folder):
        self.model, self.folder = model, folder
        # 6 epochs of STDP: neurons of layers that have hardly learned fire for every image
        self.words = ["--model", model, *FLAGS.split(), "--epochs", *("6" * (len(MODELS[model].epochs) - 1)), "3"]

    def start(self, name, threads, augment, resume=False):
        new = [*self.words, *augment, "--output", str(self.folder), "--name", name]
        words = ["--resume", str(self.folder / name)] if resume else new
        command = [sys.executable, ROOT / "train.py", *words, "--threads", str(threads)]
        environment = os.environ | {"NUMBA_NUM_THREADS": str(max(THREADS))}
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, text=True, env=environment, **pipes)

    def whole(self, name, threads, augment=PLAIN):
        process = self.start(name, threads, augment)
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        return digest(self.folder / name)

    def resumed(self, name, after, augment=PLAIN):
        """Train with a stop ``after`` some seconds, as often as it takes, each time on another number of threads."""
        stops, threads = 0, 1
        while True:
            process = self.start(name, threads, augment, resume=stops > 0)
            file = self.folder / name / "checkpoints" / "last.safetensors"
            before = file.stat().st_mtime_ns if file.is_file() else None
            while process.poll() is None and (not file.is_file() or file.stat().st_mtime_ns == before):
                time.sleep(0.01)
            time.sleep(after)
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate()
            written = (self.folder / name / "results.json").is_file()
            if process.returncode == 0 or (process.returncode == -signal.SIGTERM and written):  # while Python ended
                return digest(self.folder / name), stops
            assert process.returncode == 143, (process.returncode, errors)
            stops, threads, after = stops + 1, threads % max(THREADS) + 1, 1.3 * after

    def takes_copies(self):
        """Return whether the network can learn from moved copies."""
        try:
            build_model(self.model).check_copies()
        except InputError:
            return False
        return True

    def computed_again(self, name):
        """Train with every stage's input computed again from the images of each batch."""
        words = [*self.words, *PLAIN, "--output", str(self.folder), "--name", name, "--threads", "1"]
        with mock.patch.object(NetworkTrainer, "_prepare", prepare), contextlib.redirect_stdout(io.StringIO()):
            assert train.main(words) == 0
        return digest(self.folder / name)


def compare(what, found):
    """Print whether the digests {way: digest} are equal; return whether they are not."""
    same = len(set(found.values())) == 1
    print(f"{what:<36} {'equal' if same else 'DIFFERENT'}: {', '.join(found)}", flush=True)
    for way, value in found.items() if not same else [("all", next(iter(found.values())))]:
        print(f"    {value}  {way}", flush=True)
    return not same


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", default=network_names())
    args = parser.parse_args()
    print(f"{find_processor()}; train.py {FLAGS}")
    different = 0
    for model in args.model:
        with tempfile.TemporaryDirectory() as folder:
            ways = Ways(model, Path(folder))
            found = {f"{threads} threads": ways.whole(f"threads{threads}", threads) for threads in THREADS}
            found["again"] = ways.whole("again", 2)
            digest_of_resumed, stops = ways.resumed("resumed", 0.4)
            found[f"resumed {stops} times"] = digest_of_resumed
            found["computed again"] = ways.computed_again("again-computed")
            different += compare(model, found)
            plain = found["again"]
            if ways.takes_copies():
                found = {f"{threads} threads": ways.whole(f"moved{threads}", threads, MOVED) for threads in THREADS[:2]}
                digest_of_resumed, stops = ways.resumed("resumed-moved", 0.4, MOVED)
                found[f"resumed {stops} times"] = digest_of_resumed
                different += compare(f"{model}, moved copies", found)
                if plain in found.values():
                    print("    THE SAME as without copies")
                    different += 1
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
