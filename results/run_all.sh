#!/usr/bin/env bash
# Trains every network of results/README.md on the full MNIST, one after another, and keeps what each run prints.
#   bash results/run_all.sh [PYTHON]
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python}
TIMEFORMAT='whole command: %R s (%U s of processor time)'

run() { # name of the log, flags
    local log=results/$1.log
    shift
    echo "$ python train.py $*" | tee "$log"
    { time "$python" train.py "$@" --output runs/results; } 2>&1 | tee -a "$log"
    local folder
    folder=$(ls -td runs/results/*/ | head -n 1)
    cp "$folder/results.json" "${log%.log}.json"
}

for seed in 0 1 2; do
    run "mozafari2018-10-epochs-seed$seed" --model mozafari2018 --epochs 2 4 10 --seed "$seed"
    run "majority2024-10-epochs-seed$seed" --model majority2024 --epochs 2 4 10 --seed "$seed"
    run "deepr2024-seed$seed" --model deepr2024 --epochs 2 4 1 12 --seed "$seed"
    run "deepr2024_greedy-seed$seed" --model deepr2024_greedy --epochs 2 4 1 12 --seed "$seed"
    run "deep2024-100-epochs-seed$seed" --model deep2024 --epochs 2 4 4 100 --seed "$seed"
    run "inception2024-100-epochs-seed$seed" --model inception2024 --epochs 2 4 4 100 --seed "$seed"
    run "mozafari2018_margin-seed$seed" --model mozafari2018_margin --seed "$seed"
done
run deep2024-10-epochs --model deep2024 --epochs 2 4 4 10 --tensorboard
run deepr2024-no-warm-up --model deepr2024 --epochs 2 4 0 12
run mozafari2018-100-epochs --model mozafari2018 --epochs 2 4 100
run inception2024 --model inception2024 --epochs 2 4 4 15
for seed in 0 1 2 3 4; do
    run "multiscale2026-seed$seed" --model multiscale2026 --seed "$seed"
done
fashion=(--config results/fashion-mnist.toml)
for seed in 0 1 2; do
    run "multiscale2026-plain-seed$seed" --model multiscale2026 --augment none --epochs 2 4 4 2 30 --seed "$seed"
    run "multiscale2026-fashion-seed$seed" "${fashion[@]}" --seed "$seed"
    run "multiscale2026-fashion-plain-seed$seed" "${fashion[@]}" --augment none --epochs 2 4 4 2 15 \
        --set s5.rule.decay=0.8 --seed "$seed"
    run "mozafari2018-680-epochs-seed$seed" --model mozafari2018 --epochs 2 4 680 --seed "$seed"
done
run majority2024-100-epochs-seed0 --model majority2024 --epochs 2 4 100
