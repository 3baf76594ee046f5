#!/usr/bin/env bash
# Runs the first tier of the tests with the lowest versions that requirements*.txt allow, and with other Pythons:
#
#     tests/manual/versions.sh FOLDER [lowest | VERSION OF PYTHON …] 2>&1 | tee versions.log
#
# The default is: lowest 3.10 3.12 3.13 3.14. FOLDER gets an environment for each (about 5 GB, as PyPI's torch for Linux
# contains CUDA; uv shares equal files), of packages from Python's registry. uv finds the Pythons on PATH (those of pyenv are
# in ~/.pyenv/versions/*/bin) or, where it may, downloads them; a version that it cannot get is named and left out. Debian's
# testing suite has 3.14: debootstrap installs it in a folder, and chroot runs this script there (with /proc, /sys and /dev).
# The exit code is 1 if a test has failed.
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
folder=$(cd "$1" && pwd)
shift
[ "$#" -gt 0 ] || set -- lowest 3.10 3.12 3.13 3.14
[ -d "$folder/uv" ] || python3 -m venv "$folder/uv"
"$folder/uv/bin/pip" install --quiet uv
uv() { "$folder/uv/bin/uv" --quiet "$@"; }
cd "$repository"
code=0
for version in "$@"; do
    place="$folder/$version"
    python=$version
    resolution=highest
    if [ "$version" = lowest ]; then
        python=3.11
        resolution=lowest-direct
    fi
    if ! uv venv --allow-existing --python "$python" "$place"; then
        echo "$version: uv finds no Python $python"
        continue
    fi
    uv pip install --python "$place" --resolution "$resolution" -r requirements-dev.txt
    echo "$version:" "$("$place/bin/python" --version)" $(uv pip freeze --python "$place" | grep -v "^nvidia\|^cuda\|^triton")
    # each environment compiles its own kernels
    NUMBA_CACHE_DIR="$place/kernels" PYTHONPYCACHEPREFIX="$place/pycache" "$place/bin/python" -m pytest -p no:cacheprovider ||
        code=1
done
exit "$code"
