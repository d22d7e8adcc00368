#!/usr/bin/env bash
# Renders a frame on a swarm of real nodes on this machine, and checks it against the same frame rendered alone.
set -euo pipefail

usage() {
    cat <<'HELP'
usage: testnet/local.sh [NODES] [options] [-- render arguments]

Starts NODES (default 4) p2c2r nodes on loopback. They know nothing but the first one's ticket, find each other
through Kademlia, and render one frame together. Prints who rendered what, and whether the picture is identical to
the one that a single machine makes. Stops every process that it started.

  --backend B     what renders on the nodes: cpu, gpu or auto; given several times, the nodes take turns
  --throttle F    slow a node down by this factor (1: not at all); given several times, the nodes take turns
  --throttle-hidden   throttled nodes announce the speed that they would have without
  --stop-one N    stop (SIGSTOP) one contributor in the middle of frame N, and let it go on after the frame
  --kill-one      kill -9 one contributor in the middle of the frame
  --frames N      render the frame N times (the scene travels only once)
  --scene FILE    a .glb or .gltf file instead of the built-in city
  --debug         use the debug build
  -h, --help      this text

example: testnet/local.sh 4 -- --size 960x540 --spp 16
HELP
}

nodes=4 kill_one=false hidden=false stop_in=0 frames=1 scene="" profile=release
backends=() throttles=()
while [ $# -gt 0 ]; do
    case "$1" in
        --backend) backends+=("${2:?--backend needs cpu, gpu or auto}"); shift ;;
        --throttle) throttles+=("${2:?--throttle needs a factor}"); shift ;;
        --throttle-hidden) hidden=true ;;
        --stop-one) stop_in="${2:?--stop-one needs a frame}"; shift ;;
        --kill-one) kill_one=true ;;
        --frames) frames="${2:?--frames needs a number}"; shift ;;
        --scene) scene="${2:?--scene needs a file}"; shift ;;
        --debug) profile=debug ;;
        -h | --help) usage; exit 0 ;;
        --) shift; break ;;
        [0-9]*) nodes="$1" ;;
        *) echo "error: unknown argument $1" >&2; usage >&2; exit 2 ;;
    esac
    shift
done
[ ${#backends[@]} -gt 0 ] || backends=(cpu)
[ ${#throttles[@]} -gt 0 ] || throttles=(1)
case "$nodes$frames$stop_in" in *[!0-9]*) echo "error: NODES, --frames and --stop-one are numbers" >&2; exit 2 ;; esac
if { $kill_one || [ "$stop_in" -gt 0 ]; } && [ "$nodes" -lt 2 ]; then
    echo "error: --kill-one and --stop-one need at least two nodes" >&2
    exit 2
fi
[ "$nodes" -ge 1 ] && [ "$frames" -ge 1 ] || { echo "error: at least one node and one frame" >&2; exit 2; }

root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/testnet/processes.sh"
build=(cargo build --quiet --locked --manifest-path "$root/Cargo.toml" -p p2c2r-node)
[ "$profile" = release ] && build+=(--release)
echo "building ($profile)"
"${build[@]}"
node="${CARGO_TARGET_DIR:-$root/target}/$profile/p2c2r-node"

out="$root/out"
mkdir -p "$out"
work=$(mktemp -d "${TMPDIR:-/tmp}/p2c2r-local.XXXXXX")

stop_all() {
    local status=$?
    trap - EXIT INT TERM
    end_all 15
    if [ "$status" -eq 0 ]; then
        rm -rf "$work"
    else
        keep_logs "$work" "$out"
        rm -rf "$work"
    fi
    exit "$status"
}
trap stop_all EXIT
trap 'exit 130' INT TERM

start_node() { # index, run arguments...
    local index=$1
    shift
    local backend=${backends[$((index % ${#backends[@]}))]}
    local throttle=${throttles[$((index % ${#throttles[@]}))]}
    local lies=()
    if $hidden && [ "$throttle" != 1 ]; then lies=(--throttle-hidden); fi
    "$node" run --data-dir "$work/node-$index" --no-mdns --backend "$backend" --threads 1 \
        --throttle "$throttle" "${lies[@]}" \
        --listen /ip4/127.0.0.1/tcp/0 --listen /ip4/127.0.0.1/udp/0/quic-v1 "$@" \
        >"$work/node-$index.log" 2>&1 </dev/null &
    pids+=($!)
    # Not a job of the shell's any more: it would report a killed node in the middle of the output.
    disown
}

alive() { kill -0 "${pids[$1]}" 2>/dev/null || { echo "error: node $1 ended:" >&2; tail -n 5 "$work/node-$1.log" >&2; exit 1; }; }
has_ticket() { alive 0; ticket=$("$node" ticket --data-dir "$work/node-0" 2>/dev/null); }
contributors_known() { "$node" peers --json --data-dir "$work/node-$1" 2>/dev/null | grep -o '"contributing":true' | wc -l; }
knows_all() { alive "$1"; [ "$(contributors_known "$1")" -ge $((nodes - 1)) ]; }
# Of the scene fields in a report, the only number is that of the traffic.
scene_bytes() { grep -o '"scene": *[0-9][0-9]*' "$1" | head -n 1 | grep -o '[0-9]*$'; }
# What became of a frame, in a line; shares in the order of the report.
frame_line() { # frame, report
    printf 'frame %s: %.0f ms, %.2f x bound, shares' "$1" "$(field "$2" frame_ms)" "$(field "$2" bound_ratio)"
    grep -o '"share": *[0-9.e-]*' "$2" | sed 's/.*: *//' | while read -r share; do printf ' %.2f' "$share"; done
    printf ', %s scene bytes moved\n' "$(scene_bytes "$2")"
}

echo "starting $nodes nodes (backend: ${backends[*]})"
start_node 0
wait_until 60 "the first node's ticket" has_ticket
for ((index = 1; index < nodes; index++)); do start_node "$index" --join "$ticket"; done
for ((index = 0; index < nodes; index++)); do wait_until 60 "node $index knowing all others" knows_all "$index"; done
echo "the swarm of $nodes is formed"

if [ -z "$scene" ]; then
    scene="$work/city.glb"
    "$node" scene city -o "$scene" --quiet
fi

# Sends a signal to the first contributor that is seen at work, and notes which one that was.
signal_a_contributor() { # signal, what that does
    while :; do
        for ((index = 1; index < nodes; index++)); do
            if "$node" status --json --data-dir "$work/node-$index" 2>/dev/null | grep -q '"tiles_running":[1-9]'; then
                kill "-$1" "${pids[$index]}"
                echo "${pids[$index]}" >"$work/signalled"
                echo "$2 node $index with a tile in hand" >&2
                return
            fi
        done
    done
}

hashes=()
for ((frame = 1; frame <= frames; frame++)); do
    killer=""
    if $kill_one && [ "$frame" -eq 1 ] && [ "$nodes" -gt 1 ]; then
        signal_a_contributor KILL killed &
        killer=$!
    elif [ "$frame" -eq "$stop_in" ]; then
        signal_a_contributor STOP stopped &
        killer=$!
    fi
    "$node" render "$scene" -o "$out/swarm.png" --force --report "$work/swarm.json" \
        --data-dir "$work/node-0" --wait-peers "$((frame == 1 ? nodes - 1 : 0))" "$@"
    if [ -n "$killer" ]; then
        kill "$killer" 2>/dev/null || true
        wait "$killer" 2>/dev/null || true
        [ -s "$work/signalled" ] ||
            { echo "error: the frame was over before a contributor was at work; ask for more samples" >&2; exit 1; }
        if [ "$frame" -eq "$stop_in" ]; then
            kill -CONT "$(cat "$work/signalled")"
        else
            [ "$(field "$work/swarm.json" peers_lost)" -ge 1 ] ||
                { echo "error: the frame was over before a contributor could be killed; ask for more samples" >&2; exit 1; }
        fi
        rm -f "$work/signalled"
    fi
    if [ "$nodes" -gt 1 ] && ! grep -q '"probes": *[1-9]' "$work/swarm.json"; then
        echo "error: no other node rendered a tile that is in the picture" >&2
        exit 1
    fi
    hashes+=("$(field "$work/swarm.json" film_blake3)")
    [ "$frames" -eq 1 ] || frame_line "$frame" "$work/swarm.json"
done

echo "rendering the same frame on one machine alone"
"$node" render "$scene" -o "$work/local.png" --report "$work/local.json" --local --backend cpu --quiet "$@"
local_hash=$(field "$work/local.json" film_blake3)
different=0
for hash in "${hashes[@]}"; do [ "$hash" = "$local_hash" ] || different=$((different + 1)); done
# The film is exact, and so is all that is made of it, but for what Open Image Denoise makes.
same_picture() {
    case " $* " in *oidn*) return 0 ;; esac
    cmp -s "$out/swarm.png" "$work/local.png"
}
if [ "$different" -eq 0 ] && same_picture "$@"; then
    echo "identical to local: yes"
else
    echo "identical to local: no"
    cp "$work/local.png" "$out/local.png"
    exit 1
fi
cp "$work/swarm.json" "$out/swarm.json"
echo "picture: $out/swarm.png, report: $out/swarm.json"
