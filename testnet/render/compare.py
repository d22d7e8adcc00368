"""Million samples per second of rendering, ours and the peers', one after the other in each of three rounds.

python compare.py NODE EXPORT_EXAMPLE PEER... in an environment that has the peers. SPP and ROUNDS are environment
variables.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from our_picture import rendered

HERE = pathlib.Path(__file__).parent
SPP = int(os.environ.get("SPP", "16"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SEGMENTS, THREADS, SIZE_PX = 4, 2, (640, 360)
# Scenes that mean the same to every renderer, and the share by which their mean pixels may still differ.
SAME_EVERYWHERE, MAX_MEAN_DIFFERENCE = ("knot",), 0.01
# A peer that needs longer for one round is taken for hung.
PATIENCE_S = 600
DIFFERENCES = """\
Both scenes: 640x360, box filter, no denoiser, no early end by noise.
knot: the same materials, light and path lengths in all.
city: the peers have no normal maps, no textures of roughness, metal or emission, one mean colour of the sky, and no
lights without extent; metals and glossy surfaces are Mitsuba's and Blender's `principled` and LuxCore's `disney`;
what shines scatters nothing in Cycles and shines to one side only in Mitsuba. The mean pixels say how far this goes."""


def of_ours(node, scene):
    size = f"{SIZE_PX[0]}x{SIZE_PX[1]}"
    command = [node, "bench", "render", "--scene", str(scene), "--size", size, "--spp", str(SPP)]
    command += ["--max-depth", str(SEGMENTS), "--threads", str(THREADS), "--backend", "cpu", "--repeats", "1", "--json"]
    found = json.loads(subprocess.check_output(command, stderr=subprocess.DEVNULL))
    return {name: found["scenes"][0][name] for name in ("samples_per_s", "samples_per_cpu_s")}


def of_peer(peer, folder):
    command = [sys.executable, str(HERE / "one_peer.py"), peer, str(folder), str(SPP), str(SEGMENTS), str(THREADS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    if done.returncode != 0 or not done.stdout.strip():
        reason = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise RuntimeError(reason)
    return json.loads(done.stdout.strip().splitlines()[-1])


def measured(node, scene, folder, peers):
    """The best of the rounds of each system that works."""
    best, skipped = {}, set()
    for number in range(ROUNDS):
        systems = ["p2c2r", *peers]
        # Every other round backwards, so that nobody always follows the same one.
        for system in systems if number % 2 == 0 else reversed(systems):
            if system in skipped:
                continue
            try:
                figure = of_ours(node, scene) if system == "p2c2r" else of_peer(system, folder)
            except (RuntimeError, subprocess.TimeoutExpired) as reason:
                print(f"SKIPPED: {system}: {reason}", file=sys.stderr)
                skipped.add(system)
                continue
            known = best.setdefault(system, figure)
            for rate in ("samples_per_s", "samples_per_cpu_s"):
                known[rate] = max(known[rate], figure[rate])
    return best


def main(node, example, *peers):
    results = {}
    with tempfile.TemporaryDirectory(prefix="p2c2r-render-") as folder:
        folder = pathlib.Path(folder)
        for name in ("knot", "city"):
            scene, exported = folder / f"{name}.glb", folder / name
            command = [node, "scene", name, "-o", str(scene), "--triangles", "200000"]
            subprocess.check_call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            subprocess.check_call([example, str(scene), str(exported)])
            results[name] = measured(node, scene, exported, peers)
            picture = rendered(node, scene, folder / f"{name}.exr", SIZE_PX, SPP, SEGMENTS)
            results[name]["p2c2r"]["mean"] = float(picture.mean())
    print(DIFFERENCES)
    print(f"best of {ROUNDS}, {SPP} samples a pixel, {SEGMENTS} segments, {THREADS} threads")
    print(
        f"{'scene':5} {'renderer':15} {'Msamples/s':>10} {'ours/theirs':>11} {'per CPU-s':>10} {'ours/theirs':>11} "
        f"{'mean pixel':>10}"
    )
    for name, best in results.items():
        ours = best["p2c2r"]
        for system, figure in best.items():
            for rate in ("samples_per_s", "samples_per_cpu_s"):
                figure[f"ratio_{rate}"] = ours[rate] / figure[rate]
            print(
                f"{name:5} {system:15} {figure['samples_per_s'] / 1e6:10.3f} {figure['ratio_samples_per_s']:11.2f} "
                f"{figure['samples_per_cpu_s'] / 1e6:10.3f} {figure['ratio_samples_per_cpu_s']:11.2f} "
                f"{figure['mean']:10.4f}"
            )
    print(json.dumps({"samples_per_pixel": SPP, "segments": SEGMENTS, "threads": THREADS, "scenes": results}))
    check_means(results)


def check_means(results):
    """Renderers of the same light show the same picture, else their speeds say nothing."""
    for name in SAME_EVERYWHERE:
        ours = results[name]["p2c2r"]["mean"]
        for system, figure in results[name].items():
            if abs(figure["mean"] / ours - 1.0) > MAX_MEAN_DIFFERENCE:
                raise SystemExit(f"{name}: {system} shows a mean of {figure['mean']:.4f}, we of {ours:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
