#!/usr/bin/env bash
# Trains networks on photographs and on small digits, one after another, and keeps what each run prints, and its scores.
#   bash results/scripts/data.sh [NAME …]     # only the runs whose logs have these names, results/runs/data/NAME.log
# runs/data, a folder or a link to one, contains Caltech's faces and
# motorbikes as faces/CLASS/*.jpg, CIFAR-10 as cifar/train/CLASS/*.jpg and cifar/test/CLASS/*.jpg, USPS as usps.npz, and
# 8,000 of KMNIST's test images as kmnist.npz, without a test part (results/README.md, "Other data").
source "$(dirname "$0")/record.sh"
names=" $* "
logs=${LOGS:-results/runs/data}
for source in faces kmnist.npz; do
    if [[ -z ${LIST:-} && -e runs/data/$source ]]; then
        "$python" -m results.scripts.folds "runs/data/$source" "runs/data/folds/$source"
    fi
done

# the network without features; its other runs learn from the same augmented images as multiscale2026
alone=(--model control2026 --augment none --epochs 25 --set s1.rule.decay=0.85)
for fold in 0 1 2 3 4; do
    photographs=(--dataset "folder:runs/data/folds/faces/$fold" --val-split 0 --image-size 28 28)
    run "faces-mozafari2018-$fold" --model mozafari2018 "${photographs[@]}" --epochs 20 20 30
    run "faces-multiscale2026-$fold" --model multiscale2026 "${photographs[@]}" --augment none --epochs 20 20 20 20 30
    run "faces-control2026-$fold" "${alone[@]}" --dataset "folder:runs/data/folds/faces/$fold" --val-split 0 \
        --image-size 28 28
done
for seed in 0 1 2 3 4; do
    run "digits-mozafari2018-s1c1-$seed" --model mozafari2018 --dataset digits --epochs 8 12 40 --seed "$seed"
    digits=(--dataset digits --encoder intensity --epochs 8 12 40 --seed "$seed")
    run "digits-control2026-$seed" "${alone[@]}" --dataset digits --seed "$seed"
    run "digits-mozafari2018-$seed" --model mozafari2018 "${digits[@]}"
done
for fold in 0 1 2 3 4; do
    kana=(--dataset "runs/data/folds/kmnist.npz/$fold.npz" --val-split 0)
    run "kmnist-control2026-$fold" --model control2026 "${kana[@]}"
    run "kmnist-control2026-plain-$fold" "${alone[@]}" "${kana[@]}"
    run "kmnist-multiscale2026-$fold" --model multiscale2026 "${kana[@]}" --epochs 4 8 8 4 55
done
for seed in 0 1 2; do
    usps=(--dataset runs/data/usps.npz --image-size 28 28 --seed "$seed")
    run "usps-control2026-$seed" --model control2026 "${usps[@]}"
    run "usps-control2026-plain-$seed" "${alone[@]}" "${usps[@]}"
    run "usps-multiscale2026-$seed" --model multiscale2026 "${usps[@]}" --epochs 4 8 8 4 55
    colour=(--dataset folder:runs/data/cifar --val-split 5000 --seed "$seed")
    run "cifar-control2026-$seed" --model control2026 "${colour[@]}" --encoder whitening --epochs 24 \
        --augment copies=1 flip --set s1.rule.decay=0.9
    run "cifar-control2026-plain-$seed" "${alone[@]}" "${colour[@]}" --encoder whitening
    run "cifar-colour2026-counts-$seed" --model colour2026_counts "${colour[@]}"
done
