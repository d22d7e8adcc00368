#!/usr/bin/env bash
# What dispatching costs, side by side in one run: p2c2r, Ray and Dask, each with four workers on this machine and
# results of 48 KiB. The Python packages go into a throw-away environment.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/p2c2r-dispatch.XXXXXX")
trap 'rm -rf "$work"' EXIT

cargo build --quiet --locked --release --manifest-path "$root/Cargo.toml" -p p2c2r-node
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "ray==2.*" "dask[distributed]" numpy

for round in 1 2 3; do
    echo "round $round"
    "${CARGO_TARGET_DIR:-$root/target}/release/p2c2r-node" bench schedule --contributors 4 --tiles 1024
    for system in ray dask; do
        "$work/venv/bin/python" "$here/workers.py" "$system"
    done
done
