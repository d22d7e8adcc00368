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

from glb import make_diffuse

HERE = pathlib.Path(__file__).parent
SPP = int(os.environ.get("SPP", "16"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SEGMENTS, THREADS = 4, 2
# A peer that needs longer for one round is taken for hung.
PATIENCE_S = 600
DIFFERENCES = """\
Both scenes: 640x360, box filter, no denoiser, no early end by noise.
diffuse: the same materials, light and path lengths in all; the mean pixels agree.
city: the peers have no normal maps, no textures of roughness, metal or emission, one mean colour of the sky, and no
lights without extent; metals and glossy surfaces are Mitsuba's and Blender's `principled` and LuxCore's `disney`;
what shines scatters nothing in Cycles and shines to one side only in Mitsuba. The mean pixels say how far this goes."""


def of_ours(node, scene):
    command = [node, "bench", "render", "--scene", str(scene), "--size", "640x360", "--spp", str(SPP)]
    command += ["--max-depth", str(SEGMENTS), "--threads", str(THREADS), "--backend", "cpu", "--repeats", "1", "--json"]
    found = json.loads(subprocess.check_output(command, stderr=subprocess.DEVNULL))
    return {"samples_per_s": found["scenes"][0]["samples_per_s"]}


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
            if figure["samples_per_s"] > best.get(system, {"samples_per_s": 0.0})["samples_per_s"]:
                best[system] = figure
    return best


def main(node, example, *peers):
    results = {}
    with tempfile.TemporaryDirectory(prefix="p2c2r-render-") as folder:
        folder = pathlib.Path(folder)
        for name in ("cornell", "city"):
            made = folder / f"{name}.glb"
            command = [node, "scene", name, "-o", str(made), "--triangles", "200000"]
            subprocess.check_call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        make_diffuse(folder / "cornell.glb", folder / "diffuse.glb")
        for name in ("diffuse", "city"):
            scene, exported = folder / f"{name}.glb", folder / name
            subprocess.check_call([example, str(scene), str(exported)])
            results[name] = measured(node, scene, exported, peers)
    print(DIFFERENCES)
    print(f"{'scene':8} {'renderer':15} {'Msamples/s':>10} {'ours/theirs':>11} {'mean pixel':>10}")
    for name, best in results.items():
        ours = best["p2c2r"]["samples_per_s"]
        for system, figure in best.items():
            figure["ratio"] = ours / figure["samples_per_s"]
            mean = f"{figure['mean']:10.4f}" if "mean" in figure else f"{'':10}"
            print(f"{name:8} {system:15} {figure['samples_per_s'] / 1e6:10.3f} {figure['ratio']:11.2f} {mean}")
    print(json.dumps({"samples_per_pixel": SPP, "segments": SEGMENTS, "threads": THREADS, "scenes": results}))


if __name__ == "__main__":
    main(*sys.argv[1:])
