#!/usr/bin/env bash
# Tests the repository on arm64, in an emulator on an x86 machine with Debian 13 or newer, without root:
#
#     tests/manual/arm64.sh FOLDER 2>&1 | tee arm64.log
#
# FOLDER must be empty or missing. It gets the emulator, an arm64 Python and the packages of requirements-dev.txt (1.5 GB),
# all of them from Debian's and Python's registries; nothing else on the machine changes. Then the tests run that compare
# with numbers of x86, and a training on both processors must end with equal weights. `python` must be that of the
# environment in which the tests run on x86. On two cores, it takes about an hour.
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
folder=$(cd "$1" && pwd)
[ -z "$(ls -A "$folder")" ] || { echo "$folder is not empty" >&2; exit 2; }
torch=2.10.0 # the newest for arm64 on PyPI that does not need NVIDIA's libraries

# Debian's packages: the emulator for this machine, Python with all that it needs for arm64
mkdir -p "$folder"/apt/{lists,cache/archives}/partial "$folder"/{host,arm64/usr/lib}
cat > "$folder/apt/apt.conf" <<END
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
Dir::State "$folder/apt";
Dir::State::status "/dev/null";
Dir::Cache "$folder/apt/cache";
APT::Sandbox::User "";
END
export APT_CONFIG="$folder/apt/apt.conf"
apt-get -qq update
apt-get -qq -y --no-install-recommends --download-only install python3.13 libgomp1 libstdc++6
(cd "$folder/apt" && env -u APT_CONFIG apt-get -qq -o APT::Sandbox::User= download qemu-user)
ln -s usr/lib "$folder/arm64/lib" # where programs look for the dynamic linker
dpkg-deb -x "$folder"/apt/qemu-user_*.deb "$folder/host"
for package in "$folder"/apt/cache/archives/*.deb; do dpkg-deb -x "$package" "$folder/arm64"; done

# Python's packages. Their folder must be called site-packages, see INSTALLED in engine/compiled.py.
python -m venv "$folder/uv"
"$folder/uv/bin/pip" install --quiet uv
"$folder/uv/bin/uv" pip install --quiet --python-version 3.13 --python-platform aarch64-manylinux_2_28 --only-binary :all: \
    --target "$folder/site-packages" -r "$repository/requirements-dev.txt" "torch==$torch"

# A script, so that the processes that the tests start, by sys.executable, are emulated, too
cat > "$folder/python-arm64" <<END
#!/bin/sh
export PYTHONHOME=/usr PYTHONPATH="$folder/site-packages\${PYTHONPATH:+:\$PYTHONPATH}"
exec "$folder/host/usr/bin/qemu-aarch64" -cpu neoverse-n1 -0 "$folder/python-arm64" -L "$folder/arm64" \
    "$folder/arm64/usr/bin/python3.13" "\$@"
END
chmod +x "$folder/python-arm64"
export NUMBA_CACHE_DIR="$folder/kernels" PYTHONPYCACHEPREFIX="$folder/pycache" # another Python may have written __pycache__

cd "$repository"
"$folder/python-arm64" - <<'END'
import platform
from importlib.metadata import version

packages = ["torch", "numpy", "numba", "scipy", "scikit-learn", "safetensors"]
print(platform.machine(), "Python", platform.python_version(), *[f"{package} {version(package)}" for package in packages])
END
emulated=0
test_emulated() {
    echo "pytest $*"
    "$folder/python-arm64" -m pytest -n 0 -p no:cacheprovider -rs "$@" || emulated=1
}
test_emulated tests/engine/test_simd.py tests/engine/test_counting.py tests/engine/test_conformance.py
test_emulated tests/SpykeTorch/test_spyketorch_golden.py tests/test_s1c1.py
test_emulated tests/training/test_golden_checkpoints.py
test_emulated tests/engine/test_traces.py -k "mozafari2018 or majority2024"

# The same training on both processors
flags=(--model mozafari2018 --dataset tests/support/few_digits.npz --epochs 1 1 2 --threads 1 --no-figures)
python train.py "${flags[@]}" --output "$folder/runs" --name x86
"$folder/python-arm64" train.py "${flags[@]}" --output "$folder/runs" --name arm64
python - "$folder/runs" <<'END' || emulated=1
import sys
from pathlib import Path

sys.path.insert(0, ".")
import torch
from training.checkpoint import load_checkpoint

one, other = (load_checkpoint(Path(sys.argv[1], name, "checkpoints", "last.safetensors")).state for name in ("x86", "arm64"))
equal = [name for name in one if torch.equal(one[name], other[name])]
print(f"{len(equal)} of {len(one)} tensors of the two trainings are equal to the bit")
sys.exit(len(equal) < len(one))
END
exit "$emulated"
