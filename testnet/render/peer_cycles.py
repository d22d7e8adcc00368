"""An exported scene in Cycles, through Blender as the Python package `bpy` (https://docs.blender.org/api)."""

import math
import tempfile

import bpy
import numpy as np


def to_blender(vectors):
    """Blender's z points up."""
    return np.stack([vectors[..., 0], -vectors[..., 2], vectors[..., 1]], axis=-1)


def material_of(exported, index, material):
    """Diffuse where the dielectric has no lobe on top, else Blender's principled surface. No normal maps."""
    made = bpy.data.materials.new(f"material{index}")
    made.use_nodes = True
    tree = made.node_tree
    tree.nodes.clear()
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    color = [*material["base_color"], 1.0]
    if any(material["emission"]):
        surface = tree.nodes.new("ShaderNodeEmission")
        strength = max(material["emission"])
        surface.inputs["Color"].default_value = [channel / strength for channel in material["emission"]] + [1.0]
        surface.inputs["Strength"].default_value = strength
        tree.links.new(surface.outputs[0], output.inputs["Surface"])
        return made
    if material["dielectric_f0"] == 0.0 and material["metallic"] == 0.0:
        surface = tree.nodes.new("ShaderNodeBsdfDiffuse")
        entry = surface.inputs["Color"]
    else:
        surface = tree.nodes.new("ShaderNodeBsdfPrincipled")
        entry = surface.inputs["Base Color"]
        surface.inputs["Metallic"].default_value = material["metallic"]
        surface.inputs["Roughness"].default_value = material["roughness"]
    entry.default_value = color
    path = exported.picture(material, "base_color_texture")
    if path:
        picture = tree.nodes.new("ShaderNodeTexImage")
        picture.image = bpy.data.images.load(path)
        tree.links.new(picture.outputs["Color"], entry)
    tree.links.new(surface.outputs[0], output.inputs["Surface"])
    return made


def add_meshes(exported):
    for index, material, corners, _, uvs in exported.groups():
        mesh = bpy.data.meshes.new(f"mesh{index}")
        points = to_blender(corners.reshape(-1, 3))
        faces = np.arange(len(points)).reshape(-1, 3)
        mesh.from_pydata(points.tolist(), [], faces.tolist())
        layer = mesh.uv_layers.new()
        layer.data.foreach_set("uv", (uvs.reshape(-1, 2) * [1.0, -1.0] + [0.0, 1.0]).ravel().astype(np.float32))
        mesh.materials.append(material_of(exported, index, material))
        bpy.context.collection.objects.link(bpy.data.objects.new(f"mesh{index}", mesh))


def add_camera(exported):
    import mathutils

    camera = exported.camera
    data = bpy.data.cameras.new("camera")
    data.sensor_fit = "VERTICAL"
    data.angle_y = 2 * math.atan(camera["tan_half_fov_y"])
    placed = bpy.data.objects.new("camera", data)
    right, up = to_blender(np.array(camera["right"])), to_blender(np.array(camera["up"]))
    back = -to_blender(np.array(camera["forward"]))
    turned = mathutils.Matrix(np.stack([right, up, back], axis=1).tolist()).to_4x4()
    placed.matrix_world = mathutils.Matrix.Translation(to_blender(np.array(camera["origin"])).tolist()) @ turned
    bpy.context.collection.objects.link(placed)
    bpy.context.scene.camera = placed


class Renderer:
    """Renders the scene again and again."""

    def __init__(self, exported, size_px, spp, segments, threads):
        bpy.ops.wm.read_factory_settings(use_empty=True)
        add_meshes(exported)
        add_camera(exported)
        scene = bpy.context.scene
        scene.render.engine = "CYCLES"
        cycles = scene.cycles
        cycles.device = "CPU"
        cycles.samples = spp
        cycles.use_adaptive_sampling = cycles.use_denoising = False
        # The light that is seen is no bounce to Cycles, and neither is direct light.
        bounces = segments - 2
        cycles.max_bounces = cycles.diffuse_bounces = cycles.glossy_bounces = bounces
        cycles.sample_clamp_indirect = cycles.sample_clamp_direct = 0.0
        scene.render.resolution_x, scene.render.resolution_y = size_px
        scene.render.resolution_percentage = 100
        scene.render.threads_mode = "FIXED"
        scene.render.threads = threads
        scene.render.use_persistent_data = True
        scene.view_settings.view_transform = "Raw"
        scene.render.image_settings.file_format = "OPEN_EXR"
        self.picture = tempfile.NamedTemporaryFile(suffix=".exr")
        scene.render.filepath = self.picture.name
        world = bpy.data.worlds.new("world")
        world.use_nodes = True
        world.node_tree.nodes.clear()
        output = world.node_tree.nodes.new("ShaderNodeOutputWorld")
        background = world.node_tree.nodes.new("ShaderNodeBackground")
        sky = np.mean(exported.description["sky_down_up"], axis=0).tolist()
        background.inputs["Color"].default_value = [*sky, 1.0]
        world.node_tree.links.new(background.outputs[0], output.inputs["Surface"])
        scene.world = world

    def render(self):
        bpy.ops.render.render(write_still=True)

    def mean(self):
        """Of the last picture, linear."""
        image = bpy.data.images.load(self.picture.name)
        values = np.array(image.pixels[:]).reshape(-1, 4)[:, :3]
        return float(values.mean())
