"""Times one peer on one exported scene: python one_peer.py PEER FOLDER SPP SEGMENTS THREADS

Prints a line of JSON. The first picture warms caches and compilers up; the second counts. Only rendering is timed.
"""

import json
import os
import sys
import time

from glb import Exported

SIZE_PX = (640, 360)


def renderer(peer, *arguments):
    """One that is called by its name."""
    if peer == "cycles":
        from peer_cycles import Renderer

        return Renderer(*arguments)
    if peer == "luxcore":
        from peer_luxcore import Renderer

        return Renderer(*arguments)
    from peer_mitsuba import Renderer

    return Renderer(*arguments, {"mitsuba-llvm": "llvm_ad_rgb", "mitsuba-scalar": "scalar_rgb"}[peer])


def main(peer, folder, spp, segments, threads):
    # Peers talk on standard output; only the figures belong there.
    figures = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    spp = int(spp)
    made = renderer(peer, Exported(folder), SIZE_PX, spp, int(segments), int(threads))
    made.render()
    started, used_before_s = time.perf_counter(), time.process_time()
    made.render()
    elapsed_s, used_s = time.perf_counter() - started, time.process_time() - used_before_s
    samples = SIZE_PX[0] * SIZE_PX[1] * spp
    found = {"peer": peer, "samples_per_s": samples / elapsed_s, "samples_per_cpu_s": samples / used_s}
    print(json.dumps(found | {"mean": made.mean()}), file=figures, flush=True)
    # Some peers crash while they are taken down; what counts is written.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:6])
