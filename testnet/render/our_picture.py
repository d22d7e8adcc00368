"""A picture of ours as numbers, for pictures of others to be held against."""

import subprocess

import numpy as np
import OpenEXR


def rendered(node, scene, target, size_px, spp, segments):
    """Renders the scene into the EXR file `target`; its pixels, linear, rows from the top."""
    size = f"{size_px[0]}x{size_px[1]}"
    command = [node, "--data-dir", str(target.parent / "data"), "render", str(scene), "--local", "-o", str(target)]
    command += ["--size", size, "--spp", str(spp), "--max-depth", str(segments), "--backend", "cpu", "--quiet"]
    subprocess.check_call(command)
    with OpenEXR.File(str(target)) as file:
        channels = file.channels()
        if "RGB" in channels:
            return np.asarray(channels["RGB"].pixels, np.float64)
        return np.stack([np.asarray(channels[name].pixels, np.float64) for name in "RGB"], axis=-1)
