# What the scripts of this folder share: ending what they started, waiting, reading reports. Sourced, not run.
# shellcheck shell=bash

pids=()

# Ends every process in `pids`, those that are stopped too; what has not ended after so many seconds is killed.
end_all() { # seconds
    for pid in "${pids[@]}"; do kill -CONT "$pid" 2>/dev/null && kill -TERM "$pid" 2>/dev/null || true; done
    # Nodes hand their tiles back and close their stores; one that hangs is killed.
    for _ in $(seq $(($1 * 10))); do
        local alive=false
        for pid in "${pids[@]}"; do kill -0 "$pid" 2>/dev/null && alive=true; done
        $alive || break
        sleep 0.1
    done
    for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
}

keep_logs() { # folder that they are in, folder of what the scripts leave
    rm -rf "$2/failed-logs"
    mkdir -p "$2/failed-logs"
    cp "$1"/*.log "$2/failed-logs/" 2>/dev/null || true
    echo "failed; the nodes' logs are in $2/failed-logs" >&2
}

# Asks until the answer is yes; the command's own patience is the limit.
wait_until() { # seconds, what, command...
    local limit=$1 what=$2 until
    shift 2
    until=$(($(date +%s) + limit))
    while ! "$@"; do
        if [ "$(date +%s)" -ge "$until" ]; then
            echo "error: $what did not happen within $limit s" >&2
            exit 1
        fi
        sleep 0.05
    done
}

# The first field of that name in a report.
field() { grep -o "\"$2\": *[^,}]*" "$1" | head -n 1 | sed 's/^[^:]*: *//; s/"//g'; }
