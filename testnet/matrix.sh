#!/usr/bin/env bash
# One frame over lines of every kind: all combinations of delay, jitter, loss and rate.
set -euo pipefail

usage() {
    cat <<'HELP'
usage: testnet/matrix.sh [options] [-- render arguments]

For each combination of delay, jitter, loss and rate: starts five nodes in network namespaces whose lines are like that
(testnet/netns.sh), has one of them render a frame twice with the four others, the first time with the scene to be sent to them,
and compares both pictures with that of a single machine. Prints a table, and ends with 1 if a combination failed. The bound is
the larger of what the processors need and what the pixels need on lines of that rate, with a round trip.

The line of the node that renders is good, so that the way between it and each other node is as the row says.

  --delays "MS..."   default "5 50 150", each way
  --jitters "MS..."  default "0 20"
  --losses "%..."    default "0 1 5"
  --rates "MBIT..."  default "10 100 1000"
  --both-ends        the line of the node that renders is as bad as the others': two bad lines behind each other
  --built            use what is built already, with `cargo build --release --workspace`
  -h, --help         this text

Without render arguments: --size 960x540 --spp 8
HELP
}

delays="5 50 150" jitters="0 20" losses="0 1 5" rates="10 100 1000" owner=(--good-owner) built=false
while [ $# -gt 0 ]; do
    case "$1" in
        --delays) delays="${2:?--delays needs numbers}"; shift ;;
        --jitters) jitters="${2:?--jitters needs numbers}"; shift ;;
        --losses) losses="${2:?--losses needs numbers}"; shift ;;
        --rates) rates="${2:?--rates needs numbers}"; shift ;;
        --both-ends) owner=() ;;
        --built) built=true ;;
        -h | --help) usage; exit 0 ;;
        --) shift; break ;;
        *) echo "error: unknown argument $1" >&2; usage >&2; exit 2 ;;
    esac
    shift
done
[ $# -gt 0 ] || set -- --size 960x540 --spp 8

root=$(cd "$(dirname "$0")/.." && pwd)
$built || cargo build --quiet --release --locked --manifest-path "$root/Cargo.toml" --workspace --bins
node="${CARGO_TARGET_DIR:-$root/target}/release/p2c2r-node"
work=$(mktemp -d "${TMPDIR:-/tmp}/p2c2r-matrix.XXXXXX")
trap 'rm -rf "$work"' EXIT
"$node" scene city -o "$work/city.glb" --quiet
"$node" render "$work/city.glb" -o "$work/local.png" --data-dir "$work/nobody" --report "$work/local.json" --quiet --local "$@"

# Numbers of a line of netns.sh, by the words before them.
number() { sed -n "s/.*$1 *\([0-9][0-9.]*\).*/\1/p" "$work/out" | head -n 1; }
failed=0
echo "| delay, ms | jitter, ms | loss, % | rate, Mbit/s | formed, s | scene at all four, s | first frame, s | frame, s | x bound |"
echo "|-|-|-|-|-|-|-|-|-|"
for rate in $rates; do
    for loss in $losses; do
        for delay in $delays; do
            for jitter in $jitters; do
                line="delay $delay jitter $jitter loss $loss rate $rate"
                if "$root/testnet/netns.sh" 5 --built "${owner[@]}" --line "$line" --scene "$work/city.glb" \
                    --local "$work/local.json" -- "$@" >"$work/out" 2>"$work/err"; then
                    grep -q SKIPPED "$work/err" && { cat "$work/err" >&2; exit 0; }
                    awk -v row="| $delay | $jitter | $loss | $rate |" -v delay="$delay" -v rate="$rate" \
                        -v formed="$(number 'is formed (')" -v scene="$(number 'all others after')" -v first="$(number 'ms, then')" \
                        -v frame="$(number 'frame:')" -v ratio="$(number 'ms,')" -v bytes="$(number 'peers lost,')" 'BEGIN {
                            # What four lines of that rate take for the pixels, and one way there and back.
                            line = bytes * 8 / 4 / (rate * 1e3) + 2 * delay
                            bound = frame / ratio; if (line > bound) bound = line
                            printf "%s %.1f | %.1f | %.1f | %.1f | %.2f |\n",
                                row, formed / 1e3, scene / 1e3, first / 1e3, frame / 1e3, frame / bound }'
                else
                    failed=1
                    echo "| $delay | $jitter | $loss | $rate | failed: $(tail -n 1 "$work/err") |"
                fi
            done
        done
    done
done
exit "$failed"
