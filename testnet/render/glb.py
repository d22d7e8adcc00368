"""Changes the JSON of a GLB, and reads what the example export_scene wrote."""

import json
import pathlib
import struct

import numpy as np

MAGIC = 0x46546C67
JSON_CHUNK = 0x4E4F534A


def make_diffuse(source, target):
    """Copies a GLB with every dielectric at an index of refraction of 1: no lobe on top, only the diffuse layer."""
    data = pathlib.Path(source).read_bytes()
    magic, version, _ = struct.unpack_from("<III", data)
    length, kind = struct.unpack_from("<II", data, 12)
    if magic != MAGIC or kind != JSON_CHUNK:
        raise SystemExit(f"{source} is no GLB with its JSON in front")
    document = json.loads(data[20 : 20 + length])
    for material in document.get("materials", []):
        material.setdefault("extensions", {})["KHR_materials_ior"] = {"ior": 1.0}
        material.setdefault("pbrMetallicRoughness", {})["metallicFactor"] = 0.0
    used = set(document.get("extensionsUsed", [])) | {"KHR_materials_ior"}
    document["extensionsUsed"] = sorted(used)
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + length :]
    head = struct.pack("<III", magic, version, 20 + len(text) + len(rest))
    pathlib.Path(target).write_bytes(head + struct.pack("<II", len(text), JSON_CHUNK) + text + rest)


class Exported:
    """A folder that export_scene wrote."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.description = json.loads((self.folder / "scene.json").read_text())
        self.materials = self.description["materials"]
        self.camera = self.description["cameras"][0]
        self.corners = self._floats("triangles.bin", 3)
        self.normals = self._floats("normals.bin", 3)
        self.uvs = self._floats("uvs.bin", 2)
        self.material_of = np.fromfile(self.folder / "materials.bin", "<u4")

    def _floats(self, name, width):
        return np.fromfile(self.folder / name, "<f4").reshape(-1, 3, width)

    def rays(self, name):
        """Origins and directions."""
        rays = np.fromfile(self.folder / f"{name}.bin", "<f4").reshape(-1, 6)
        return np.ascontiguousarray(rays[:, :3]), np.ascontiguousarray(rays[:, 3:])

    def picture(self, material, key):
        """The path of a material's texture, or None."""
        name = material[key]
        return str(self.folder / name) if name else None

    def groups(self):
        """For each material that is used: it, and its triangles' corners, normals and texture coordinates."""
        for index in np.unique(self.material_of):
            chosen = self.material_of == index
            yield int(index), self.materials[index], self.corners[chosen], self.normals[chosen], self.uvs[chosen]


def is_light(material):
    """Whether a material shines."""
    return any(channel > 0.0 for channel in material["emission"])
