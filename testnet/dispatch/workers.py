"""Round trip and throughput of tasks of almost no work with results of 48 KiB, on four workers of Ray or Dask."""

import statistics
import sys
import time

import numpy

WORKERS = 4
BATCH = 1024
SINGLES = 200


def tile(_index):
    return numpy.zeros((64, 64, 3), numpy.float32)


def measure(name, one, many):
    """`one` runs one task to its result, `many` runs a list of them together."""
    many(range(64))
    round_trips_ms = []
    for index in range(SINGLES):
        started = time.perf_counter()
        one(index)
        round_trips_ms.append((time.perf_counter() - started) * 1e3)
    started = time.perf_counter()
    many(range(BATCH))
    tiles_per_s = BATCH / (time.perf_counter() - started)
    print(f"{name}: one at a time {statistics.median(round_trips_ms):.2f} ms median, "
          f"{BATCH} at once {tiles_per_s:.0f} tiles/s")


def run_ray():
    import ray

    ray.init(num_cpus=WORKERS, include_dashboard=False, logging_level="ERROR")
    remote = ray.remote(tile)
    measure("Ray", lambda index: ray.get(remote.remote(index)),
            lambda indices: ray.get([remote.remote(index) for index in indices]))


def run_dask():
    from dask.distributed import Client, LocalCluster

    with LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        measure("Dask", lambda index: client.submit(tile, index, pure=False).result(),
                lambda indices: client.gather(client.map(tile, indices, pure=False)))


if __name__ == "__main__":
    {"ray": run_ray, "dask": run_dask}[sys.argv[1]]()
