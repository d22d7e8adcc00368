//! Affine transforms of nodes, in `f64` with correctly rounded arithmetic only, so that every machine places every
//! vertex on the same `f32`.

use super::document::Node;
use crate::scene::Affine;

/// Three rows of four: `p' = M[row][0..3] · p + M[row][3]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Transform([[f64; 4]; 3]);

impl Transform {
    pub(super) const IDENTITY: Self =
        Self([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]);

    /// The node's own transform: its matrix if it has one, else translation · rotation · scale.
    pub(super) fn of_node(node: &Node) -> Self {
        match &node.matrix {
            Some(columns) => Self::from_columns(columns),
            None => Self::from_parts(
                node.translation.unwrap_or([0.0; 3]).map(f64::from),
                node.rotation.unwrap_or([0.0, 0.0, 0.0, 1.0]).map(f64::from),
                node.scale.unwrap_or([1.0; 3]).map(f64::from),
            ),
        }
    }

    /// Of a matrix in column-major order. The last row of an affine one is 0 0 0 1 and carries nothing.
    pub(super) fn from_columns(m: &[f32; 16]) -> Self {
        Self(std::array::from_fn(|row| std::array::from_fn(|column| f64::from(m[column * 4 + row]))))
    }

    /// The sum of transforms by their weights.
    pub(super) fn blend<'a>(parts: impl Iterator<Item = (f64, &'a Self)>) -> Self {
        let mut sum = [[0.0; 4]; 3];
        for (weight, part) in parts {
            for (sum, value) in sum.as_flattened_mut().iter_mut().zip(part.0.as_flattened()) {
                *sum += weight * value;
            }
        }
        Self(sum)
    }

    /// Translation · rotation · scale. The rotation is the matrix of a quaternion (x, y, z, w), divided by its squared
    /// length so that it need not be unit.
    pub(super) fn from_parts(translation: [f64; 3], [x, y, z, w]: [f64; 4], scale: [f64; 3]) -> Self {
        let length_squared = x * x + y * y + z * z + w * w;
        let s = if length_squared > 0.0 { 2.0 / length_squared } else { 0.0 };
        let rotation = [
            [1.0 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)],
            [s * (x * y + w * z), 1.0 - s * (x * x + z * z), s * (y * z - w * x)],
            [s * (x * z - w * y), s * (y * z + w * x), 1.0 - s * (x * x + y * y)],
        ];
        Self(std::array::from_fn(|row| {
            let [a, b, c] = rotation[row];
            [a * scale[0], b * scale[1], c * scale[2], translation[row]]
        }))
    }

    /// First `inner`, then `self`.
    pub(super) fn after(&self, inner: &Self) -> Self {
        Self(std::array::from_fn(|row| {
            std::array::from_fn(|column| {
                let [a, b, c, moved] = self.0[row];
                let product = a * inner.0[0][column] + b * inner.0[1][column] + c * inner.0[2][column];
                if column == 3 { product + moved } else { product }
            })
        }))
    }

    /// A position in the outer space.
    pub(super) fn point(&self, point: [f32; 3]) -> [f32; 3] {
        let [x, y, z] = point.map(f64::from);
        self.0.map(|[a, b, c, moved]| (a * x + b * y + c * z + moved) as f32)
    }

    /// A direction in the outer space, unit length; `None` when it vanishes.
    pub(super) fn direction(&self, vector: [f32; 3]) -> Option<[f32; 3]> {
        let [x, y, z] = vector.map(f64::from);
        unit(self.0.map(|[a, b, c, _]| a * x + b * y + c * z)).map(|unit| unit.map(|value| value as f32))
    }

    /// The map and its inverse; `None` when it flattens space or its numbers leave `f32`.
    pub(super) fn invertible(&self) -> Option<(Affine, Affine)> {
        let [x, y, z] = self.axes();
        let columns = [cross(y, z), cross(z, x), cross(x, y)];
        let determinant = dot(x, columns[0]);
        let moved = self.0.map(|row| row[3]);
        let inverse = columns.map(|row| {
            let [a, b, c] = row.map(|value| value / determinant);
            [a, b, c, -(a * moved[0] + b * moved[1] + c * moved[2])]
        });
        let rounded = |rows: [[f64; 4]; 3]| Affine(rows.map(|row| row.map(|value| value as f32)));
        let both = (rounded(self.0), rounded(inverse));
        let sound = |affine: &Affine| affine.0.as_flattened().iter().all(|value| value.abs() < 1e12);
        (sound(&both.0) && sound(&both.1)).then_some(both)
    }

    /// The images of the three unit vectors.
    pub(super) fn axes(&self) -> [[f64; 3]; 3] {
        std::array::from_fn(|column| std::array::from_fn(|row| self.0[row][column]))
    }

    /// Where the origin goes.
    pub(super) fn origin(&self) -> [f32; 3] {
        self.0.map(|row| row[3] as f32)
    }

    /// How normals go: the matrix of cofactors, which is the inverse transpose times the determinant.
    pub(super) fn normals(&self) -> NormalTransform {
        let [x, y, z] = self.axes();
        let columns = [cross(y, z), cross(z, x), cross(x, y)];
        let mirrors = dot(x, columns[0]) < 0.0;
        NormalTransform { columns, mirrors }
    }
}

/// Carries normals along with a [`Transform`].
#[derive(Debug, Clone, Copy)]
pub(super) struct NormalTransform {
    columns: [[f64; 3]; 3],
    /// The transform turns the winding of triangles around.
    pub(super) mirrors: bool,
}

impl NormalTransform {
    /// The normal in the outer space, unit length; `None` when it vanishes.
    pub(super) fn normal(&self, normal: [f32; 3]) -> Option<[f32; 3]> {
        let [x, y, z] = normal.map(f64::from);
        let sign = if self.mirrors { -1.0 } else { 1.0 };
        let [a, b, c] = self.columns;
        unit(std::array::from_fn(|axis| sign * (a[axis] * x + b[axis] * y + c[axis] * z)))
            .map(|unit| unit.map(|value| value as f32))
    }
}

pub(super) fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

pub(super) fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// The vector at length 1; `None` when it has no direction or is not finite.
pub(super) fn unit(vector: [f64; 3]) -> Option<[f64; 3]> {
    let largest = vector[0].abs().max(vector[1].abs()).max(vector[2].abs());
    if !(largest.is_finite() && largest > 0.0) {
        return None;
    }
    // Scaled first, so that the square neither vanishes nor overflows.
    let scaled = vector.map(|value| value / largest);
    let length = dot(scaled, scaled).sqrt();
    if length.is_finite() { Some(scaled.map(|value| value / length)) } else { None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "these numbers are exact")]

    use super::*;

    fn node(json: &str) -> Node {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn parts_apply_scale_then_rotation_then_translation() {
        // A quarter turn about z takes x to y.
        let turned =
            node(r#"{"translation":[1,2,3],"rotation":[0,0,0.70710678,0.70710678],"scale":[2,1,1]}"#);
        let moved = Transform::of_node(&turned).point([1.0, 0.0, 0.0]);
        assert!(
            (moved[0] - 1.0).abs() < 1e-6 && (moved[1] - 4.0).abs() < 1e-6 && (moved[2] - 3.0).abs() < 1e-6
        );
    }

    #[test]
    fn a_matrix_is_column_major() {
        let shifted = node(r#"{"matrix":[1,0,0,0, 0,1,0,0, 0,0,1,0, 5,6,7,1]}"#);
        assert_eq!(Transform::of_node(&shifted).point([1.0, 1.0, 1.0]), [6.0, 7.0, 8.0]);
    }

    #[test]
    fn normals_stay_perpendicular_under_uneven_scale_and_mirrors() {
        let uneven = node(r#"{"scale":[-4,1,1]}"#);
        let transform = Transform::of_node(&uneven);
        let normals = transform.normals();
        assert!(normals.mirrors);
        // The plane x + y = 0 becomes -x/4 + y = 0.
        let normal = normals.normal([0.707, 0.707, 0.0]).unwrap();
        let along = transform.point([1.0, -1.0, 0.0]);
        let product: f32 = normal.iter().zip(along).map(|(a, b)| a * b).sum();
        assert!(product.abs() < 1e-6, "{normal:?} {along:?}");
        assert!(normal[1] > 0.0, "the normal keeps its side");
    }

    #[test]
    fn vectors_without_direction_have_no_unit() {
        assert_eq!(unit([0.0; 3]), None);
        assert_eq!(unit([f64::NAN, 1.0, 0.0]), None);
        assert_eq!(unit([1e300, 0.0, 0.0]), Some([1.0, 0.0, 0.0]));
    }
}
