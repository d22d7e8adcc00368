"""The Cornell box, purely diffuse, in ours and in Mitsuba 3: are the pictures the same?

python mitsuba_cornell.py NODE EXPORT_EXAMPLE [SPP]
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np

import peer_mitsuba
from glb import Exported, make_diffuse
from our_picture import rendered

SIZE_PX = (128, 128)
SEGMENTS = 6
# Samples of each pixel that Mitsuba takes at a time: its wavefront keeps all of them in memory.
SPP_AT_A_TIME = 64
# Relative mean squared error above which the pictures count as different.
MAX_ERROR = 1e-3


def relative_mse(image, reference):
    """Mean of (a - b)^2 / (b^2 + 0.01 mean(b)^2)."""
    return float(np.mean((image - reference) ** 2 / (reference**2 + 0.01 * np.mean(reference) ** 2)))


def theirs(folder, spp):
    """Mitsuba's picture."""
    try:
        mi = peer_mitsuba.load("llvm_ad_rgb")
    except SystemExit as reason:
        print(f"{reason}: taking the scalar variant", file=sys.stderr)
        mi = peer_mitsuba.load("scalar_rgb")
    scene = peer_mitsuba.build(mi, Exported(folder), SIZE_PX, SEGMENTS)
    rounds = max(spp // SPP_AT_A_TIME, 1)
    total = np.zeros((SIZE_PX[1], SIZE_PX[0], 3))
    for seed in range(rounds):
        total += np.array(mi.render(scene, seed=seed, spp=SPP_AT_A_TIME), np.float64)
    return total / rounds


def main(node, example, spp=4096):
    spp = int(spp)
    with tempfile.TemporaryDirectory(prefix="p2c2r-cornell-") as folder:
        folder = pathlib.Path(folder)
        scene, diffuse = folder / "cornell.glb", folder / "diffuse.glb"
        subprocess.check_call([node, "scene", "cornell", "-o", str(scene)])
        make_diffuse(scene, diffuse)
        subprocess.check_call([example, str(diffuse), str(folder / "exported")])
        a = rendered(node, diffuse, folder / "ours.exr", SIZE_PX, spp, SEGMENTS)
        b = theirs(folder / "exported", spp)
    error = relative_mse(a, b)
    print(f"mean: p2c2r {a.mean():.5f}, Mitsuba {b.mean():.5f}, ratio {a.mean() / b.mean():.5f}")
    print(f"relative mean squared error at {spp} samples a pixel: {error:.2e}")
    if error > MAX_ERROR:
        rows = (a.mean(axis=(1, 2)) / b.mean(axis=(1, 2)))[:: SIZE_PX[1] // 8]
        print("ratio of every sixteenth row:", np.round(rows, 3).tolist())
        raise SystemExit(f"more than {MAX_ERROR}: one of the two is wrong")


if __name__ == "__main__":
    main(*sys.argv[1:])
