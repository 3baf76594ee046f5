#!/usr/bin/env bash
# Trains mozafari2018 on simulated events, on the same digits as pictures, and on shuffled labels, one after another, and
# keeps what each run prints in results/events/.
#   bash results/events.sh [NAME …]     # only the runs with these names
# PYTHON=/path/to/python uses another interpreter. "python" in the logs stands for it.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
names=" $* "
mkdir -p results/events
digits=(runs/simulated-events --pictures runs/same-digits.npz --shuffled runs/shuffled-labels)
if [[ ! -e runs/simulated-events ]]; then
    echo "$ python -m results.saccades ${digits[*]}" | tee results/events/saccades.log
    "$python" -m results.saccades "${digits[@]}" | tee -a results/events/saccades.log
fi

run() { # name of the log, flags
    local name=$1
    [[ $names == "  " || $names == *" $name "* ]] || return 0
    shift
    local flags=(--model mozafari2018 "$@" --epochs 2 4 20 --threads 1)
    echo "$ python train.py ${flags[*]}" | tee "results/events/$name.log"
    "$python" train.py "${flags[@]}" --output runs/events --name "$name" 2>&1 | tee -a "results/events/$name.log"
}

events=(--dataset events:runs/simulated-events)
shuffled=(--dataset events:runs/shuffled-labels)
count=(--set encoder.window=0,100 s1.threshold=12 s2.threshold=6)
first=(--set encoder.mode=first encoder.window=0,30 s1.threshold=12 s2.threshold=6)
for seed in 0 1 2; do
    run "pictures-seed$seed" --dataset runs/same-digits.npz --seed "$seed"
    run "count-seed$seed" "${events[@]}" "${count[@]}" --seed "$seed"
    run "first-seed$seed" "${events[@]}" "${first[@]}" --seed "$seed"
done
run shuffled-count-seed0 "${shuffled[@]}" "${count[@]}" --seed 0
run shuffled-first-seed0 "${shuffled[@]}" "${first[@]}" --seed 0
