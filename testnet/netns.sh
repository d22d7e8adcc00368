#!/usr/bin/env bash
# A frame on hosts of their own: network namespaces, each on a line of its own, as good or bad as is asked for.
set -euo pipefail

usage() {
    cat <<'HELP'
usage: testnet/netns.sh [HOSTS] [options] [-- render arguments]

Makes HOSTS (default 5) hosts in network namespaces on one network, each on an emulated line (testnet/linkemu), starts a p2c2r
node on each, renders one frame from the first, and says how long it took and whether it is the one that a single machine makes.
The nodes know nothing but the first one's ticket. Needs root, `ip` and /dev/net/tun; says so and ends with 0 where they are
missing. Takes everything away at the end, also when it is interrupted.

  --line "WORDS"  every line, each way: delay MS, jitter MS, loss %, reorder %, duplicate %, rate MBIT, queue MS
  --cut N         cut the lines of N hosts in the middle of the frame, for 20 s, and say when they are used again
  --scene FILE    a .glb or .gltf file instead of the built-in city
  --debug         use the debug builds
  -h, --help      this text

example: testnet/netns.sh 5 --line "delay 50 jitter 20 loss 1 rate 100" -- --size 960x540 --spp 16
HELP
}

hosts=5 line="" cut=0 scene="" profile=release
while [ $# -gt 0 ]; do
    case "$1" in
        --line) line="${2:?--line needs a description}"; shift ;;
        --cut) cut="${2:?--cut needs a number of hosts}"; shift ;;
        --scene) scene="${2:?--scene needs a file}"; shift ;;
        --debug) profile=debug ;;
        -h | --help) usage; exit 0 ;;
        --) shift; break ;;
        [0-9]*) hosts="$1" ;;
        *) echo "error: unknown argument $1" >&2; usage >&2; exit 2 ;;
    esac
    shift
done
case "$hosts$cut" in *[!0-9]*) echo "error: HOSTS and --cut are numbers" >&2; exit 2 ;; esac
if [ "$hosts" -lt 2 ] || [ "$hosts" -gt 200 ] || [ "$cut" -ge "$hosts" ]; then
    echo "error: 2 to 200 hosts, and at least the first one's line stays" >&2
    exit 2
fi
[ $# -gt 0 ] || set -- --size 480x270 --spp 8

skip() { echo "SKIPPED: hosts in namespaces need $*" >&2; exit 0; }
[ "$(id -u)" = 0 ] || skip "root"
command -v ip >/dev/null || skip "the command ip (iproute2)"
[ -c /dev/net/tun ] || skip "/dev/net/tun"

root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/testnet/processes.sh"
build=(cargo build --quiet --locked --manifest-path "$root/Cargo.toml" -p p2c2r-node -p p2c2r-linkemu)
[ "$profile" = release ] && build+=(--release)
echo "building ($profile)"
"${build[@]}"
programs="${CARGO_TARGET_DIR:-$root/target}/$profile"
node="$programs/p2c2r-node" linkemu="$programs/linkemu"

# Interfaces have names of 15 characters at most.
tag=p$(($$ % 10000))
work=$(mktemp -d "${TMPDIR:-/tmp}/p2c2r-netns.XXXXXX")
take_away() {
    local status=$?
    trap - EXIT INT TERM
    end_all 10
    for ((host = 0; host < hosts; host++)); do ip netns del "$tag-h$host" 2>/dev/null || true; done
    ip netns del "$tag-net" 2>/dev/null || true
    [ "$status" -eq 0 ] || keep_logs "$work" "$root/out"
    rm -rf "$work"
    exit "$status"
}
trap take_away EXIT
trap 'exit 130' INT TERM

# A host on its line: one end is the host's, the other is plugged into the network between all.
add_host() {
    local host=$1 name="$tag-h$1"
    mkfifo "$work/line-$host"
    "$linkemu" lay "${tag}h$host" "${tag}n$host" --seed "$((host + 1))" \
        <>"$work/line-$host" >"$work/line-$host.out" 2>"$work/line-$host.log" &
    pids+=($!)
    disown
    wait_until 10 "the line of host $host" grep -q ready "$work/line-$host.out"
    ip netns add "$name"
    ip link set "${tag}h$host" netns "$name"
    ip link set "${tag}n$host" netns "$tag-net"
    ip -n "$tag-net" link set "${tag}n$host" master bridge up
    ip -n "$name" link set lo up
    ip -n "$name" addr add "10.77.0.$((host + 1))/24" dev "${tag}h$host"
    ip -n "$name" link set "${tag}h$host" up
}
order() { echo "$2" >"$work/line-$1"; }

start_node() { # host, run arguments...
    local host=$1
    shift
    ip netns exec "$tag-h$host" "$node" run --data-dir "$work/node-$host" --no-mdns --backend cpu --threads 1 \
        --listen "/ip4/10.77.0.$((host + 1))/tcp/0" --listen "/ip4/10.77.0.$((host + 1))/udp/0/quic-v1" "$@" \
        >"$work/node-$host.log" 2>&1 </dev/null &
    pids+=($!)
    disown
}
has_ticket() { ticket=$("$node" ticket --data-dir "$work/node-0" 2>/dev/null); }
knows_all() {
    local known
    known=$("$node" peers --json --data-dir "$work/node-$1" 2>/dev/null | grep -o '"contributing":true' | wc -l)
    [ "$known" -ge $((hosts - 1)) ]
}

echo "laying $hosts lines: ${line:-nothing wrong with them}"
ip netns add "$tag-net"
ip -n "$tag-net" link add bridge type bridge
ip -n "$tag-net" link set bridge up
for ((host = 0; host < hosts; host++)); do add_host "$host"; done
[ -z "$line" ] || for ((host = 0; host < hosts; host++)); do order "$host" "$line"; done

start_node 0
wait_until 60 "the first node's ticket" has_ticket
for ((host = 1; host < hosts; host++)); do start_node "$host" --join "$ticket"; done
formed=$(date +%s%N)
wait_until 120 "the first node knowing all others" knows_all 0
echo "the swarm of $hosts is formed ($((($(date +%s%N) - formed) / 1000000)) ms)"

if [ -z "$scene" ]; then
    scene="$work/city.glb"
    "$node" scene city -o "$scene" --quiet
fi
render() { # name, arguments...
    local name=$1
    shift
    "$node" render "$scene" -o "$work/$name.png" --data-dir "$work/node-0" --report "$work/$name.json" --quiet --force "$@"
}
cut_lines() {
    wait_until 60 "a tile at work" at_work 1
    for ((host = 1; host <= cut; host++)); do order "$host" cut; done
    echo "cut the lines of $cut hosts" >&2
    sleep 20
    for ((host = 1; host <= cut; host++)); do order "$host" "$line"; done
    echo "mended them" >&2
    date +%s >"$work/mended"
}
render_on() { while [ ! -f "$work/enough" ]; do render after --seed 2 "${arguments[@]}"; done; }
at_work() { "$node" status --json --data-dir "$work/node-$1" 2>/dev/null | grep -q '"tiles_running":[1-9]'; }

arguments=("$@")
render warm-up "${arguments[@]}" --wait-peers $((hosts - 1))
if [ "$cut" -gt 0 ]; then
    cut_lines &
    pids+=($!)
fi
render frame "${arguments[@]}"
printf 'frame: %.0f ms, %.2f x bound, %s peers lost\n' \
    "$(field "$work/frame.json" frame_ms)" "$(field "$work/frame.json" bound_ratio)" "$(field "$work/frame.json" peers_lost)"
if [ "$cut" -gt 0 ]; then
    wait_until 60 "the lines being mended" test -f "$work/mended"
    # Frames go on with whoever is there, and those who come back join them.
    render_on &
    pids+=($!)
    for ((host = 1; host <= cut; host++)); do
        wait_until 120 "host $host being used again" at_work "$host"
        echo "host $host is used again $(($(date +%s) - $(cat "$work/mended"))) s after its line was mended"
    done
    touch "$work/enough"
    wait
fi
"$node" peers --data-dir "$work/node-0"
"$node" render "$scene" -o "$work/local.png" --data-dir "$work/nobody" --report "$work/local.json" --quiet --local "${arguments[@]}"
if [ "$(field "$work/frame.json" film_blake3)" = "$(field "$work/local.json" film_blake3)" ]; then
    echo "identical to local"
else
    echo "error: the picture is not the one that a single machine makes" >&2
    exit 1
fi
