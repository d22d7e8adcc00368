//! Reads accessors: typed views into the binary chunk, every bound checked before a byte is touched.

use std::cmp::Ordering;

use super::document::{Document, Sparse, element};
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

/// Where in a buffer view how many elements of which size are.
#[derive(Debug, Clone, Copy)]
struct Run {
    byte_offset: u64,
    count: u64,
    element_bytes: usize,
}

/// Numbers at equal distances in a buffer, whose bounds are proved.
#[derive(Debug, Clone, Copy)]
struct Column<'a> {
    /// From the first element on; empty where all are zeros.
    data: &'a [u8],
    stride: usize,
    component: Component,
    normalized: bool,
}

/// Elements that stand in place of others.
#[derive(Debug, Clone, Copy)]
struct Replacements<'a> {
    count: usize,
    /// Which ones: increasing, all in range.
    indices: Column<'a>,
    values: Column<'a>,
}

/// An accessor whose bounds are proved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Elements<'a> {
    column: Column<'a>,
    replacements: Option<Replacements<'a>>,
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
        let component = Component::from_code(accessor.component_type)
            .ok_or_else(|| refuse(format!("has the unknown component type {}", accessor.component_type)))?;
        let element_bytes = component.bytes() * components_of(shape);
        let run = Run { byte_offset: accessor.byte_offset, count: accessor.count, element_bytes };
        let count = usize::try_from(accessor.count).map_err(|_| refuse("has too many elements".into()))?;
        let (data, stride) = match (accessor.buffer_view, &accessor.sparse) {
            (Some(view), _) => self.run(view, run, place, &refuse)?,
            // All are zeros but those that are replaced. Their number costs no memory before the caller limits it.
            (None, Some(_)) => (&[][..], element_bytes),
            // The standard lets it stand for zeros. Nothing real does without sparse values.
            (None, None) => return Err(refuse("has no buffer view".into())),
        };
        let column = Column { data, stride, component, normalized: accessor.normalized };
        let replacements = match &accessor.sparse {
            Some(sparse) => {
                Some(self.replacements(sparse, column, (element_bytes, count), place, &refuse)?)
            }
            None => None,
        };
        Ok(Elements { column, replacements, count })
    }

    /// The replaced elements of a sparse accessor (glTF 2.0, section 3.6.2.3).
    fn replacements(
        self,
        sparse: &Sparse,
        base: Column<'a>,
        (element_bytes, base_count): (usize, usize),
        place: &str,
        refuse: &impl Fn(String) -> SceneError,
    ) -> Result<Replacements<'a>, SceneError> {
        let component = Component::from_code(sparse.indices.component_type)
            .filter(|component| matches!(component, Component::U8 | Component::U16 | Component::U32))
            .ok_or_else(|| refuse("has sparse indices that are no unsigned whole numbers".into()))?;
        let run = |byte_offset, element_bytes| Run { byte_offset, count: sparse.count, element_bytes };
        let indices = run(sparse.indices.byte_offset, component.bytes());
        let (data, stride) = self.run(sparse.indices.buffer_view, indices, place, refuse)?;
        let indices = Column { data, stride, component, normalized: false };
        let values = run(sparse.values.byte_offset, element_bytes);
        let (data, stride) = self.run(sparse.values.buffer_view, values, place, refuse)?;
        // What `run` has proved fits into memory.
        let count = sparse.count as usize;
        let mut least = 0;
        for number in 0..count {
            let index = indices.whole(number) as usize;
            if index < least || index >= base_count {
                return Err(refuse(format!(
                    "replaces element {index} of {base_count}; the indices must increase and be in range"
                )));
            }
            least = index + 1;
        }
        Ok(Replacements { count, indices, values: Column { data, stride, ..base } })
    }

    /// The bytes from the first element of a run on, and the distance of elements.
    fn run(
        self,
        view_index: u32,
        run: Run,
        place: &str,
        refuse: &impl Fn(String) -> SceneError,
    ) -> Result<(&'a [u8], usize), SceneError> {
        let Run { byte_offset, count, element_bytes } = run;
        let view = element(&self.document.buffer_views, view_index, "buffer view", || place.to_owned())?;
        let stride = view.byte_stride.unwrap_or(element_bytes as u64);
        if stride < element_bytes as u64 || stride > 252 {
            return Err(refuse(format!("has elements of {element_bytes} bytes at a distance of {stride}")));
        }
        let view_data = self.view(view_index, place)?;
        let end = match count.checked_sub(1) {
            None => Some(byte_offset),
            Some(before_last) => before_last
                .checked_mul(stride)
                .and_then(|bytes| bytes.checked_add(byte_offset))
                .and_then(|bytes| bytes.checked_add(element_bytes as u64)),
        };
        if end.is_none_or(|end| end > view_data.len() as u64) {
            return Err(refuse(format!(
                "claims {count} elements and leaves its buffer view of {} bytes",
                view_data.len()
            )));
        }
        let data = usize::try_from(byte_offset).ok().and_then(|start| view_data.get(start..));
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

impl<'a> Elements<'a> {
    /// The elements as vectors of `f32`. Whole numbers are divided by their type's maximum when the accessor is
    /// normalized (glTF 2.0, section 3.6.2.2). The caller has limited [`Elements::count`].
    pub(super) fn vectors<const N: usize>(&self) -> Vec<[f32; N]> {
        let mut vectors: Vec<_> = (0..self.count).map(|index| self.column.vector(index)).collect();
        self.replace(&mut vectors, Column::vector);
        vectors
    }

    /// One of the elements, as [`Elements::vectors`] gives it; zeros beyond the last.
    pub(super) fn vector<const N: usize>(&self, index: usize) -> [f32; N] {
        let replaced = self.replacements.and_then(|new| Some(new.values.vector(new.find(index)?)));
        replaced.unwrap_or_else(|| self.column.vector(index))
    }

    /// The elements as indices; `None` when they are no unsigned whole numbers. The caller has limited
    /// [`Elements::count`].
    pub(super) fn indices(&self) -> Option<Vec<u32>> {
        if !self.are_whole() {
            return None;
        }
        let mut indices: Vec<_> = (0..self.count).map(|index| self.column.whole(index)).collect();
        self.replace(&mut indices, Column::whole);
        Some(indices)
    }

    /// The elements as vectors of whole numbers; `None` when they are no unsigned whole numbers. The caller has limited
    /// [`Elements::count`].
    pub(super) fn whole_vectors<const N: usize>(&self) -> Option<Vec<[u32; N]>> {
        if !self.are_whole() {
            return None;
        }
        let mut vectors: Vec<_> = (0..self.count).map(|index| self.column.whole_vector(index)).collect();
        self.replace(&mut vectors, Column::whole_vector);
        Some(vectors)
    }

    fn are_whole(&self) -> bool {
        matches!(self.column.component, Component::U8 | Component::U16 | Component::U32)
    }

    fn replace<T>(&self, list: &mut [T], value: impl Fn(&Column<'a>, usize) -> T) {
        let Some(new) = self.replacements else { return };
        for number in 0..new.count {
            if let Some(element) = list.get_mut(new.indices.whole(number) as usize) {
                *element = value(&new.values, number);
            }
        }
    }
}

impl Replacements<'_> {
    /// The place of an element in the list of those that are replaced.
    fn find(&self, index: usize) -> Option<usize> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            match (self.indices.whole(middle) as usize).cmp(&index) {
                Ordering::Equal => return Some(middle),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        None
    }
}

impl Column<'_> {
    fn vector<const N: usize>(&self, index: usize) -> [f32; N] {
        std::array::from_fn(|axis| self.number(index * self.stride + axis * self.component.bytes()))
    }

    fn whole_vector<const N: usize>(&self, index: usize) -> [u32; N] {
        std::array::from_fn(|axis| self.whole_at(index * self.stride + axis * self.component.bytes()))
    }

    fn whole(&self, index: usize) -> u32 {
        self.whole_at(index * self.stride)
    }

    fn whole_at(&self, at: usize) -> u32 {
        match self.component {
            Component::U8 => u32::from(self.bytes::<1>(at)[0]),
            Component::U16 => u32::from(u16::from_le_bytes(self.bytes(at))),
            _ => u32::from_le_bytes(self.bytes(at)),
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
