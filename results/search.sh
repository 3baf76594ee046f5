#!/usr/bin/env bash
# The search for settings of multiscale2026 on Fashion-MNIST: one seed; the test images are not read.
#   bash results/search.sh [PYTHON]
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python}
few=(s5.out_channels=50 s5.rule.left_out=0.3)
best=("${few[@]}" s5.rule.decay=0.8 encoder.threshold=20)
decay='s5.rule.decay' left_out='s5.rule.left_out'

search() { # folder, flags of sweep.py
    local folder=runs/search/$1
    shift
    "$python" sweep.py --model multiscale2026 --dataset fashion-mnist --no-test --no-figures --output "$folder" "$@"
}

plain() {
    search "$@" --augment none --epochs 2 4 4 2 15
}

# the decision layer: its neurons, how fast they settle, how many of them are left out
plain decision --grid s5.out_channels 50 --grid $decay 0.8 0.87 --grid $left_out 0 0.3 0.5
plain decision --grid s5.out_channels 100 --grid $decay 0.8 --grid $left_out 0 0.3
# the encoder's threshold
plain encoder --set "${few[@]}" $decay=0.8 --grid encoder.threshold 25 12
# one change at a time
plain changes --set "${best[@]}" --grid s5.rule.margin 0.03 0.08 # 0.03 changes nothing
plain changes --set "${best[@]}" --grid s5.rule.ltd 0.02 0.1
plain changes --set "${best[@]}" --grid s1.threshold 10
plain changes --set "${best[@]}" s3.threshold=14 --grid s2.threshold 7
plain changes --set "${best[@]}" s3.threshold=28 --grid s2.threshold 14
# moved copies
search moved --augment copies=8 shift=1 --epochs 2 4 4 2 30 --set $left_out=0.3 $decay=0.9 encoder.threshold=20 \
    --grid s5.out_channels 50

"$python" sweep.py --report runs/search/*/*seed0 --output results/search
