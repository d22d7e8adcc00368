//! Reads accessors: typed views into the binary chunk, every bound checked before a byte is touched.

use super::document::{Accessor, Document, element};
use crate::scene::error::SceneError;

/// Component types of the glTF 2.0 specification, section 5.1.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Component {
    I8,
    U8,
    I16,
    U16,
    U32,
    F32,
}

impl Component {
    fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            5120 => Self::I8,
            5121 => Self::U8,
            5122 => Self::I16,
            5123 => Self::U16,
            5125 => Self::U32,
            5126 => Self::F32,
            _ => return None,
        })
    }

    const fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::U32 | Self::F32 => 4,
        }
    }
}

/// An accessor whose bounds are proved: every element lies in `data`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Elements<'a> {
    /// From the first element on.
    data: &'a [u8],
    stride: usize,
    component: Component,
    normalized: bool,
    /// Number of elements.
    pub(super) count: usize,
}

/// The document and the bytes that its accessors point into.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) document: &'a Document,
    pub(super) binary: &'a [u8],
}

impl<'a> Source<'a> {
    /// The accessor at `index` with elements of `shape` (`"SCALAR"`, `"VEC2"`, …).
    pub(super) fn elements(self, index: u32, shape: &str, place: &str) -> Result<Elements<'a>, SceneError> {
        let accessor = element(&self.document.accessors, index, "accessor", || place.to_owned())?;
        let refuse = |problem: String| SceneError::at(format!("{place}, accessor {index}"), problem);
        if accessor.shape != shape {
            return Err(refuse(format!("has elements of another type than {shape}")));
        }
        if accessor.sparse.is_some() {
            return Err(refuse("is sparse, which is not supported".into()));
        }
        let component = Component::from_code(accessor.component_type)
            .ok_or_else(|| refuse(format!("has the unknown component type {}", accessor.component_type)))?;
        let element_bytes = component.bytes() * components_of(shape);
        let (data, stride) = self.accessor_data(accessor, element_bytes, place, &refuse)?;
        let count = usize::try_from(accessor.count).map_err(|_| refuse("has too many elements".into()))?;
        Ok(Elements { data, stride, component, normalized: accessor.normalized, count })
    }

    /// The bytes from the accessor's first element on, and the distance of elements.
    fn accessor_data(
        self,
        accessor: &Accessor,
        element_bytes: usize,
        place: &str,
        refuse: &impl Fn(String) -> SceneError,
    ) -> Result<(&'a [u8], usize), SceneError> {
        let Some(view_index) = accessor.buffer_view else {
            // The standard lets it stand for zeros. Nothing real does without sparse values, and a count of any size
            // would cost nothing to write down.
            return Err(refuse("has no buffer view".into()));
        };
        let view = element(&self.document.buffer_views, view_index, "buffer view", || place.to_owned())?;
        let stride = view.byte_stride.unwrap_or(element_bytes as u64);
        if stride < element_bytes as u64 || stride > 252 {
            return Err(refuse(format!("has elements of {element_bytes} bytes at a distance of {stride}")));
        }
        let view_data = self.view(view_index, place)?;
        let end = match accessor.count.checked_sub(1) {
            None => Some(accessor.byte_offset),
            Some(before_last) => before_last
                .checked_mul(stride)
                .and_then(|bytes| bytes.checked_add(accessor.byte_offset))
                .and_then(|bytes| bytes.checked_add(element_bytes as u64)),
        };
        if end.is_none_or(|end| end > view_data.len() as u64) {
            return Err(refuse(format!(
                "claims {} elements and leaves its buffer view of {} bytes",
                accessor.count,
                view_data.len()
            )));
        }
        let data = usize::try_from(accessor.byte_offset).ok().and_then(|start| view_data.get(start..));
        data.map(|data| (data, stride as usize))
            .ok_or_else(|| refuse("starts outside its buffer view".into()))
    }

    /// The bytes of a buffer view.
    pub(super) fn view(self, index: u32, place: &str) -> Result<&'a [u8], SceneError> {
        let view = element(&self.document.buffer_views, index, "buffer view", || place.to_owned())?;
        let here = || format!("{place}, buffer view {index}");
        let buffer = element(&self.document.buffers, view.buffer, "buffer", here)?;
        if buffer.uri.is_some() || view.buffer != 0 {
            return Err(SceneError::at(
                here(),
                format!("lies in buffer {} outside the file; pack the scene into one GLB first", view.buffer),
            ));
        }
        if buffer.byte_length > self.binary.len() as u64 {
            return Err(SceneError::at(
                "buffer 0",
                format!("claims {} bytes and the file holds {}", buffer.byte_length, self.binary.len()),
            ));
        }
        let end = view.byte_offset.checked_add(view.byte_length).filter(|end| *end <= buffer.byte_length);
        end.and_then(|end| {
            self.binary.get(usize::try_from(view.byte_offset).ok()?..usize::try_from(end).ok()?)
        })
        .ok_or_else(|| {
            let problem = format!(
                "claims {} bytes from byte {} on and leaves its buffer of {}",
                view.byte_length, view.byte_offset, buffer.byte_length
            );
            SceneError::at(here(), problem)
        })
    }
}

const fn components_of(shape: &str) -> usize {
    match shape.as_bytes() {
        b"VEC2" => 2,
        b"VEC3" => 3,
        b"VEC4" | b"MAT2" => 4,
        b"MAT4" => 16,
        _ => 1,
    }
}

impl Elements<'_> {
    /// The elements as vectors of `f32`. Whole numbers are divided by their type's maximum when the accessor is
    /// normalized (glTF 2.0, section 3.6.2.2). The caller has limited [`Elements::count`].
    pub(super) fn vectors<const N: usize>(&self) -> Vec<[f32; N]> {
        (0..self.count)
            .map(|index| {
                std::array::from_fn(|axis| self.number(index * self.stride + axis * self.component.bytes()))
            })
            .collect()
    }

    /// The elements as indices; `None` when they are no unsigned whole numbers.
    pub(super) fn indices(&self) -> Option<Vec<u32>> {
        let at = |index: usize| index * self.stride;
        match self.component {
            Component::U8 => {
                Some((0..self.count).map(|index| u32::from(self.bytes::<1>(at(index))[0])).collect())
            }
            Component::U16 => Some(
                (0..self.count).map(|index| u32::from(u16::from_le_bytes(self.bytes(at(index))))).collect(),
            ),
            Component::U32 => {
                Some((0..self.count).map(|index| u32::from_le_bytes(self.bytes(at(index)))).collect())
            }
            _ => None,
        }
    }

    fn number(&self, at: usize) -> f32 {
        let scaled = |value: f32, maximum: f32| {
            if self.normalized { (value / maximum).max(-1.0) } else { value }
        };
        match self.component {
            Component::I8 => scaled(f32::from(i8::from_le_bytes(self.bytes(at))), 127.0),
            Component::U8 => scaled(f32::from(u8::from_le_bytes(self.bytes(at))), 255.0),
            Component::I16 => scaled(f32::from(i16::from_le_bytes(self.bytes(at))), 32_767.0),
            Component::U16 => scaled(f32::from(u16::from_le_bytes(self.bytes(at))), 65_535.0),
            Component::U32 => u32::from_le_bytes(self.bytes(at)) as f32,
            Component::F32 => f32::from_le_bytes(self.bytes(at)),
        }
    }

    /// Zeros beyond the end, where no element is.
    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        self.data.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().unwrap_or([0; N])
    }
}
