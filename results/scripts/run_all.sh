#!/usr/bin/env bash
# Trains the networks of results/README.md on the full data sets, one after another, and keeps what each run prints.
#   bash results/scripts/run_all.sh [NAME …]     # only the runs whose logs have these names, results/runs/NAME.log
# The commands of older logs may lack --output, --name and --threads 1, those of the six logs "…-constant-…" also
# s3.rule.warm_up.double_every=0, because rates did not double in the warm-up then. A git_commit that ends in "-changed"
# names a working tree with changes, among them the log that was being written.
source "$(dirname "$0")/record.sh"
names=" $* "
logs=${LOGS:-results/runs}

for seed in 0 1 2; do
    seeded=(--seed "$seed")
    run "mozafari2018-680-epochs-seed$seed" --model mozafari2018 --epochs 2 4 680 "${seeded[@]}"
    for epochs in 10 100; do
        run "mozafari2018-$epochs-epochs-seed$seed" --model mozafari2018 --epochs 2 4 "$epochs" "${seeded[@]}"
        run "majority2024-$epochs-epochs-seed$seed" --model majority2024 --epochs 2 4 "$epochs" "${seeded[@]}"
        run "deep2024-$epochs-epochs-seed$seed" --model deep2024 --epochs 2 4 4 "$epochs" "${seeded[@]}"
        run "inception2024-$epochs-epochs-seed$seed" --model inception2024 --epochs 2 4 4 "$epochs" "${seeded[@]}"
    done
    for model in deepr2024 deepr2024_greedy; do
        constant=(--set s3.rule.warm_up.double_every=0)
        run "$model-seed$seed" --model "$model" --epochs 2 4 1 12 "${seeded[@]}"
        run "$model-4-epochs-seed$seed" --model "$model" --epochs 2 4 4 12 "${seeded[@]}"
        run "$model-constant-seed$seed" --model "$model" --epochs 2 4 1 12 "${constant[@]}" "${seeded[@]}"
    done
    run "kheradpisheh2018-seed$seed" --model kheradpisheh2018 "${seeded[@]}"
    run "mozafari2018_margin-seed$seed" --model mozafari2018_margin "${seeded[@]}"
    run "quick2026-seed$seed" --model quick2026 "${seeded[@]}"
done
# all 60,000 images, as the script and the paper
run mozafari2018-680-epochs-60000-images --model mozafari2018 --epochs 2 4 680 --val-split 0
run deepr2024-no-warm-up --model deepr2024 --epochs 2 4 0 12
# without augmentation, the validation images chose other settings
plain=(--augment none --epochs 2 4 4 2 30
    --set s4.threshold=20 s5.rule.left_out=0.3 s5.rule.margin=0.03 s5.rule.decay=0.93)
fashion=(--config results/fashion-mnist.toml)
for seed in 0 1 2 3 4; do
    run "multiscale2026-seed$seed" --model multiscale2026 --seed "$seed"
    run "multiscale2026-plain-seed$seed" --model multiscale2026 "${plain[@]}" --seed "$seed"
    run "multiscale2026-fashion-seed$seed" "${fashion[@]}" --seed "$seed"
    run "multiscale2026-fashion-plain-seed$seed" "${fashion[@]}" --augment none --epochs 2 4 4 2 20 \
        --set s5.rule.decay=0.85 --seed "$seed"
done

# the network without features, with augmentation and without
alone=(--model control2026 --augment none --epochs 25 --set s1.rule.decay=0.85)
for seed in 0 1 2; do
    run "control2026-seed$seed" --model control2026 --seed "$seed"
    run "control2026-plain-seed$seed" "${alone[@]}" --seed "$seed"
    run "control2026-fashion-seed$seed" --model control2026 --dataset fashion-mnist --epochs 40 \
        --augment copies=4 shift=1 --set encoder.threshold=20 s1.rule.decay=0.93 --seed "$seed"
    run "control2026-fashion-plain-seed$seed" "${alone[@]}" encoder.threshold=20 --dataset fashion-mnist --seed "$seed"
done

for seed in 3 4; do
    run "mozafari2018-10-epochs-seed$seed" --model mozafari2018 --epochs 2 4 10 --seed "$seed"
done

# A command of the README's section "Commands", word for word, and what it prints.
name=deep2024-10-epochs
if is_chosen $name; then
    rm -f "$logs/$name.log"
    record "$logs/$name.log" --model deep2024 --epochs 2 4 4 10 --tensorboard
    cp "$(ls -td runs/deep2024-mnist-seed0-*/ | head -n 1)results.json" "$logs/$name.json"
fi
