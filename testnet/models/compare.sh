#!/usr/bin/env bash
# The scheduler's model of times against scikit-learn, LightGBM and XGBoost with their default settings, on one trace.
# The Python packages go into a throw-away environment.
#
# compare.sh [seed]...   (seed 1 if none is named)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/p2c2r-models.XXXXXX")
trap 'rm -rf "$work"' EXIT
export PYTHONDONTWRITEBYTECODE=1

cargo build --quiet --locked --release --manifest-path "$root/Cargo.toml" -p p2c2r-scheduler --example replay_trace
replay=${CARGO_TARGET_DIR:-$root/target}/release/examples/replay_trace

python=${P2C2R_PYTHON:-$work/venv/bin/python}
if [ -z "${P2C2R_PYTHON:-}" ]; then
    python3 -m venv "$work/venv"
    "$python" -m pip install --quiet numpy scikit-learn lightgbm xgboost-cpu
fi
for seed in "${@:-1}"; do
    echo "seed $seed:"
    "$python" "$here/trace.py" "$work/trace.csv" "$seed"
    "$replay" "$work/trace.csv" "$work/ours.csv"
    "$replay" "$work/trace.csv" "$work/ema.csv" ema
    "$python" "$here/compare.py" "$work/trace.csv" "$work/ours.csv" "$work/ema.csv"
done
