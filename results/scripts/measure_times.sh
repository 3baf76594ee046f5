#!/usr/bin/env bash
# Measures how long runs of results/README.md take with the code as it is, one after another, on a machine without other
# work. Each log, results/times/NAME.log, has the command, commit, processor, load, output and times. Afterwards, "python
# results/scripts/collect.py" writes the times into the tables.
#   bash results/scripts/measure_times.sh [NAME …]     # without names, the runs below
# A run that is finished is not measured again until its folder below runs/results/times/ is removed.
set -euo pipefail
cd "$(dirname "$0")/../.."
export LOGS=results/times
if [[ $# == 0 ]]; then
    set -- deep2024-10-epochs {mozafari2018,deep2024,inception2024,majority2024}-10-epochs-seed0 deepr2024-seed0 \
        deepr2024_greedy-4-epochs-seed0 {deep2024,inception2024,majority2024}-100-epochs-seed0 kheradpisheh2018-seed0 \
        mozafari2018_margin-seed0 {control2026,multiscale2026}{-plain,}-seed0 mozafari2018-680-epochs-seed0
fi
git diff --quiet HEAD -- . ':!results' || echo "the working tree differs from the commit, so the logs will say so" >&2
for name in "$@"; do
    script=run_all.sh
    [[ $name != cifar-* ]] || script=data.sh
    bash "results/scripts/$script" "$name"
done
