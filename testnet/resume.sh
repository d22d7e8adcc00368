#!/usr/bin/env bash
# Kills the coordinator of an animation with SIGKILL in its middle, goes on with --resume, and checks every picture.
set -euo pipefail

usage() {
    cat <<'HELP'
usage: testnet/resume.sh [NODES] [FRAMES] [-- render arguments]

Starts NODES (default 4) nodes on loopback and renders FRAMES (default 48) frames of a drive through the built-in city,
whole frames at different nodes. When a third of the pictures are there, the coordinator is killed with SIGKILL, started
again, and told to --resume. No picture that was finished may be touched again, and all must be those that one machine
makes. Stops every process that it started.
HELP
}

nodes=4 frames=48
[ "${1:-}" = -h ] || [ "${1:-}" = --help ] && { usage; exit 0; }
case "${1:-}" in [0-9]*) nodes=$1; shift ;; esac
case "${1:-}" in [0-9]*) frames=$1; shift ;; esac
[ "${1:-}" = -- ] && shift
case "$nodes$frames" in *[!0-9]*) echo "error: NODES and FRAMES are numbers" >&2; exit 2 ;; esac
[ $# -gt 0 ] || set -- --size 320x180 --spp 8

root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/testnet/processes.sh"
echo "building"
cargo build --quiet --release --locked --manifest-path "$root/Cargo.toml" -p p2c2r-node
node="${CARGO_TARGET_DIR:-$root/target}/release/p2c2r-node"
work=$(mktemp -d "${TMPDIR:-/tmp}/p2c2r-resume.XXXXXX")
stop_all() {
    local status=$?
    trap - EXIT INT TERM
    end_all 10
    rm -rf "$work"
    exit "$status"
}
trap stop_all EXIT
trap 'exit 130' INT TERM

start_node() { # index, run arguments...
    local index=$1
    shift
    "$node" run --data-dir "$work/node-$index" --no-mdns --backend cpu --threads 1 --listen /ip4/127.0.0.1/tcp/0 "$@" \
        >"$work/node-$index.log" 2>&1 </dev/null &
    pids[index]=$!
    disown
}
has_ticket() { ticket=$("$node" ticket --data-dir "$work/node-0" 2>/dev/null); }
knows_all() { [ "$("$node" peers --json --data-dir "$work/node-0" 2>/dev/null | grep -o '"contributing":true' | wc -l)" -ge $((nodes - 1)) ]; }
pictures() { find "$work" -maxdepth 1 -name 'swarm.*.png' | wc -l; }
third_is_there() { [ "$(pictures)" -ge $((frames / 3)) ]; }

start_node 0
wait_until 60 "the first node's ticket" has_ticket
for ((index = 1; index < nodes; index++)); do start_node "$index" --join "$ticket"; done
wait_until 60 "the swarm of $nodes" knows_all
"$node" scene city -o "$work/drive.glb" --drive 4 --quiet
render=("$node" render "$work/drive.glb" -o "$work/swarm.png" --data-dir "$work/node-0" --quiet
    --frames "0..=$((frames - 1))" --fps 24 --split temporal --wait-peers $((nodes - 1)) --json "$@")

echo "rendering $frames frames on $nodes nodes"
"${render[@]}" >"$work/first.json" 2>"$work/first.err" &
submitter=$!
wait_until 60 "a third of the pictures" third_is_there
kill -KILL "${pids[0]}"
wait "$submitter" 2>/dev/null || true
before=$(pictures)
[ "$before" -lt "$frames" ] || { echo "error: all was done before the coordinator was killed" >&2; exit 1; }
(cd "$work" && find . -maxdepth 1 -name 'swarm.*.png' -printf '%f %T@\n' | sort) >"$work/before"
told=$(wc -l <"$work/first.json")
echo "killed the coordinator (SIGKILL) with $before pictures on disk, $told of them reported"

# Its listening port is another one now; the others are told.
start_node 0 --join "$("$node" ticket --data-dir "$work/node-1")"
wait_until 60 "the swarm again" knows_all
"${render[@]}" --resume >"$work/second.json"
again=$(wc -l <"$work/second.json")
(cd "$work" && find . -maxdepth 1 -name 'swarm.*.png' -printf '%f %T@\n' | sort) >"$work/after"
untouched=$(comm -12 "$work/before" "$work/after" | wc -l)
echo "resumed: $again frames rendered, $((frames - again)) kept, $untouched files untouched"
[ "$(pictures)" -eq "$frames" ] || { echo "error: pictures are missing" >&2; exit 1; }
[ "$untouched" -eq $((frames - again)) ] || { echo "error: a kept picture was written again" >&2; exit 1; }
[ $((frames - again)) -ge "$told" ] || { echo "error: a finished frame was rendered twice" >&2; exit 1; }

echo "rendering all frames on one machine alone"
"$node" render "$work/drive.glb" -o "$work/local.png" --local --backend cpu --quiet \
    --frames "0..=$((frames - 1))" --fps 24 "$@"
same=0
for ((frame = 0; frame < frames; frame++)); do
    name=$(printf '%04d' "$frame")
    if cmp -s "$work/swarm.$name.png" "$work/local.$name.png"; then same=$((same + 1)); fi
done
echo "identical to local: $same of $frames"
[ "$same" -eq "$frames" ]
