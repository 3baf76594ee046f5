#!/usr/bin/env bash
# Trains the networks of results/README.md on the full data sets, one after another, and keeps what each run prints.
#   bash results/run_all.sh [NAME …]     # only the runs whose logs have these names, results/NAME.log
# PYTHON=/path/to/python uses another interpreter. "python" in the logs stands for it.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
names=" $* "
TIMEFORMAT='whole command: %R s (%U s of processor time)'

run() { # name of the log, flags
    local name=$1
    [[ $names == "  " || $names == *" $name "* ]] || return 0
    shift
    echo "$ python train.py $* --output runs/results --name $name" | tee "results/$name.log"
    { time "$python" train.py "$@" --output runs/results --name "$name"; } 2>&1 | tee -a "results/$name.log"
    cp "runs/results/$name/results.json" "results/$name.json"
}

one=(--threads 1)
for seed in 0 1 2; do
    run "mozafari2018-10-epochs-seed$seed" --model mozafari2018 --epochs 2 4 10 --seed "$seed" "${one[@]}"
    run "majority2024-10-epochs-seed$seed" --model majority2024 --epochs 2 4 10 --seed "$seed" "${one[@]}"
    run "deepr2024-seed$seed" --model deepr2024 --epochs 2 4 1 12 --seed "$seed" "${one[@]}"
    run "deepr2024_greedy-seed$seed" --model deepr2024_greedy --epochs 2 4 1 12 --seed "$seed" "${one[@]}"
    run "deep2024-100-epochs-seed$seed" --model deep2024 --epochs 2 4 4 100 --seed "$seed" "${one[@]}"
    run "inception2024-100-epochs-seed$seed" --model inception2024 --epochs 2 4 4 100 --seed "$seed" "${one[@]}"
    run "mozafari2018_margin-seed$seed" --model mozafari2018_margin --seed "$seed" "${one[@]}"
done
run deepr2024-no-warm-up --model deepr2024 --epochs 2 4 0 12 "${one[@]}"
run mozafari2018-100-epochs --model mozafari2018 --epochs 2 4 100 "${one[@]}"
run inception2024 --model inception2024 --epochs 2 4 4 15 "${one[@]}"
# without moved copies, the validation images chose other settings
plain=(--augment none --epochs 2 4 4 2 30
    --set s4.threshold=20 s5.rule.left_out=0.3 s5.rule.margin=0.03 s5.rule.decay=0.93)
for seed in 0 1 2 3 4; do
    run "multiscale2026-seed$seed" --model multiscale2026 --seed "$seed" "${one[@]}"
    run "multiscale2026-plain-seed$seed" --model multiscale2026 "${plain[@]}" --seed "$seed" "${one[@]}"
done
for seed in 0 1 2; do
    run "mozafari2018-680-epochs-seed$seed" --model mozafari2018 --epochs 2 4 680 --seed "$seed" "${one[@]}"
done
fashion=(--config results/fashion-mnist.toml "${one[@]}")
for seed in 0 1 2 3 4; do
    run "multiscale2026-fashion-seed$seed" "${fashion[@]}" --seed "$seed"
    run "multiscale2026-fashion-plain-seed$seed" "${fashion[@]}" --augment none --epochs 2 4 4 2 20 \
        --set s5.rule.decay=0.85 --seed "$seed"
done
run majority2024-100-epochs-seed0 --model majority2024 --epochs 2 4 100 "${one[@]}"

# The README's first command, word for word, and what it prints.
name=deep2024-10-epochs
if [[ $names == "  " || $names == *" $name "* ]]; then
    command=(train.py --model deep2024 --epochs 2 4 4 10 --tensorboard)
    echo "$ python ${command[*]}" | tee "results/$name.log"
    { time "$python" "${command[@]}"; } 2>&1 | tee -a "results/$name.log"
    cp "$(ls -td runs/deep2024-mnist-seed0-*/ | head -n 1)results.json" "results/$name.json"
fi
