#!/usr/bin/env bash
# A crowd of idle nodes on this machine: what it costs, who knows whom, and one frame rendered in its midst.
set -euo pipefail

usage() {
    cat <<'HELP'
usage: testnet/crowd.sh [NODES] [options]

Starts NODES (default 100) node processes on loopback in stages, each joining by one of several seeds, and says how many of the
others each node knows, how many heartbeats come within an interval, how much memory (proportional) and processor time the idle
crowd takes. Then one frame is rendered by WORKERS of them, and compared with that of a single machine.

  --workers N   nodes that take work (default 4); the others only take part
  --seeds N     nodes that the others join by (default 5)
  --stage N     nodes started at once (default 10)
  --within S    every node is to know 95 % of the others within S seconds after the last start (default 180)
  --idle S      the idle crowd is watched for S seconds (default 60)
  --debug       use the debug builds
  --built       use what is built already, with `cargo build --workspace`
  -h, --help    this text

example: testnet/crowd.sh 100
HELP
}

nodes=100 workers=4 seeds=5 stage=10 within=180 idle_s=60 profile=release built=false
while [ $# -gt 0 ]; do
    case "$1" in
        --workers) workers="${2:?--workers needs a number}"; shift ;;
        --seeds) seeds="${2:?--seeds needs a number}"; shift ;;
        --stage) stage="${2:?--stage needs a number}"; shift ;;
        --within) within="${2:?--within needs seconds}"; shift ;;
        --idle) idle_s="${2:?--idle needs seconds}"; shift ;;
        --debug) profile=debug ;;
        --built) built=true ;;
        -h | --help) usage; exit 0 ;;
        [0-9]*) nodes="$1" ;;
        *) echo "error: unknown argument $1" >&2; usage >&2; exit 2 ;;
    esac
    shift
done
case "$nodes$workers$seeds$stage$within$idle_s" in *[!0-9]*) echo "error: the options take numbers" >&2; exit 2 ;; esac
if [ "$seeds" -lt 1 ] || [ "$seeds" -gt "$nodes" ] || [ "$workers" -ge "$nodes" ] || [ "$stage" -lt 1 ]; then
    echo "error: at least one seed, and more nodes than seeds and workers" >&2
    exit 2
fi

root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/testnet/processes.sh"
build=(cargo build --quiet --locked --manifest-path "$root/Cargo.toml" -p p2c2r-node)
[ "$profile" = release ] && build+=(--release)
$built || echo "building ($profile)"
$built || "${build[@]}"
node="${CARGO_TARGET_DIR:-$root/target}/$profile/p2c2r-node"

work=$(mktemp -d "${TMPDIR:-/tmp}/p2c2r-crowd.XXXXXX")
take_away() {
    local status=$?
    trap - EXIT INT TERM
    end_all 20
    [ "$status" -eq 0 ] || keep_logs "$work" "$root/out"
    rm -rf "$work"
    exit "$status"
}
trap take_away EXIT
trap 'exit 130' INT TERM

start_node() { # index, run arguments...
    local index=$1
    shift
    # The first nodes after the one that renders take the work.
    [ "$index" -ge 1 ] && [ "$index" -le "$workers" ] || set -- --no-contribute "$@"
    "$node" run --data-dir "$work/node-$index" --no-mdns --backend cpu --threads 1 \
        --listen /ip4/127.0.0.1/tcp/0 --listen /ip4/127.0.0.1/udp/0/quic-v1 "$@" \
        >"$work/node-$index.log" 2>&1 </dev/null &
    pids+=($!)
    disown
}
ticket_of() { "$node" ticket --data-dir "$work/node-$1" 2>/dev/null; }
has_ticket() { tickets[$1]=$(ticket_of "$1"); }
# How many of the others a node has a fresh heartbeat of.
known() { "$node" peers --json --data-dir "$work/node-$1" 2>/dev/null | { grep -o '"contributing":\(true\|false\)' || true; } | wc -l; }
# Ages of the last heartbeats that a node has, ms.
ages() { "$node" peers --json --data-dir "$work/node-$1" 2>/dev/null | { grep -o '"heartbeat_age_ms":[0-9]*' || true; } | cut -d : -f 2; }
cpu_ticks() { # of all nodes, user and system
    local sum=0 fields
    for pid in "${pids[@]}"; do
        read -ra fields <"/proc/$pid/stat"
        sum=$((sum + fields[13] + fields[14]))
    done
    echo "$sum"
}

echo "starting $nodes nodes, $stage at a time, $seeds of them seeds"
tickets=()
for ((index = 0; index < nodes; index++)); do
    if [ "$index" -eq 0 ]; then
        start_node 0
    elif [ "$index" -lt "$seeds" ]; then
        start_node "$index" --join "${tickets[0]}"
    else
        start_node "$index" --join "${tickets[$((index % seeds))]}"
    fi
    if [ "$index" -lt "$seeds" ]; then wait_until 60 "the ticket of node $index" has_ticket "$index"; fi
    if [ $(((index + 1) % stage)) -eq 0 ]; then wait_until 60 "the start of node $index" ticket_of "$index" >/dev/null; fi
done

enough=$(((nodes - 1) * 95 / 100))
started=$(date +%s)
least=0
while :; do
    least=$nodes
    for ((index = 0; index < nodes; index++)); do
        count=$(known "$index")
        [ "$count" -ge "$least" ] || least=$count
        # One that knows too few is enough to ask again later.
        [ "$least" -ge "$enough" ] || break
    done
    [ "$least" -lt "$enough" ] || break
    [ $(($(date +%s) - started)) -lt "$within" ] || break
    sleep 2
done
took=$(($(date +%s) - started))
echo "every node knows at least $least of $((nodes - 1)) others, $took s after the last start"

ticks=$(cpu_ticks)
sleep "$idle_s"
ticks=$(($(cpu_ticks) - ticks))
awk -v ticks="$ticks" -v s="$idle_s" -v hz="$(getconf CLK_TCK)" -v n="$nodes" \
    'BEGIN { printf "idle: %.2f cores for all, %.2f ms a second for each\n", ticks / hz / s, 1000 * ticks / hz / s / n }'
for pid in "${pids[@]}"; do grep -h '^Pss:' "/proc/$pid/smaps_rollup"; done | awk '
    { kib = $2; sum += kib; if (kib > most) most = kib }
    END { printf "memory: %.1f MB each on average, %.1f MB at most (proportional)\n", sum * 1024 / 1e6 / NR, most * 1024 / 1e6 }'
for ((index = 0; index < nodes; index++)); do ages "$index" | tr '\n' ' '; echo; done >"$work/ages.txt"
# The interval that nodes of such a swarm keep (protocol/src/heartbeat.rs), and what it varies by.
awk -v n="$nodes" '
    BEGIN { share = (n - 16) / (100 - 16); share = share < 0 ? 0 : share > 1 ? 1 : share; large = n > 100 ? n / 100 : 1; limit = (2000 + 28000 * share) * large; limit = (limit < 120000 ? limit : 120000) * 1.2 }
    { for (field = 1; field <= NF; field++) { all++; if ($field <= limit) fresh++ } missing += n - 1 - NF }
    END { printf "heartbeats: %.2f %% of all pairs had one within an interval (%.1f s with its jitter)\n", 100 * fresh / (all + missing), limit / 1000 }' "$work/ages.txt"

scene="$work/city.glb"
"$node" scene city -o "$scene" --quiet
"$node" render "$scene" -o "$work/frame.png" --data-dir "$work/node-0" --report "$work/frame.json" --quiet \
    --size 480x270 --spp 8 --wait-peers "$workers"
printf 'frame: %.0f ms, %.2f x bound, by %s peers and the node itself\n' "$(field "$work/frame.json" frame_ms)" \
    "$(field "$work/frame.json" bound_ratio)" "$workers"
"$node" render "$scene" -o "$work/local.png" --data-dir "$work/nobody" --report "$work/local.json" --quiet --local \
    --size 480x270 --spp 8
if [ "$(field "$work/frame.json" film_blake3)" != "$(field "$work/local.json" film_blake3)" ]; then
    echo "error: the picture is not the one that a single machine makes" >&2
    exit 1
fi
echo "identical to local"
[ "$least" -ge "$enough" ] || { echo "error: a node knows only $least others after $within s" >&2; exit 1; }
