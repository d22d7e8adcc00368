//! The geometry of an OBJ file, judged line by line and rewritten for `tobj`: every number finite, every index given
//! above its use, every face of a run with the same attributes.

use std::{
    collections::HashMap,
    io::{self, BufRead, Read, Write},
    str::SplitWhitespace,
};

use super::{check_libraries, lines::Lines, notes::Notes};
use crate::{
    limit::{MAX_COORDINATE, MAX_MATERIAL_LINE_BYTES, MAX_MATERIALS, MAX_TEXTURE_COORDINATE, SceneLimits},
    scene::error::{SceneError, printable},
};

/// How much is rewritten ahead.
const AHEAD_BYTES: usize = 64 << 10;

/// Consecutive faces of one material whose corners have the same attributes: a group for `tobj`, named by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Run {
    /// Index into [`Found::materials`].
    pub(super) material: u32,
    pub(super) has_uvs: bool,
    pub(super) has_normals: bool,
}

/// What the file has besides geometry.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) runs: Vec<Run>,
    /// Names in the order of their first use; the empty one is for faces before any.
    pub(super) materials: Vec<String>,
    /// Material libraries with the lines that name them.
    pub(super) libraries: Vec<(u64, String)>,
}

/// Reads as OBJ text of vertices, faces and groups only.
pub(super) struct Checked<'a> {
    lines: Lines<'a>,
    limits: &'a SceneLimits,
    notes: &'a mut Notes,
    found: Found,
    material_numbers: HashMap<String, u32>,
    material: Option<u32>,
    /// Positions, texture coordinates and normals so far.
    given: [u64; 3],
    /// Whether the first vertex, and so every vertex, has a colour.
    has_colors: bool,
    triangles: u64,
    is_smoothed: bool,
    refused: Option<SceneError>,
    corners: Vec<[Option<u64>; 3]>,
    text: Vec<u8>,
    taken: usize,
}

impl<'a> Checked<'a> {
    pub(super) fn new(bytes: &'a [u8], limits: &'a SceneLimits, notes: &'a mut Notes) -> Self {
        Self {
            lines: Lines::new(bytes),
            limits,
            notes,
            found: Found::default(),
            material_numbers: HashMap::new(),
            material: None,
            given: [0; 3],
            has_colors: false,
            triangles: 0,
            is_smoothed: false,
            refused: None,
            corners: Vec::new(),
            text: Vec::new(),
            taken: 0,
        }
    }

    /// What was found, or why reading stopped.
    pub(super) fn finish(self) -> Result<Found, SceneError> {
        if let Some(error) = self.refused {
            return Err(error);
        }
        if self.is_smoothed && self.found.runs.iter().any(|run| !run.has_normals) {
            self.notes.add("smoothing groups are ignored: faces without normals are flat");
        }
        Ok(self.found)
    }

    fn statement(&mut self, text: &str) -> Result<(), String> {
        let mut words = text.split_whitespace();
        let Some(keyword) = words.next() else { return Ok(()) };
        match keyword {
            "v" => self.position(words),
            "vt" => self.texture_coordinate(words),
            "vn" => self.normal(words),
            "f" | "fo" => self.face(words),
            "usemtl" => self.use_material(rest_of(text, keyword)),
            "mtllib" => {
                // The number of the line is added by the caller.
                self.found.libraries.push((0, name_of(rest_of(text, keyword))?.to_owned()));
                check_libraries(self.found.libraries.len()).map_err(|error| error.to_string())
            }
            "s" => {
                self.is_smoothed |= words.next().is_some_and(|group| group != "off" && group != "0");
                Ok(())
            }
            "g" | "o" => Ok(()),
            "p" | "l" => {
                self.notes.add("points and lines are ignored");
                Ok(())
            }
            other => {
                self.notes.add(format!("statements \"{}\" are ignored", printable(other)));
                Ok(())
            }
        }
    }

    fn position(&mut self, words: SplitWhitespace<'_>) -> Result<(), String> {
        self.count(0, "vertices")?;
        let words = numbers_of(words);
        let place = words.get(..3).ok_or("a vertex needs three coordinates")?;
        for word in place {
            if float(word)?.abs() > MAX_COORDINATE {
                return Err(format!(
                    "the coordinate {word} is farther than {MAX_COORDINATE:e} from the origin"
                ));
            }
        }
        // Three more numbers are a colour, perhaps with its opacity; a single one is a weight, for curves only.
        let color = words.get(3..6);
        if self.given[0] == 1 {
            self.has_colors = color.is_some();
        } else if self.has_colors != color.is_some() {
            self.notes.add("only some vertices have colours: the first one decides, missing ones are white");
        }
        self.put(&["v "], place);
        if self.has_colors {
            let color = color.unwrap_or(&["1", "1", "1"]);
            for word in color {
                float(word)?;
            }
            self.put(&[" "], color);
        }
        self.text.push(b'\n');
        Ok(())
    }

    fn texture_coordinate(&mut self, words: SplitWhitespace<'_>) -> Result<(), String> {
        self.count(1, "texture coordinates")?;
        let words = numbers_of(words);
        let u = words.first().ok_or("a texture coordinate needs at least one number")?;
        let v = words.get(1).unwrap_or(&"0");
        for word in [u, v] {
            if float(word)?.abs() > MAX_TEXTURE_COORDINATE {
                return Err(format!("the texture coordinate {word} is over {MAX_TEXTURE_COORDINATE:e}"));
            }
        }
        self.put(&["vt "], &[u, v]);
        self.text.push(b'\n');
        Ok(())
    }

    fn normal(&mut self, words: SplitWhitespace<'_>) -> Result<(), String> {
        self.count(2, "normals")?;
        let words = numbers_of(words);
        let normal = words.get(..3).ok_or("a normal needs three numbers")?;
        for word in normal {
            float(word)?;
        }
        self.put(&["vn "], normal);
        self.text.push(b'\n');
        Ok(())
    }

    /// Counts one more of positions, texture coordinates or normals.
    fn count(&mut self, kind: usize, what: &'static str) -> Result<(), String> {
        if let Some(given) = self.given.get_mut(kind) {
            *given += 1;
            SceneError::check_limit(what, *given, self.limits.vertices).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn face(&mut self, words: SplitWhitespace<'_>) -> Result<(), String> {
        let mut corners = std::mem::take(&mut self.corners);
        corners.clear();
        for word in words.take_while(|word| !word.starts_with('#')) {
            corners.push(self.corner(word)?);
        }
        let has_all = |kind: usize| corners.iter().all(|corner| corner[kind].is_some());
        let (has_uvs, has_normals) = (has_all(1), has_all(2));
        if corners.iter().any(|[_, uv, normal]| uv.is_some() != has_uvs || normal.is_some() != has_normals) {
            self.notes.add("faces of which only some corners have texture coordinates or normals lose them");
        }
        if corners.len() < 3 {
            self.notes.add("faces with fewer than three corners are ignored");
        } else {
            self.triangles += corners.len() as u64 - 2;
            let limit = self.limits.triangles;
            SceneError::check_limit("triangles", self.triangles, limit).map_err(|error| error.to_string())?;
            self.start_run(has_uvs, has_normals)?;
            self.put_face(&corners, has_uvs, has_normals);
        }
        self.corners = corners;
        Ok(())
    }

    /// The three indices of `position[/[texture coordinate][/[normal]]]`, from 1.
    fn corner(&mut self, word: &str) -> Result<[Option<u64>; 3], String> {
        let mut indices = [None; 3];
        let mut parts = word.split('/');
        for (kind, (index, what)) in
            indices.iter_mut().zip(["vertex", "texture coordinate", "normal"]).enumerate()
        {
            let Some(part) = parts.next() else { break };
            // invariant: there are three counts as there are three kinds.
            let given = self.given.get(kind).copied().unwrap_or_default();
            if part.is_empty() && kind > 0 {
                continue;
            }
            if given == 0 && kind > 0 {
                self.notes.add(format!("faces refer to {what}s, and the file has none above them"));
                continue;
            }
            *index = Some(resolve(part, given, what)?);
        }
        if parts.next().is_some() {
            return Err(format!("the corner \"{}\" has more than three indices", printable(word)));
        }
        Ok(indices)
    }

    fn start_run(&mut self, has_uvs: bool, has_normals: bool) -> Result<(), String> {
        let material = match self.material {
            Some(material) => material,
            None => self.number_of("")?,
        };
        let run = Run { material, has_uvs, has_normals };
        if self.found.runs.last() != Some(&run) {
            let number = self.found.runs.len();
            self.found.runs.push(run);
            SceneError::check_limit("changes of material", number as u64 + 1, self.limits.nodes)
                .map_err(|error| error.to_string())?;
            self.text.extend(format!("g {number}\n").into_bytes());
        }
        Ok(())
    }

    fn put_face(&mut self, corners: &[[Option<u64>; 3]], has_uvs: bool, has_normals: bool) {
        self.text.push(b'f');
        for [position, uv, normal] in corners {
            let position = position.unwrap_or_default();
            // Writing to memory does not fail.
            let _ = match (uv.filter(|_| has_uvs), normal.filter(|_| has_normals)) {
                (None, None) => write!(self.text, " {position}"),
                (Some(uv), None) => write!(self.text, " {position}/{uv}"),
                (None, Some(normal)) => write!(self.text, " {position}//{normal}"),
                (Some(uv), Some(normal)) => write!(self.text, " {position}/{uv}/{normal}"),
            };
        }
        self.text.push(b'\n');
    }

    fn put(&mut self, before: &[&str], words: &[&str]) {
        for text in before {
            self.text.extend_from_slice(text.as_bytes());
        }
        for (number, word) in words.iter().enumerate() {
            if number > 0 {
                self.text.push(b' ');
            }
            self.text.extend_from_slice(word.as_bytes());
        }
    }

    fn use_material(&mut self, name: &str) -> Result<(), String> {
        self.material = Some(self.number_of(name_of(name)?)?);
        Ok(())
    }

    fn number_of(&mut self, name: &str) -> Result<u32, String> {
        if let Some(number) = self.material_numbers.get(name) {
            return Ok(*number);
        }
        let number = self.found.materials.len() as u32;
        SceneError::check_limit("materials", u64::from(number) + 1, MAX_MATERIALS)
            .map_err(|error| error.to_string())?;
        self.found.materials.push(name.to_owned());
        self.material_numbers.insert(name.to_owned(), number);
        Ok(number)
    }
}

/// What follows the keyword.
fn rest_of<'a>(text: &'a str, keyword: &str) -> &'a str {
    text.trim().strip_prefix(keyword).unwrap_or_default().trim()
}

fn name_of(name: &str) -> Result<&str, String> {
    match name.len() {
        0 => Err("a name is missing".into()),
        1..=MAX_MATERIAL_LINE_BYTES => Ok(name),
        length => {
            Err(format!("a name has {length} bytes, and at most {MAX_MATERIAL_LINE_BYTES} are allowed"))
        }
    }
}

/// The first words that could be numbers: eight are more than any statement has.
fn numbers_of(words: SplitWhitespace<'_>) -> Vec<&str> {
    words.take_while(|word| !word.starts_with('#')).take(8).collect()
}

fn float(word: &str) -> Result<f32, String> {
    let number = word.parse::<f32>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| format!("\"{}\" is no finite number", printable(word)))
}

/// An index as a count from 1: negative ones count back from the last that is given.
fn resolve(part: &str, given: u64, what: &str) -> Result<u64, String> {
    let index: i64 = part.parse().map_err(|_| format!("\"{}\" is no index of a {what}", printable(part)))?;
    let absolute = if index < 0 {
        given.checked_sub(index.unsigned_abs()).map(|before| before + 1)
    } else {
        Some(index.unsigned_abs())
    };
    absolute.filter(|absolute| (1..=given).contains(absolute)).ok_or_else(|| {
        format!("the index {index} of a {what} is out of range: {given} are given above it, counted from 1")
    })
}

impl Read for Checked<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(out)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Checked<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken >= self.text.len() {
            self.text.clear();
            self.taken = 0;
            while self.text.len() < AHEAD_BYTES {
                let Some((number, line)) = self.lines.next() else { break };
                let libraries = self.found.libraries.len();
                if let Err(problem) = self.statement(&line) {
                    self.refused = Some(SceneError::at(format!("line {number} of the OBJ file"), problem));
                    return Err(io::Error::other("the line is refused"));
                }
                for (line, _) in self.found.libraries.iter_mut().skip(libraries) {
                    *line = number;
                }
            }
        }
        Ok(self.text.get(self.taken..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.taken = self.taken.saturating_add(amount).min(self.text.len());
    }
}
