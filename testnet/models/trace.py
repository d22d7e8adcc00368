"""Writes a trace of outcomes as an honest coordinator would record it: trace.py OUT.csv [SEED [ROWS]]

Eight peers at five kinds of work over six days. What happens is not what any of the compared models assumes: caches
and heat, memory that runs short, costs that are estimated wrongly (worse for small tiles), other tenants, evenings with
a slow line, changes of speed, stragglers, failures. What is written is only what a coordinator sees: its own clock, the
peers' last words about themselves, and what it expected of the queue.
"""
import heapq
import sys

import numpy as np

HOUR = 3.6e6
MAX_IN_FLIGHT = 5
KINDS = ["ray_tracing", "rendering", "physics", "ai", "audio"]
COLUMNS = ("at_ms peer kind mrays_per_s cost pixels bytes backlog_ms in_flight queued round_trip_ms jitter_ms "
           "bytes_per_ms utilisation cpu_load memory_pressure throttle temperature_c uptime_s "
           "ended total_ms queue_ms execution_ms").split()
# Million rays per second, round trip ms, bytes per ms, share of failures, tasks at once, slow in the evening, drifts.
PEERS = [
    (90.0, 4.0, 60e3, 0.01, 1, False, False),
    (60.0, 12.0, 12e3, 0.02, 1, True, False),
    (35.0, 30.0, 4e3, 0.03, 1, False, True),
    (70.0, 25.0, 2.5e3, 0.15, 1, True, True),
    (45.0, 80.0, 6e3, 0.01, 2, False, False),
    (20.0, 15.0, 8e3, 0.04, 1, False, True),
    (120.0, 45.0, 1.2e3, 0.02, 1, True, False),
    (50.0, 8.0, 30e3, 0.02, 2, False, True),
]


class Peer:
    def __init__(self, index, rng):
        self.index, self.rng = index, rng
        self.mrays, self.rtt, self.bandwidth, self.failing, self.slots, self.evening, self.drifts = PEERS[index]
        # What it announces is a benchmark: right within 15 %, for ray tracing.
        self.announced = self.mrays * rng.lognormal(0, 0.15)
        self.kind_rate = {kind: rng.lognormal(0, 0.45) for kind in KINDS}
        self.kind_rate["ray_tracing"] = 1.0
        self.others, self.heat, self.memory, self.cpu = rng.uniform(0, 0.6), 0.2, rng.uniform(0.3, 0.7), 0.3
        self.drift, self.next_drift = 1.0, rng.exponential(14 * HOUR)
        self.free, self.last, self.estimate, self.held = [0.0] * self.slots, 0.0, {}, []
        self.seen_rtt, self.seen_jitter, self.seen_bandwidth = self.rtt, 1.0, self.bandwidth

    def step(self, now):
        """Its own life goes on: tenants, heat, memory, an abrupt change of speed now and then."""
        rng, minutes = self.rng, min((now - self.last) / 6e4, 120.0)
        self.last = now
        evening = 18 <= now / HOUR % 24 < 23
        keep = np.exp(-minutes / 20)
        target = 0.65 if evening else 0.25
        self.others = float(np.clip(target + (self.others - target) * keep + rng.normal(0, 0.3) * np.sqrt(1 - keep), 0, 1))
        self.cpu = float(np.clip(0.6 * self.others + rng.normal(0.1, 0.08), 0, 1))
        self.memory = float(np.clip(self.memory + rng.normal(0, 0.04) * np.sqrt(min(minutes, 10)), 0.2, 0.98))
        self.heat = float(np.clip(self.heat * np.exp(-minutes / 15) + 0.15 * self.others, 0, 1))
        if self.drifts and now > self.next_drift:
            self.drift, self.next_drift = rng.choice([0.6, 0.8, 1.0, 1.5]), now + rng.exponential(14 * HOUR)

    def throttle(self):
        return max(0.0, 0.5 * (self.heat - 0.6))

    def line_factor(self, now):
        return 2.2 if self.evening and 20 <= now / HOUR % 24 < 21.5 else 1.0

    def execution(self, kind, cost, pixels, running):
        """Execution of a task as it really is; the cost is the coordinator's estimate."""
        rng = self.rng
        true_cost = cost * (1 + 800 / (pixels + 200)) * rng.lognormal(0, 0.09)
        rate = self.mrays * 1e3 * self.kind_rate[kind] / self.drift
        contention = 1 + 0.9 * self.others ** 3 + 0.12 * max(0, running - 3)
        short_of_memory = 1 + 4 * max(0.0, self.memory - 0.85)
        straggler = rng.uniform(1.5, 4) if rng.random() < 0.02 else 1.0
        return (1.5 + true_cost / rate * contention * short_of_memory / (1 - self.throttle())) * straggler


def offer(peer, now, kind, rng):
    """One task: what was known at the offer, and what came of it."""
    peer.step(now)
    peer.held = [(end, expected) for end, expected in peer.held if end > now]
    in_flight = len(peer.held)
    if in_flight >= MAX_IN_FLIGHT:
        return None
    # What is overdue is expected to stay so for as long again.
    backlog = max([abs(expected - now) for _, expected in peer.held], default=0.0)
    pixels = float(rng.choice([32, 64, 96, 128]) * rng.choice([32, 64, 128])) if kind in KINDS[:2] else 0.0
    cost = 2e6 * rng.lognormal(0, 0.7)
    size = (pixels or 4000) * rng.uniform(2, 9)
    queued = in_flight + int(rng.poisson(1.5 * peer.others ** 2))
    others_ms = sum(peer.execution(kind, 1e6, 4096, 1) for _ in range(queued - in_flight))
    slot = int(np.argmin(peer.free))
    start = max(peer.free[slot], now + peer.rtt / 2) + others_ms
    execution = peer.execution(kind, cost, pixels or 4096, in_flight + 1)
    factor = peer.line_factor(now)
    rtt = peer.rtt * factor * rng.lognormal(0, 0.08) + rng.exponential(0.5)
    transfer = size / (peer.bandwidth / factor) * rng.lognormal(0, 0.2)
    fails = rng.random() < (max(peer.failing, 0.2) if peer.others > 0.95 else peer.failing)
    if fails:
        execution *= rng.uniform(0, 1)
    peer.free[slot] = start + execution
    total = start - (now + peer.rtt / 2) + execution + rtt + transfer + rng.exponential(1.0)
    # What the coordinator sees: smoothed measurements from before, and its own expectation of the queue.
    seen = (peer.seen_rtt, peer.seen_jitter, peer.seen_bandwidth)
    expected = (backlog + (queued - in_flight) * 1.5e6 / peer.estimate.get(kind, peer.announced * 1e3)
                + cost / peer.estimate.get(kind, peer.announced * 1e3) + peer.seen_rtt + size / peer.seen_bandwidth)
    peer.held.append((now + total, now + expected))
    row = [now, peer.index, kind, peer.announced, cost, pixels, size, backlog, in_flight, queued, *seen,
           np.clip(peer.others + rng.normal(0, 0.03), 0, 1), np.clip(peer.cpu + rng.normal(0, 0.03), 0, 1), peer.memory,
           peer.throttle(), 45 + 45 * peer.heat, now / 1e3 % 4e5, "failed" if fails else "success", total,
           start - (now + peer.rtt / 2), execution]
    if not fails:
        peer.seen_jitter += 0.1 * (abs(rtt - peer.seen_rtt) - peer.seen_jitter)
        peer.seen_rtt += 0.15 * (rtt - peer.seen_rtt)
        peer.seen_bandwidth += 0.1 * (size / transfer - peer.seen_bandwidth)
        measured = cost / execution
        peer.estimate[kind] = 0.85 * peer.estimate.get(kind, measured) + 0.15 * measured
    return row


def main():
    out, seed = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1
    rows = int(sys.argv[3]) if len(sys.argv) > 3 else 12000
    rng = np.random.default_rng(seed)
    peers = [Peer(index, rng) for index in range(len(PEERS))]
    days = 6 * 24 * HOUR
    # Bursts of work: sessions of frames, in which every peer gets a task every now and then.
    starts = np.sort(rng.uniform(0, days, 240))
    offers = []
    for start in starts:
        for index in range(len(PEERS)):
            at = start
            for _ in range(rows * 5 // 4 // len(starts) // len(PEERS) + 1):
                at += rng.exponential(30.0 + 2.5e3 / peers[index].mrays)
                heapq.heappush(offers, (at, index))
    with open(out, "w", encoding="utf-8") as file:
        file.write(",".join(COLUMNS) + "\n")
        while offers and rows > 0:
            now, index = heapq.heappop(offers)
            kind = KINDS[int(rng.choice(5, p=[0.5, 0.2, 0.1, 0.15, 0.05]))]
            row = offer(peers[index], now, kind, rng)
            if row is None:
                continue
            rows -= 1
            file.write(",".join(value if isinstance(value, str) else f"{value:.6g}" if i else f"{value:.3f}"
                                for i, value in enumerate(row)) + "\n")


main()
