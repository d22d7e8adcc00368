"""An exported scene in LuxCore (https://luxcorerender.org), through the Python package `pyluxcore`. Nothing that brings
another copy of its libraries may be imported beside it."""

import math
import time

import numpy as np
import pyluxcore


def build_scene(exported, size_px):
    pyluxcore.Init()
    scene, properties = pyluxcore.Scene(), pyluxcore.Properties()

    def put(key, value):
        properties.Set(pyluxcore.Property(key, value))

    for index, material, corners, _, uvs in exported.groups():
        points = [tuple(map(float, point)) for point in corners.reshape(-1, 3)]
        faces = [(3 * face, 3 * face + 1, 3 * face + 2) for face in range(len(corners))]
        texture = [tuple(map(float, uv)) for uv in uvs.reshape(-1, 2) * [1.0, -1.0] + [0.0, 1.0]]
        scene.DefineMesh(f"mesh{index}", points, faces, None, texture, None, None)
        name = f"scene.materials.m{index}"
        color = material["base_color"]
        path = exported.picture(material, "base_color_texture")
        if path:
            put(f"scene.textures.t{index}.type", "imagemap")
            put(f"scene.textures.t{index}.file", path)
            color = f"t{index}"
        if material["dielectric_f0"] == 0.0 and material["metallic"] == 0.0:
            put(f"{name}.type", "matte")
            put(f"{name}.kd", color)
        else:
            put(f"{name}.type", "disney")
            put(f"{name}.basecolor", color)
            put(f"{name}.metallic", material["metallic"])
            put(f"{name}.roughness", material["roughness"])
        if any(material["emission"]):
            put(f"{name}.emission", material["emission"])
        put(f"scene.objects.o{index}.shape", f"mesh{index}")
        put(f"scene.objects.o{index}.material", f"m{index}")
    camera = exported.camera
    origin = np.array(camera["origin"], float)
    put("scene.camera.lookat.orig", origin.tolist())
    put("scene.camera.lookat.target", (origin + camera["forward"]).tolist())
    put("scene.camera.up", [float(part) for part in camera["up"]])
    # Of the longer side.
    wide = max(size_px[0] / size_px[1], 1.0)
    put("scene.camera.fieldofview", math.degrees(2 * math.atan(camera["tan_half_fov_y"] * wide)))
    sky = np.mean(exported.description["sky_down_up"], axis=0)
    if sky.any():
        put("scene.lights.sky.type", "constantinfinite")
        put("scene.lights.sky.color", sky.tolist())
    scene.Parse(properties)
    return scene


class Renderer:
    """Renders the scene again and again."""

    def __init__(self, exported, size_px, spp, segments, threads):
        self.scene = build_scene(exported, size_px)
        settings = {
            "renderengine.type": "PATHCPU",
            "sampler.type": "RANDOM",
            "native.threads.count": [threads],
            "film.width": [size_px[0]],
            "film.height": [size_px[1]],
            "film.filter.type": "NONE",
            "path.pathdepth.total": [segments],
            "path.pathdepth.diffuse": [segments],
            "path.pathdepth.glossy": [segments],
            "path.russianroulette.depth": [100],
            "batch.haltspp": [spp],
            "accelerator.type": "EMBREE",
        }
        properties = pyluxcore.Properties()
        for key, value in settings.items():
            properties.Set(pyluxcore.Property(key, value))
        self.config = pyluxcore.RenderConfig(properties, self.scene)
        self.size_px = size_px
        self.values = None

    def render(self):
        session = pyluxcore.RenderSession(self.config)
        session.Start()
        while not session.HasDone():
            time.sleep(0.005)
            session.UpdateStats()
        self.values = np.zeros(self.size_px[0] * self.size_px[1] * 3, np.float32)
        session.GetFilm().GetOutputFloat(pyluxcore.FilmOutputType.RGB, self.values, 0)
        session.Stop()

    def mean(self):
        """Of the last picture, linear."""
        return float(self.values.mean())
