# Routers with NAT between a host and the network outside, of several kinds. Sourced, not run; needs root, `ip` and `iptables`.
# shellcheck shell=bash

# Puts a router in a namespace of its own in front of a host: LAN.1 for the router, LAN.2 for the host. The router's interface to
# the outside is plugged in by the caller.
add_router() { # router's namespace, host's namespace, first three numbers of the LAN, interface to the outside, kind
    local router=$1 host=$2 lan=$3 outside=$4 kind=$5
    ip netns add "$router"
    ip -n "$router" link set lo up
    ip -n "$router" link add lan type veth peer name eth0 netns "$host"
    ip -n "$router" addr add "$lan.1/24" dev lan
    ip -n "$router" link set lan up
    ip -n "$host" addr add "$lan.2/24" dev eth0
    ip -n "$host" link set eth0 up
    ip -n "$host" route add default via "$lan.1"
    ip netns exec "$router" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
    local rule=(ip netns exec "$router" iptables)
    "${rule[@]}" -P FORWARD DROP
    "${rule[@]}" -A FORWARD -i "$outside" -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
    # What comes unasked is dropped without a word, as home routers do: a reset would end the other end's attempt.
    "${rule[@]}" -A INPUT -i "$outside" -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
    "${rule[@]}" -A INPUT -i "$outside" -j DROP
    case "$kind" in
        cone) "${rule[@]}" -t nat -A POSTROUTING -o "$outside" -j MASQUERADE ;;
        symmetric) "${rule[@]}" -t nat -A POSTROUTING -o "$outside" -j MASQUERADE --random-fully ;;
        full)
            "${rule[@]}" -t nat -A POSTROUTING -o "$outside" -j MASQUERADE
            "${rule[@]}" -t nat -A PREROUTING -i "$outside" -j DNAT --to-destination "$lan.2"
            "${rule[@]}" -A FORWARD -i "$outside" -j ACCEPT
            ;;
        no-udp)
            "${rule[@]}" -t nat -A POSTROUTING -o "$outside" -j MASQUERADE
            "${rule[@]}" -A FORWARD -p udp -j DROP
            ;;
    esac
    "${rule[@]}" -A FORWARD -i lan -j ACCEPT
}
