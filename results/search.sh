#!/usr/bin/env bash
# The search for settings of multiscale2026 on Fashion-MNIST: one seed; the test images stay unread.
#   bash results/search.sh [PYTHON]
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python}
flags=(--model multiscale2026 --dataset fashion-mnist --no-test --no-figures)
few=(s5.out_channels=50 s5.rule.left_out=0.3)

plain() { # flags of sweep.py
    "$python" sweep.py "${flags[@]}" --augment none --epochs 2 4 4 2 15 "$@"
}

moved() { # folder, moves, flags of sweep.py
    local folder=runs/search/$1 moves=$2
    shift 2
    # shellcheck disable=SC2086
    "$python" sweep.py "${flags[@]}" --augment $moves --epochs 2 4 4 2 30 --output "$folder" "$@"
}

# the decision layer: neurons, how fast they settle, how many of them are left out
plain --output runs/search/decision --grid s5.out_channels 50 100 --grid s5.rule.decay 0.8 0.87 --grid s5.rule.left_out 0 0.3 0.5
# the encoder's threshold
plain --output runs/search/encoder --set "${few[@]}" s5.rule.decay=0.8 --grid encoder.threshold 25 12
# what else could be otherwise, one change at a time
best=("${few[@]}" s5.rule.decay=0.8 encoder.threshold=20)
plain --output runs/search/features --set "${best[@]}" s3.threshold=14 --grid s2.threshold 7
plain --output runs/search/features --set "${best[@]}" s3.threshold=28 --grid s2.threshold 14
plain --output runs/search/features --set "${best[@]}" --grid s1.threshold 10
plain --output runs/search/features --set "${best[@]}" --grid s5.rule.margin 0.03 0.08
plain --output runs/search/features --set "${best[@]}" --grid s5.rule.ltd 0.02 0.1
# moved copies
slower=(s5.rule.left_out=0.3 s5.rule.decay=0.9 encoder.threshold=20)
moved shift 'copies=8 shift=1' --set "${slower[@]}" --grid s5.out_channels 50 100
moved flip 'copies=8 shift=1 flip' --set "${slower[@]}" s5.out_channels=50
moved moved 'copies=8 shift=1 turn=4 scale=0.05 shear=0.05' --set "${slower[@]}" s5.out_channels=50

"$python" sweep.py --report runs/search/*/*seed0 --output results/search
