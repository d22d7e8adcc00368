// The twin of scene/affine.rs and of the instances in prepared/mod.rs.

fn affine_row(row: vec4<f32>, p: vec3<f32>) -> f32 {
    return row.x * p.x + row.y * p.y + row.z * p.z + row.w;
}

fn linear_row(row: vec4<f32>, v: vec3<f32>) -> f32 {
    return row.x * v.x + row.y * v.y + row.z * v.z;
}

fn point_to_world(instance: u32, p: vec3<f32>) -> vec3<f32> {
    return vec3<f32>(
        affine_row(instances[instance].to_world0, p),
        affine_row(instances[instance].to_world1, p),
        affine_row(instances[instance].to_world2, p),
    );
}

fn vector_to_world(instance: u32, v: vec3<f32>) -> vec3<f32> {
    return vec3<f32>(
        linear_row(instances[instance].to_world0, v),
        linear_row(instances[instance].to_world1, v),
        linear_row(instances[instance].to_world2, v),
    );
}

fn normal_to_world(instance: u32, v: vec3<f32>) -> vec3<f32> {
    let a = instances[instance].to_mesh0;
    let b = instances[instance].to_mesh1;
    let c = instances[instance].to_mesh2;
    return vec3<f32>(
        a.x * v.x + b.x * v.y + c.x * v.z,
        a.y * v.x + b.y * v.y + c.y * v.z,
        a.z * v.x + b.z * v.y + c.z * v.z,
    );
}

// The ray in the mesh's space.
fn inward(instance: u32, ray: Ray) -> Ray {
    if (!HAS_INSTANCES || instances[instance].at_origin != 0u) {
        return ray;
    }
    return Ray(
        vec3<f32>(
            affine_row(instances[instance].to_mesh0, ray.origin),
            affine_row(instances[instance].to_mesh1, ray.origin),
            affine_row(instances[instance].to_mesh2, ray.origin),
        ),
        vec3<f32>(
            linear_row(instances[instance].to_mesh0, ray.direction),
            linear_row(instances[instance].to_mesh1, ray.direction),
            linear_row(instances[instance].to_mesh2, ray.direction),
        ),
    );
}
