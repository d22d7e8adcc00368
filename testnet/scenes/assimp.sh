#!/usr/bin/env bash
# Tries every glTF file of Debian's assimp-testmodels: each is looked at and rendered, or refused with a reason.
set -euo pipefail

usage() {
    cat <<'HELP'
usage: testnet/scenes/assimp.sh [options]

Fetches Debian's package assimp-testmodels, and runs `scene info` and a tiny render on every file of its glTF and
glTF2 folders. Prints one line for each file: `renders`, with the number of triangles and warnings, or `refused`, with
the reason. Fails if a file makes the program panic, hang or give up without naming what is wrong.

  --models DIR    use the models that are already unpacked in DIR
  --node FILE     use this p2c2r-node instead of building one
  --warnings      print the warnings of files that render
  -h, --help      this text
HELP
}

readonly limit_s=60
models="" node="" warnings=false
while [ $# -gt 0 ]; do
    case "$1" in
        --models) models="${2:?--models needs a folder}"; shift ;;
        --node) node="${2:?--node needs a file}"; shift ;;
        --warnings) warnings=true ;;
        -h | --help) usage; exit 0 ;;
        *) echo "error: unknown argument $1" >&2; usage >&2; exit 2 ;;
    esac
    shift
done

root=$(cd "$(dirname "$0")/../.." && pwd)
if [ -z "$node" ]; then
    cargo build --quiet --locked --manifest-path "$root/Cargo.toml" -p p2c2r-node
    node="${CARGO_TARGET_DIR:-$root/target}/debug/p2c2r-node"
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/p2c2r-assimp.XXXXXX")
trap 'rm -rf "$work"' EXIT
if [ -z "$models" ]; then
    models="$work/models"
    # apt leaves the package in the current directory.
    if ! (cd "$work" && apt-get download -qq assimp-testmodels 2>"$work/apt.log" && dpkg -x assimp-testmodels_*.deb models); then
        echo "SKIPPED: assimp-testmodels cannot be had here:" >&2
        tail -n 3 "$work/apt.log" >&2
        exit 0
    fi
fi

# What a run of the program came to: its exit status, or a word for what must not happen.
judge() {
    local status=$1 log=$2
    if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then echo hangs
    elif grep -q "panicked at" "$log"; then echo panics
    elif [ "$status" -gt 2 ]; then echo "ends with status $status"
    # A reason is one line that goes on after the program's own words and the file's name.
    elif [ "$status" -ne 0 ] && ! grep -qE "^error: .{20,}" "$log"; then echo "gives no reason"
    elif [ "$status" -ne 0 ]; then echo refused
    else echo fine
    fi
}

renders=0 refused=0 broken=0
while IFS= read -r -d '' file; do
    name="${file#"$models"/}"
    name="${name#*/models/}"
    info="$work/info.json" log="$work/log"
    status=0
    timeout -k 5 "$limit_s" "$node" scene info "$file" --json >"$info" 2>"$log" </dev/null || status=$?
    verdict=$(judge "$status" "$log")
    if [ "$verdict" = fine ]; then
        status=0
        timeout -k 5 "$limit_s" "$node" render "$file" -o "$work/out.png" --force --local --backend cpu \
            --size 16x9 --spp 1 >/dev/null 2>"$log" </dev/null || status=$?
        verdict=$(judge "$status" "$log")
        [ "$verdict" != refused ] || verdict="loads and does not render"
    fi
    case "$verdict" in
        fine)
            renders=$((renders + 1))
            triangles=$(grep -o '"placed_triangles":[0-9]*' "$info" | grep -o '[0-9]*$')
            echo "renders  $name ($triangles triangles)"
            if $warnings; then sed -n 's/^warning: /         /p' "$log"; fi
            ;;
        refused)
            refused=$((refused + 1))
            echo "refused  $name: $(sed -n 's/^error: //p' "$log" | sed "s|scene $file: ||" | head -n 1)"
            ;;
        *)
            broken=$((broken + 1))
            echo "BROKEN   $name: $verdict: $(tail -n 1 "$log")"
            ;;
    esac
done < <(find "$models" \( -path '*/glTF/*' -o -path '*/glTF2/*' \) -type f \
    \( -iname '*.gltf' -o -iname '*.glb' \) -print0 | sort -z)

echo "$renders render, $refused are refused, $broken are broken"
[ $((renders + refused)) -gt 0 ] || { echo "error: there is no glTF file in $models" >&2; exit 1; }
[ "$broken" -eq 0 ]
