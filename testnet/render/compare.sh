#!/usr/bin/env bash
# Our renderer against the tools that people use, side by side in one run: closest-hit rays against Embree, the Cornell
# box against Mitsuba 3's, and samples per second against Mitsuba, Cycles and LuxCore. The Python packages go into a
# throw-away environment; a peer that cannot be had is skipped. Mitsuba's `llvm` variant wants LLVM 17 or later (Debian:
# libllvm19): the newest that is installed, unless DRJIT_LIBLLVM_PATH names another.
#
# compare.sh [rays|cornell|speed]...   (all three if none is named)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/p2c2r-render.XXXXXX")
trap 'rm -rf "$work"' EXIT
export PYTHONDONTWRITEBYTECODE=1
if [ -z "${DRJIT_LIBLLVM_PATH:-}" ]; then
    # The version is all there is to tell old names (libLLVM-15.so.1) from new ones (libLLVM.so.19.1).
    newest=$(ldconfig -p | grep -oE '/[^ ]*/libLLVM[-.][^ ]+$' |
        sed -E 's|.*/libLLVM(-\|\.so\.)([0-9]+).*|\2 &|' | sort -rn | head -n 1)
    if [ "${newest%% *}" -ge 17 ] 2>/dev/null; then
        export DRJIT_LIBLLVM_PATH="${newest#* }"
    else
        echo "no LLVM 17 or later is installed: Mitsuba's llvm variant cannot run (Debian: apt install libllvm19)" >&2
    fi
fi

cargo build --quiet --locked --release --manifest-path "$root/Cargo.toml" -p p2c2r-node
cargo build --quiet --locked --release --manifest-path "$root/Cargo.toml" -p p2c2r-render --example export_scene
built=${CARGO_TARGET_DIR:-$root/target}/release
node=$built/p2c2r-node
export_scene=$built/examples/export_scene

python3 -m venv "$work/venv"
python=$work/venv/bin/python
"$python" -m pip install --quiet numpy
have() {
    if ! "$python" -m pip install --quiet "$1"; then
        echo "SKIPPED: the Python package $1 cannot be installed here" >&2
        return 1
    fi
}

rays() {
    have embreex || return 0
    for kind in knot city; do
        "$node" scene "$kind" -o "$work/$kind.glb" --triangles 200000
        "$export_scene" "$work/$kind.glb" "$work/$kind"
        echo "$kind:"
        "$python" "$here/embree.py" "$export_scene" "$work/$kind.glb" "$work/$kind"
    done
}

cornell() {
    have mitsuba && have OpenEXR || return 0
    "$python" "$here/mitsuba_cornell.py" "$node" "$export_scene"
}

speed() {
    have OpenEXR || return 0
    peers=()
    if have mitsuba; then peers+=(mitsuba-llvm mitsuba-scalar); fi
    if have bpy; then peers+=(cycles); fi
    if have pyluxcore; then peers+=(luxcore); fi
    "$python" "$here/compare.py" "$node" "$export_scene" "${peers[@]}"
}

if [ $# -eq 0 ]; then set -- rays cornell speed; fi
for part in "$@"; do
    case $part in
    rays | cornell | speed) "$part" ;;
    *) echo "there is no part \`$part\`; choose rays, cornell or speed" >&2 && exit 2 ;;
    esac
done
