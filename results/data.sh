#!/usr/bin/env bash
# Trains networks on real recordings, on photographs and on small digits, one after another, and keeps what each run
# prints, and its scores, in results/data/.
#   bash results/data.sh FOLDER [NAME …]     # only the runs with these names
# FOLDER contains N-MNIST's recordings as nmnist/CLASS/*.bin, Caltech's faces and motorbikes as faces/CLASS/*.jpg, and
# CIFAR-10 as cifar/train/CLASS/*.jpg and cifar/test/CLASS/*.jpg (results/README.md, "Other data"). PYTHON=/path/to/python uses another interpreter. "python" in the logs stands for it.
# A run that is finished is not repeated, and one that was interrupted is resumed.
set -euo pipefail
folder=$(realpath "${1:?name the folder of the data}")
shift
names=" $* "
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
commit=$(git rev-parse HEAD)
runs=runs/data
TIMEFORMAT='whole command: %R s (%U s of processor time)'
mkdir -p results/data "$runs"
for source in nmnist faces; do
    if [[ -d $folder/$source ]]; then
        "$python" -m results.folds "$folder/$source" "$runs/folds/$source"
    fi
done

run() { # name of the run, flags
    local name=$1 log=results/data/$1.log
    [[ $names == "  " || $names == *" $name "* ]] || return 0
    shift
    [[ -e results/data/$name.json ]] && return 0
    local command=(train.py "$@" --threads 1 --no-figures --output "$runs" --name "$name")
    if [[ -d $runs/$name ]]; then
        command=(train.py --resume "$runs/$name")
    else
        rm -f "$log"
    fi
    {
        echo "$ python ${command[*]}"
        echo "# commit $commit, load average $(uptime | sed 's/.*average[s]*: //')"
        time "$python" "${command[@]}"
    } 2>&1 | tee -a "$log"
    cp "$runs/$name/results.json" "results/data/$name.json"
}

adaptive=(s1.rule.target=0.75 s1.rule.positions=0.05 s2.threshold=2 s2.rule.target=0.5 s2.rule.positions=0.05)
all_scales=("${adaptive[@]}" s3.threshold=2 s3.rule.target=0.5 s3.rule.positions=0.05
    s4.rule.target=0.75 s4.rule.positions=0.05)
for fold in 0 1 2 3 4; do
    recordings=(--dataset "events:$runs/folds/nmnist/$fold" --val-split 0)
    run "nmnist-mozafari2018-$fold" --model mozafari2018 "${recordings[@]}" --epochs 12 24 60
    run "nmnist-mozafari2018-adaptive-$fold" --model mozafari2018 "${recordings[@]}" --epochs 12 24 60 \
        --set "${adaptive[@]}"
    run "nmnist-mozafari2018-adaptive-margin-$fold" --model mozafari2018 "${recordings[@]}" --epochs 12 24 60 \
        --set "${adaptive[@]}" s3.rule=margin
    run "nmnist-multiscale2026-$fold" --model multiscale2026 "${recordings[@]}" --epochs 12 12 12 8 30
    run "nmnist-multiscale2026-adaptive-$fold" --model multiscale2026 "${recordings[@]}" --epochs 12 24 24 12 30 \
        --set "${all_scales[@]}"
    photographs=(--dataset "folder:$runs/folds/faces/$fold" --val-split 0 --image-size 28 28 --readout svm)
    run "faces-mozafari2018-$fold" --model mozafari2018 "${photographs[@]}" --epochs 20 20 30
    run "faces-mozafari2018-adaptive-$fold" --model mozafari2018 "${photographs[@]}" --epochs 20 20 30 \
        --set "${adaptive[@]}"
    run "faces-multiscale2026-$fold" --model multiscale2026 "${photographs[@]}" --augment none --epochs 20 20 20 20 30
    run "faces-mozafari2018-adaptive-margin-$fold" --model mozafari2018 "${photographs[@]}" --epochs 20 20 30 \
        --set "${adaptive[@]}" s3.rule=margin
done
for seed in 0 1 2 3 4; do
    digits=(--dataset digits --encoder intensity --epochs 8 12 40 --seed "$seed")
    run "digits-mozafari2018-$seed" --model mozafari2018 "${digits[@]}"
    run "digits-mozafari2018-adaptive-$seed" --model mozafari2018 "${digits[@]}" --set "${adaptive[@]}"
done
ln -sfn "$folder/cifar" "$runs/cifar"
for seed in 0 1 2; do
    colour=(--model colour2026 --dataset "folder:$runs/cifar" --val-split 5000 --seed "$seed")
    run "cifar-colour2026-$seed" "${colour[@]}"
    run "cifar-colour2026-plain-$seed" "${colour[@]}" --augment none
done
