"""An exported scene in Mitsuba 3 (https://mitsuba.readthedocs.io)."""

import glob
import os

import numpy as np


def find_llvm():
    """Debian keeps its LLVM where Mitsuba does not look; 14 to 16 are too old for it."""
    found = sorted(glob.glob("/usr/lib/llvm-*/lib/libLLVM*.so*") + glob.glob("/usr/lib/*/libLLVM*.so*"))
    for version in ("20", "19", "18", "17"):
        for path in found:
            if f"llvm-{version}" in path or f"LLVM-{version}" in path or f"LLVM.so.{version}" in path:
                return path
    return None


def load(variant):
    """The package, set to a variant."""
    if variant.startswith("llvm") and "DRJIT_LIBLLVM_PATH" not in os.environ:
        path = find_llvm()
        if path is None:
            raise SystemExit("no LLVM of version 17 or later was found: install Debian's libllvm19")
        os.environ["DRJIT_LIBLLVM_PATH"] = path
    import mitsuba

    mitsuba.set_variant(variant)
    return mitsuba


def bsdf_of(exported, material):
    """Diffuse where the dielectric has no lobe on top, else Mitsuba's `principled`. It has neither normal maps nor the
    textured roughness here; its Fresnel terms are exact where ours are Schlick's."""
    path = exported.picture(material, "base_color_texture")
    color = {"type": "bitmap", "filename": path} if path else {"type": "rgb", "value": material["base_color"]}
    if material["dielectric_f0"] == 0.0 and material["metallic"] == 0.0:
        return {"type": "twosided", "bsdf": {"type": "diffuse", "reflectance": color}}
    principled = {
        "type": "principled",
        "base_color": color,
        "metallic": material["metallic"],
        "roughness": max(material["roughness"], 0.05),
        "specular": 0.5,
    }
    return {"type": "twosided", "bsdf": principled}


def mesh_of(mi, exported, name, material, corners, normals, uvs):
    """A mesh of separate triangles."""
    properties = mi.Properties()
    properties["bsdf"] = mi.load_dict(bsdf_of(exported, material))
    if any(material["emission"]):
        radiance = {"type": "rgb", "value": material["emission"]}
        properties["emitter"] = mi.load_dict({"type": "area", "radiance": radiance})
    count = len(corners)
    mesh = mi.Mesh(
        name,
        vertex_count=3 * count,
        face_count=count,
        has_vertex_normals=True,
        has_vertex_texcoords=True,
        props=properties,
    )
    parameters = mi.traverse(mesh)
    parameters["vertex_positions"] = corners.ravel().astype(np.float32)
    parameters["vertex_normals"] = normals.ravel().astype(np.float32)
    # Ours counts v downwards, Mitsuba upwards.
    parameters["vertex_texcoords"] = (uvs * [1.0, -1.0] + [0.0, 1.0]).ravel().astype(np.float32)
    parameters["faces"] = np.arange(3 * count, dtype=np.uint32)
    parameters.update()
    return mesh


def build(mi, exported, size_px, segments):
    """The scene. `segments` are those of the longest path from the camera to a light, as ours counts them; so does
    Mitsuba's `max_depth`: 1 is a light that is seen, 2 direct light on a surface."""
    camera = exported.camera
    origin, forward = np.array(camera["origin"]), np.array(camera["forward"])
    look = mi.ScalarTransform4f().look_at(
        origin=origin.tolist(), target=(origin + forward).tolist(), up=camera["up"]
    )
    scene = {
        "type": "scene",
        "integrator": {"type": "path", "max_depth": segments, "rr_depth": 3 + 1},
        "sensor": {
            "type": "perspective",
            "fov_axis": "y",
            "fov": float(2 * np.degrees(np.arctan(camera["tan_half_fov_y"]))),
            "to_world": look,
            "film": {
                "type": "hdrfilm",
                "width": size_px[0],
                "height": size_px[1],
                "rfilter": {"type": "box"},
                "pixel_format": "rgb",
            },
            "sampler": {"type": "independent"},
        },
    }
    for index, material, corners, normals, uvs in exported.groups():
        scene[f"mesh{index}"] = mesh_of(mi, exported, f"mesh{index}", material, corners, normals, uvs)
    sky = np.mean(exported.description["sky_down_up"], axis=0)
    if sky.any():
        scene["sky"] = {"type": "constant", "radiance": {"type": "rgb", "value": sky.tolist()}}
    return mi.load_dict(scene, parallel=False)


class Renderer:
    """Renders the scene again and again."""

    def __init__(self, exported, size_px, spp, segments, threads, variant):
        self.mi = load(variant)
        import drjit

        drjit.set_thread_count(threads)
        self.scene = build(self.mi, exported, size_px, segments)
        self.spp, self.seed, self.values = spp, 0, None

    def render(self):
        self.values = np.array(self.mi.render(self.scene, seed=self.seed, spp=self.spp))
        self.seed += 1

    def mean(self):
        """Of the last picture, linear."""
        return float(self.values.mean())
