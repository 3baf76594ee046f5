#!/usr/bin/env bash
# The search for settings of multiscale2026 on Fashion-MNIST: one seed, and the test images stay unread.
#   bash results/search.sh [PYTHON]
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python}
flags=(--model multiscale2026 --dataset fashion-mnist --no-test --no-figures --epochs 2 4 4 2)
base=(s5.out_channels=50 s5.rule.decay=0.8 s5.rule.left_out=0.3)

try() { # folder, flags of sweep.py
    local folder=runs/search/$1
    shift
    "$python" sweep.py "${flags[@]}" "$@" --output "$folder"
}
