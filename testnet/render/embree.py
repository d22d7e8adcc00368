"""Closest-hit rays per second of processor time, in one thread: ours and Embree's, on the same triangles and rays.

python embree.py EXAMPLE SCENE.glb FOLDER: the built example export_scene, the scene, and the folder that it wrote.
"""

import json
import subprocess
import sys
import time

import numpy as np
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh

from glb import Exported

ROUNDS = 5
# Hits may differ by this share: rays through the seams between triangles round differently.
MAX_HIT_DIFFERENCE = 1e-3
FAR = 1e30


def of_embree(scene, rays):
    """Rays, hits and speed of each set of rays."""
    figures = {}
    for name, (origins, directions) in rays.items():
        started = time.thread_time()
        distance = scene.run(origins, directions, query="DISTANCE")
        elapsed_s = time.thread_time() - started
        hits = int(np.count_nonzero(distance < FAR))
        figures[name] = {"rays": len(origins), "hits": hits, "rays_per_cpu_s": len(origins) / elapsed_s}
    return figures


def main(example, source, folder):
    exported = Exported(folder)
    scene = rtcore_scene.EmbreeScene()
    vertices = np.ascontiguousarray(exported.corners.reshape(-1, 3))
    indices = np.arange(len(vertices), dtype=np.int32).reshape(-1, 3)
    # The scene keeps no reference of its own.
    mesh = TriangleMesh(scene, vertices, indices)
    rays = {name: exported.rays(name) for name in ("primary", "secondary")}
    best = {}
    for _ in range(ROUNDS):
        ours = json.loads(subprocess.check_output([example, source, folder, "--speed"]))
        for system, figures in (("p2c2r", ours), ("embree", of_embree(scene, rays))):
            for name, figure in figures.items():
                known = best.setdefault(name, {}).setdefault(system, figure)
                if figure["rays_per_cpu_s"] > known["rays_per_cpu_s"]:
                    best[name][system] = figure
    del mesh
    agreed = True
    for name, figure in best.items():
        ours, theirs = figure["p2c2r"], figure["embree"]
        figure["ratio"] = ours["rays_per_cpu_s"] / theirs["rays_per_cpu_s"]
        difference = abs(ours["hits"] - theirs["hits"]) / max(theirs["hits"], 1)
        figure["hit_difference"] = difference
        agreed &= difference <= MAX_HIT_DIFFERENCE
        print(
            f"{name:9}: p2c2r {ours['rays_per_cpu_s'] / 1e6:6.2f} Mrays/CPU-s, "
            f"Embree {theirs['rays_per_cpu_s'] / 1e6:6.2f}, ratio {figure['ratio']:.2f}; "
            f"hits {ours['hits']} and {theirs['hits']} of {ours['rays']}"
        )
    print(json.dumps(best))
    if not agreed:
        raise SystemExit("the hits differ by more than 0.1 %: one of the two is wrong")


if __name__ == "__main__":
    main(*sys.argv[1:4])
