#!/usr/bin/env bash
# Trains mozafari2018 on simulated events, on the same digits as pictures, and on shuffled labels, one after another, and
# keeps what each run prints.
#   bash results/scripts/events.sh [NAME …]     # only the runs whose logs have these names, results/runs/events/NAME.log
source "$(dirname "$0")/record.sh"
names=" $* "
logs=${LOGS:-results/runs/events}
digits=(runs/simulated-events --pictures runs/same-digits.npz --shuffled runs/shuffled-labels)
if [[ -z ${LIST:-} && ! -e runs/simulated-events ]]; then
    echo "$ python -m results.scripts.saccades ${digits[*]}" | tee results/logs/saccades.log
    "$python" -m results.scripts.saccades "${digits[@]}" | tee -a results/logs/saccades.log
fi

events=(--model mozafari2018 --epochs 2 4 20 --dataset events:runs/simulated-events)
pictures=(--model mozafari2018 --epochs 2 4 20 --dataset runs/same-digits.npz)
shuffled=(--model mozafari2018 --epochs 2 4 20 --dataset events:runs/shuffled-labels)
count=(--set encoder.window=0,100 s1.threshold=12 s2.threshold=6)
first=(--set encoder.mode=first encoder.window=0,30 s1.threshold=12 s2.threshold=6)
for seed in 0 1 2; do
    run "pictures-seed$seed" "${pictures[@]}" --seed "$seed"
    run "count-seed$seed" "${events[@]}" "${count[@]}" --seed "$seed"
    run "first-seed$seed" "${events[@]}" "${first[@]}" --seed "$seed"
done
run shuffled-count-seed0 "${shuffled[@]}" "${count[@]}" --seed 0
run shuffled-first-seed0 "${shuffled[@]}" "${first[@]}" --seed 0
