#!/usr/bin/env bash
# Three networks with three seeds each on two cores: the runs of one sweep, and the same runs one after another with
# two threads each. Prints the seconds of both, and whether each run ended equal.
#   bash results/sweep.sh [PYTHON]
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python}
networks=(mozafari2018 mozafari2018_margin majority2024)
seeds=(0 1 2)
flags=(--epochs 2 4 10 --ratio 0.3 --no-figures)
together=runs/together alone=runs/alone
TIMEFORMAT='%R s (%U s of processor time)'

timed() { # what it is, command
    echo "$1: $(uptime | sed 's/.*load/load/')"
    shift
    time "$@" > /dev/null
}

one_after_another() {
    for network in "${networks[@]}"; do
        for seed in "${seeds[@]}"; do
            "$python" train.py --model "$network" --seed "$seed" "${flags[@]}" --threads 2 --output $alone \
                --name "$network-mnist-seed$seed"
        done
    done
}

timed 'sweep' "$python" sweep.py --model "${networks[@]}" --seeds "${seeds[@]}" "${flags[@]}" --output $together
timed 'one after another' one_after_another
"$python" sweep.py --report $together --output results/sweep > /dev/null
for run in $alone/*/; do
    cmp "$run/predictions.csv" "$together/$(basename "$run")/predictions.csv" && echo "$(basename "$run"): equal"
done
