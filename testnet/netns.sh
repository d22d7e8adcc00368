#!/usr/bin/env bash
# A frame on hosts of their own: network namespaces, each on a line of its own, as good or bad as is asked for.
set -euo pipefail

usage() {
    cat <<'HELP'
usage: testnet/netns.sh [HOSTS] [options] [-- render arguments]

Makes HOSTS (default 5) hosts in network namespaces on one network, each on an emulated line (testnet/linkemu), starts a p2c2r
node on each, renders one frame from the first, and says how long it took and whether it is the one that a single machine makes.
The nodes know nothing but the first one's ticket. Needs root, `ip` and /dev/net/tun (and `iptables` for --nat); says so and ends
with 0 where they are missing. Takes everything away at the end, also when it is interrupted.

With --nat the first host is public and takes no work; every other one is behind a router of its own. The second one renders the
frame (default then: 3 hosts), and it is said which way the others were reached.

  --delay-ms N, --jitter-ms N, --loss PERCENT, --rate-mbit N
                  what is wrong with every line, each way
  --line "WORDS"  every line, each way: delay MS, jitter MS, loss %, reorder %, duplicate %, rate MBIT, queue MS
  --good-owner    nothing is wrong with the line of the host that renders: the others' way to it is one bad line, not two
  --nat [KINDS]   routers (default cone), one kind or several in turn, with commas between:
                    cone       keeps ports, and lets in only whom the host has called: holes can be punched
                    symmetric  a new random port for each connection: nothing can be punched, a relay is needed
                    full       forwards everything to the host
                    no-udp     like cone, but lets no UDP through: TCP is left
  --cut N         cut the lines of N hosts in the middle of the frame, for 20 s, and say when they are used again
  --restart       then kill all nodes, start them again with other ports and without tickets, and render again: they find each
                  other by multicast (without --nat)
  --scene FILE    a .glb or .gltf file instead of the built-in city
  --local REPORT  the report of the same frame rendered by a single machine, which is not rendered again then
  --debug         use the debug builds
  --built         use what is built already, with `cargo build --workspace`
  -h, --help      this text

examples: testnet/netns.sh 3 --nat cone
          testnet/netns.sh 5 --line "delay 50 jitter 20 loss 1 rate 100" -- --size 960x540 --spp 16
HELP
}

hosts="" line="" good_owner=false reference="" nat="" cut=0 restart=false built=false scene="" profile=release
while [ $# -gt 0 ]; do
    case "$1" in
        --line) line="${2:?--line needs a description}"; shift ;;
        --delay-ms) line+="delay ${2:?--delay-ms needs a number} "; shift ;;
        --jitter-ms) line+="jitter ${2:?--jitter-ms needs a number} "; shift ;;
        --loss) line+="loss ${2:?--loss needs a percentage} "; shift ;;
        --rate-mbit) line+="rate ${2:?--rate-mbit needs a number} "; shift ;;
        --good-owner) good_owner=true ;;
        --local) reference="${2:?--local needs a report}"; shift ;;
        --nat) case "${2:-}" in [a-z]*) nat="$2"; shift ;; *) nat=cone ;; esac ;;
        --cut) cut="${2:?--cut needs a number of hosts}"; shift ;;
        --restart) restart=true ;;
        --scene) scene="${2:?--scene needs a file}"; shift ;;
        --debug) profile=debug ;;
        --built) built=true ;;
        -h | --help) usage; exit 0 ;;
        --) shift; break ;;
        [0-9]*) hosts="$1" ;;
        *) echo "error: unknown argument $1" >&2; usage >&2; exit 2 ;;
    esac
    shift
done
if [ -z "$hosts" ]; then [ -n "$nat" ] && hosts=3 || hosts=5; fi
IFS=, read -ra kinds <<<"$nat"
for kind in "${kinds[@]}"; do
    case "$kind" in cone | symmetric | full | no-udp) ;; *) echo "error: no router is called $kind" >&2; exit 2 ;; esac
done
if $restart && [ -n "$nat" ]; then echo "error: behind routers there is no multicast to find others by" >&2; exit 2; fi
# The host that renders, and the first of those that work for it.
owner=0
[ -z "$nat" ] || owner=1
case "$hosts$cut" in *[!0-9]*) echo "error: HOSTS and --cut are numbers" >&2; exit 2 ;; esac
if [ "$hosts" -lt $((owner + 2)) ] || [ "$hosts" -gt 150 ] || [ "$cut" -ge $((hosts - owner)) ]; then
    echo "error: $((owner + 2)) to 150 hosts, and the line of the one that renders stays" >&2
    exit 2
fi
[ $# -gt 0 ] || set -- --size 480x270 --spp 8

skip() { echo "SKIPPED: hosts in namespaces need $*" >&2; exit 0; }
[ "$(id -u)" = 0 ] || skip "root"
command -v ip >/dev/null || skip "the command ip (iproute2)"
[ -c /dev/net/tun ] || skip "/dev/net/tun"
[ -z "$nat" ] || command -v iptables >/dev/null || skip "the command iptables"
# Containers have root and the commands, and may still not be allowed to.
may() { # command in a namespace...
    local try="p2c2r-try-$$" status=0
    ip netns add "$try" 2>/dev/null || return 1
    ip netns exec "$try" "$@" >/dev/null 2>&1 || status=1
    ip netns del "$try"
    return "$status"
}
may ip tuntap add dev try mode tap || skip "the right to make namespaces and TAP devices"
[ -z "$nat" ] || may iptables -t nat -A POSTROUTING -j MASQUERADE || skip "a kernel with NAT"

root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/testnet/processes.sh"
. "$root/testnet/routers.sh"
build=(cargo build --quiet --locked --manifest-path "$root/Cargo.toml" -p p2c2r-node -p p2c2r-linkemu)
[ "$profile" = release ] && build+=(--release)
$built || echo "building ($profile)"
$built || "${build[@]}"
programs="${CARGO_TARGET_DIR:-$root/target}/$profile"
node="$programs/p2c2r-node" linkemu="$programs/linkemu"

# Interfaces have names of 15 characters at most.
tag=p$(($$ % 10000))
work=$(mktemp -d "${TMPDIR:-/tmp}/p2c2r-netns.XXXXXX")
take_away() {
    local status=$?
    trap - EXIT INT TERM
    end_all 10
    for ((host = 0; host < hosts; host++)); do
        ip netns del "$tag-h$host" 2>/dev/null || true
        ip netns del "$tag-r$host" 2>/dev/null || true
    done
    ip netns del "$tag-net" 2>/dev/null || true
    [ "$status" -eq 0 ] || keep_logs "$work" "$root/out"
    rm -rf "$work"
    exit "$status"
}
trap take_away EXIT
trap 'exit 130' INT TERM

# The address of a host, as it knows it itself; and what it has on the network between all.
# Networks of their own for the public ones: strangers of one network alone do not show that a node is public.
public_address() { [ -n "$nat" ] && echo "203.0.$((100 + $1)).1" || echo "10.77.0.$(($1 + 1))"; }
mask() { [ -n "$nat" ] && echo 16 || echo 24; }
address() { [ -n "$nat" ] && [ "$1" -gt 0 ] && echo "192.168.$1.2" || public_address "$1"; }

# A host on its line: one end is the host's or its router's, the other is plugged into the network between all.
add_host() {
    local host=$1 name="$tag-h$1" outside="$tag-h$1"
    mkfifo "$work/line-$host"
    "$linkemu" lay "${tag}h$host" "${tag}n$host" --seed "$((host + 1))" \
        <>"$work/line-$host" >"$work/line-$host.out" 2>"$work/line-$host.log" &
    pids+=($!)
    disown
    wait_until 10 "the line of host $host" grep -q ready "$work/line-$host.out"
    ip netns add "$name"
    ip -n "$name" link set lo up
    if [ -n "$nat" ] && [ "$host" -gt 0 ]; then
        outside="$tag-r$host"
        add_router "$outside" "$name" "192.168.$host" "${tag}h$host" "${kinds[$(((host - 1) % ${#kinds[@]}))]}"
    fi
    ip link set "${tag}h$host" netns "$outside"
    ip link set "${tag}n$host" netns "$tag-net"
    ip -n "$tag-net" link set "${tag}n$host" master bridge up
    ip -n "$outside" addr add "$(public_address "$host")/$(mask)" dev "${tag}h$host"
    ip -n "$outside" link set "${tag}h$host" up
}
order() { echo "$2" >"$work/line-$1"; }

start_node() { # host, run arguments...
    local host=$1
    shift
    ip netns exec "$tag-h$host" "$node" run --data-dir "$work/node-$host" --no-upnp --backend cpu --threads 1 \
        --listen "/ip4/$(address "$host")/tcp/$port" --listen "/ip4/$(address "$host")/udp/$port/quic-v1" "$@" \
        >>"$work/node-$host.log" 2>&1 </dev/null &
    pids+=($!)
    nodes+=($!)
    disown
}
port=0 nodes=()
has_ticket() { ticket=$("$node" ticket --data-dir "$work/node-0" 2>/dev/null); }
knows_all() {
    local known
    known=$("$node" peers --json --data-dir "$work/node-$1" 2>/dev/null | grep -o '"contributing":true' | wc -l)
    [ "$known" -ge "$workers" ]
}
reaches_all() {
    local reached
    reached=$("$node" peers --json --data-dir "$work/node-$1" 2>/dev/null | tr '{' '\n' | grep '"contributing":true' \
        | grep -c '"connected":true')
    [ "$reached" -ge "$workers" ]
}

echo "laying $hosts lines: ${line:-nothing wrong with them}"
ip netns add "$tag-net"
ip -n "$tag-net" link add bridge type bridge
ip -n "$tag-net" link set bridge up
for ((host = 0; host < hosts; host++)); do add_host "$host"; done
line_of() { if $good_owner && [ "$1" = "$owner" ]; then echo ""; else echo "$line"; fi; }
for ((host = 0; host < hosts; host++)); do [ -z "$(line_of "$host")" ] || order "$host" "$(line_of "$host")"; done

workers=$((hosts - 1 - owner))
if [ -n "$nat" ]; then start_node 0 --no-mdns --no-contribute; else start_node 0 --no-mdns; fi
wait_until 60 "the first node's ticket" has_ticket
for ((host = 1; host < hosts; host++)); do start_node "$host" --no-mdns --join "$ticket"; done
formed=$(date +%s%N)
wait_until 120 "the node that renders knowing all others" knows_all "$owner"
wait_until 120 "the node that renders reaching all others" reaches_all "$owner"
echo "the swarm of $hosts is formed ($((($(date +%s%N) - formed) / 1000000)) ms)"

if [ -z "$scene" ]; then
    scene="$work/city.glb"
    "$node" scene city -o "$scene" --quiet
fi
render() { # name, arguments...
    local name=$1
    shift
    "$node" render "$scene" -o "$work/$name.png" --data-dir "$work/node-$owner" --report "$work/$name.json" --quiet --force "$@"
}
cut_lines() {
    wait_until 60 "a tile at work" at_work $((owner + 1))
    for ((host = owner + 1; host <= owner + cut; host++)); do order "$host" cut; done
    echo "cut the lines of $cut hosts" >&2
    sleep 20
    for ((host = owner + 1; host <= owner + cut; host++)); do order "$host" "$(line_of "$host")"; done
    echo "mended them" >&2
    date +%s >"$work/mended"
}
render_on() { while [ ! -f "$work/enough" ]; do render after --seed 2 "${arguments[@]}"; done; }
# Which way each of the others was reached, by its host's number.
say_ways() {
    local id way
    for ((host = owner + 1; host < hosts; host++)); do
        id=$(field <("$node" status --json --data-dir "$work/node-$host") node)
        way=$("$node" peers --json --data-dir "$work/node-$owner" | tr '{' '\n' | grep "\"$id\"" | grep -o '"transport":"[a-z]*"' | cut -d '"' -f 4 || true)
        case "$way" in
            relay) echo "host $host was reached through the relay" ;;
            "") echo "host $host was not reached" ;;
            *) echo "host $host was reached directly, over $way" ;;
        esac
    done
}
ended() { ! kill -0 "$1" 2>/dev/null; }
same_as_local() { # name of a frame
    if [ "$(field "$work/$1.json" film_blake3)" != "$(field "$work/local.json" film_blake3)" ]; then
        echo "error: the picture is not the one that a single machine makes" >&2
        exit 1
    fi
    echo "identical to local"
}
at_work() { "$node" status --json --data-dir "$work/node-$1" 2>/dev/null | grep -q '"tiles_running":[1-9]'; }

arguments=("$@")
render first "${arguments[@]}" --wait-peers "$workers"
printf 'first frame: the scene was at all others after %.0f ms, then %.0f ms\n' \
    "$(field "$work/first.json" gather_ms)" "$(field "$work/first.json" frame_ms)"
if [ "$cut" -eq 0 ]; then
    render frame "${arguments[@]}"
else
    cut_lines &
    pids+=($!)
    # Frames go on with whoever is there, and those who come back join them.
    { render frame "${arguments[@]}" && render_on; } &
    pids+=($!)
    wait_until 60 "the lines being mended" test -s "$work/mended"
    used=()
    since_mended() { echo $(($(date +%s) - $(cat "$work/mended"))); }
    while [ ${#used[@]} -lt "$cut" ]; do
        [ "$(since_mended)" -lt 120 ] || { echo "error: not all are used again after 120 s" >&2; exit 1; }
        for ((host = owner + 1; host <= owner + cut; host++)); do
            if [ -z "${used[host]:-}" ] && at_work "$host"; then
                used[host]=yes
                echo "host $host is used again $(since_mended) s after its line was mended"
            fi
        done
        sleep 0.1
    done
    touch "$work/enough"
    wait
fi
printf 'frame: %.0f ms, %.2f x bound, %s peers lost, %s bytes of results\n' \
    "$(field "$work/frame.json" frame_ms)" "$(field "$work/frame.json" bound_ratio)" \
    "$(field "$work/frame.json" peers_lost)" "$(field "$work/frame.json" results)"
"$node" peers --data-dir "$work/node-$owner"
[ -z "$nat" ] || say_ways
if [ -n "$reference" ]; then
    cp "$reference" "$work/local.json"
else
    "$node" render "$scene" -o "$work/local.png" --data-dir "$work/nobody" --report "$work/local.json" --quiet --local "${arguments[@]}"
fi
same_as_local first
same_as_local frame

if $restart; then
    kill -KILL "${nodes[@]}"
    for pid in "${nodes[@]}"; do wait_until 10 "the end of a node" ended "$pid"; done
    nodes=() port=7117
    formed=$(date +%s%N)
    for ((host = 0; host < hosts; host++)); do start_node "$host"; done
    wait_until 60 "the first node's start" has_ticket
    wait_until 120 "the swarm being whole again" reaches_all 0
    echo "all nodes were killed and started again with other ports and without tickets: the swarm is whole again ($((($(date +%s%N) - formed) / 1000000)) ms)"
    render again "${arguments[@]}" --wait-peers "$workers"
    same_as_local again
fi
