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
# So many of the rays may hit something else, or only in one of the two: the seams between triangles and what lies a
# hair's breadth off a ray's origin round differently.
MAX_SHARE_APART = 1e-3
# Hits are the same whose distances differ by less: a share of the distance, or world units.
DISTANCE_SHARE, DISTANCE_LEAST = 1e-3, 1e-4
FAR = 1e30


def of_embree(scene, rays):
    """Rays, hits and speed of each set of rays."""
    figures, distances = {}, {}
    for name, (origins, directions) in rays.items():
        started = time.thread_time()
        distance = scene.run(origins, directions, query="DISTANCE")
        elapsed_s = time.thread_time() - started
        hits = int(np.count_nonzero(distance < FAR))
        figures[name] = {"rays": len(origins), "hits": hits, "rays_per_cpu_s": len(origins) / elapsed_s}
        distances[name] = np.asarray(distance)
    return figures, distances


def share_apart(ours, theirs):
    """Share of the rays that do not hit at the same distance in both."""
    hit_ours, hit_theirs = ours < FAR, theirs < FAR
    allowed = np.maximum(DISTANCE_SHARE * np.abs(theirs), DISTANCE_LEAST)
    with np.errstate(invalid="ignore", over="ignore"):
        apart = (hit_ours != hit_theirs) | (hit_ours & hit_theirs & (np.abs(ours - theirs) > allowed))
    return float(np.mean(apart))


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
        embree, distances = of_embree(scene, rays)
        for system, figures in (("p2c2r", ours), ("embree", embree)):
            for name, figure in figures.items():
                known = best.setdefault(name, {}).setdefault(system, figure)
                if figure["rays_per_cpu_s"] > known["rays_per_cpu_s"]:
                    best[name][system] = figure
    del mesh
    agreed = True
    for name, figure in best.items():
        ours, theirs = figure["p2c2r"], figure["embree"]
        figure["ratio"] = ours["rays_per_cpu_s"] / theirs["rays_per_cpu_s"]
        found = np.fromfile(exported.folder / f"{name}.distances.bin", "<f4")
        figure["share_apart"] = share_apart(found, distances[name])
        agreed &= figure["share_apart"] <= MAX_SHARE_APART
        print(
            f"{name:9}: p2c2r {ours['rays_per_cpu_s'] / 1e6:6.2f} Mrays/CPU-s, "
            f"Embree {theirs['rays_per_cpu_s'] / 1e6:6.2f}, ratio {figure['ratio']:.2f}; "
            f"{ours['hits']} of {ours['rays']} hit, apart {figure['share_apart']:.1e}"
        )
    print(json.dumps(best))
    if not agreed:
        raise SystemExit("more than 0.1 % of the rays hit at another distance: one of the two is wrong")


if __name__ == "__main__":
    main(*sys.argv[1:4])
