//! Material libraries: Wavefront's keywords, and those of the physically based extension (`Pr`, `Pm`, `norm`).

use std::collections::{BTreeSet, HashMap};

use super::{lines::Lines, notes::Notes};
use crate::{
    limit::{MAX_MATERIAL_LINE_BYTES, MAX_MATERIALS},
    scene::error::{SceneError, printable},
};

/// A material as its library gives it; `None` for what it leaves out.
#[derive(Debug, Default)]
pub(super) struct Mtl {
    pub(super) name: String,
    /// `Kd`.
    pub(super) diffuse: Option<[f32; 3]>,
    /// `Ks`.
    pub(super) specular: Option<[f32; 3]>,
    /// `Ke`.
    pub(super) emission: Option<[f32; 3]>,
    /// `Tf`.
    pub(super) filter: Option<[f32; 3]>,
    /// `Ns`.
    pub(super) shininess: Option<f32>,
    /// `d`.
    pub(super) dissolve: Option<f32>,
    /// `Tr`, which is 1 - `d`.
    pub(super) transparency: Option<f32>,
    /// `Ni`.
    pub(super) ior: Option<f32>,
    /// `Pm`.
    pub(super) metallic: Option<f32>,
    /// `Pr`.
    pub(super) roughness: Option<f32>,
    /// `illum`.
    pub(super) illumination: Option<u32>,
    /// `map_Kd`.
    pub(super) diffuse_map: Option<Map>,
    /// `map_Ke`.
    pub(super) emission_map: Option<Map>,
    /// `map_Pm`.
    pub(super) metallic_map: Option<Map>,
    /// `map_Pr`.
    pub(super) roughness_map: Option<Map>,
    /// `norm`.
    pub(super) normal_map: Option<Map>,
    /// `map_Bump` or `bump`: a height map by the standard, a normal map by many programs.
    pub(super) bump_map: Option<Map>,
    /// Keywords that have no counterpart.
    pub(super) ignored: BTreeSet<String>,
}

/// A picture that a material uses.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Map {
    /// The file.
    pub(super) name: String,
    /// Where it is named.
    pub(super) place: String,
    /// `-clamp on`.
    pub(super) is_clamped: bool,
    /// `-bm`: how strong bumps are.
    pub(super) strength: f32,
    /// Options without a counterpart.
    pub(super) ignored: Vec<String>,
}

impl Mtl {
    /// A material of which only the name is known.
    pub(super) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    fn statement(&mut self, keyword: &str, rest: &str, place: &str) -> Result<(), String> {
        let map = || parse_map(rest, place).map(Some);
        match keyword.to_ascii_lowercase().as_str() {
            "kd" => self.diffuse = self.color(keyword, rest)?,
            "ks" => self.specular = self.color(keyword, rest)?,
            "ke" => self.emission = self.color(keyword, rest)?,
            "tf" => self.filter = self.color(keyword, rest)?,
            "ns" => self.shininess = Some(number(rest)?),
            // `d -halo 0.5` fades towards the outline; the number is its last word.
            "d" => self.dissolve = Some(number(rest.trim_start_matches("-halo"))?),
            "tr" => self.transparency = Some(number(rest)?),
            "ni" => self.ior = Some(number(rest)?),
            "pm" => self.metallic = Some(number(rest)?),
            "pr" => self.roughness = Some(number(rest)?),
            "illum" => self.illumination = Some(number(rest)?.clamp(0.0, 255.0) as u32),
            "map_kd" => self.diffuse_map = map()?,
            "map_ke" => self.emission_map = map()?,
            "map_pm" => self.metallic_map = map()?,
            "map_pr" => self.roughness_map = map()?,
            "norm" => self.normal_map = map()?,
            "map_bump" | "bump" => self.bump_map = map()?,
            // The ambient light of old renderers, and sharpness of reflections: nothing is lost without them.
            "ka" | "map_ka" | "sharpness" => {}
            _ => {
                self.ignored.insert(printable(keyword));
            }
        }
        Ok(())
    }

    /// Three numbers, or one for all three channels. Colours by spectrum or in XYZ have no counterpart.
    fn color(&mut self, keyword: &str, rest: &str) -> Result<Option<[f32; 3]>, String> {
        let mut words = rest.split_whitespace();
        let Some(first) = words.next() else { return Err(format!("{keyword} needs a number")) };
        if matches!(first, "spectral" | "xyz") {
            self.ignored.insert(format!("{keyword} {first}"));
            return Ok(None);
        }
        let red = number(first)?;
        let green = words.next().map_or(Ok(red), number)?;
        Ok(Some([red, green, words.next().map_or(Ok(green), number)?]))
    }
}

/// Adds the materials of a library to those already known. The first of a name stays.
pub(super) fn parse(
    bytes: &[u8],
    library: &str,
    materials: &mut HashMap<String, Mtl>,
    notes: &mut Notes,
) -> Result<(), SceneError> {
    let mut current: Option<Mtl> = None;
    let mut keep = |material: Option<Mtl>| match material {
        Some(material) if !materials.contains_key(&material.name) => {
            materials.insert(material.name.clone(), material);
            SceneError::check_limit("materials", materials.len() as u64, MAX_MATERIALS)
        }
        _ => Ok(()),
    };
    for (number, line) in Lines::new(bytes) {
        let text = line.trim();
        let place = || format!("line {number} of \"{}\"", printable(library));
        if text.len() > MAX_MATERIAL_LINE_BYTES {
            let problem =
                format!("it has {} bytes, and at most {MAX_MATERIAL_LINE_BYTES} are allowed", text.len());
            return Err(SceneError::at(place(), problem));
        }
        let (keyword, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        match (keyword, &mut current) {
            ("", _) => {}
            ("newmtl", _) => keep(current.replace(Mtl::named(rest.trim())))?,
            (_, Some(material)) => material
                .statement(keyword, rest.trim(), &place())
                .map_err(|problem| SceneError::at(place(), problem))?,
            (_, None) => notes.add(format!(
                "statements before the first material of \"{}\" are ignored",
                printable(library)
            )),
        }
    }
    keep(current)
}

/// The first word as a number; what follows it is passed over, as other readers do.
fn number(rest: &str) -> Result<f32, String> {
    let word = rest.split_whitespace().next().unwrap_or_default();
    let number = word.parse::<f32>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| format!("\"{}\" is no finite number", printable(word)))
}

/// `[options] file`; the name may have spaces.
fn parse_map(rest: &str, place: &str) -> Result<Map, String> {
    let mut map = Map {
        name: String::new(),
        place: place.to_owned(),
        is_clamped: false,
        strength: 1.0,
        ignored: Vec::new(),
    };
    let mut rest = rest;
    while rest.starts_with('-') {
        let (option, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        rest = after.trim_start();
        let mut take = || {
            let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            rest = after.trim_start();
            word
        };
        match option {
            "-clamp" => map.is_clamped = take() == "on",
            "-bm" => map.strength = number(take())?,
            // One to three numbers.
            "-o" | "-s" | "-t" => {
                let _ = number(take())?;
                for _ in 0..2 {
                    let word = rest.split_whitespace().next().unwrap_or_default();
                    if word.parse::<f32>().is_ok() {
                        rest = rest.get(word.len()..).unwrap_or_default().trim_start();
                    }
                }
                map.ignored.push(option.to_owned());
            }
            "-mm" => {
                let _ = (number(take())?, number(take())?);
                map.ignored.push(option.to_owned());
            }
            "-blendu" | "-blendv" | "-cc" => {
                take();
            }
            "-boost" | "-texres" | "-imfchan" | "-type" => {
                take();
                map.ignored.push(option.to_owned());
            }
            other => return Err(format!("the option \"{}\" is unknown", printable(other))),
        }
    }
    rest.trim().trim_matches('"').clone_into(&mut map.name);
    if map.name.is_empty() { Err("the name of a picture is missing".into()) } else { Ok(map) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<HashMap<String, Mtl>, SceneError> {
        let mut materials = HashMap::new();
        parse(text.as_bytes(), "a.mtl", &mut materials, &mut Notes::default()).map(|()| materials)
    }

    #[test]
    fn options_stand_before_names_with_spaces() {
        let map = parse_map("-clamp on -s 1 2 -bm 0.5 -o 0.5 my wood.png", "here").unwrap();
        assert_eq!((map.name.as_str(), map.is_clamped, map.strength), ("my wood.png", true, 0.5));
        assert_eq!(map.ignored, ["-s", "-o"]);
        for bad in ["", "-bm", "-s x a.png", "-what 1 a.png", "-clamp on"] {
            assert!(parse_map(bad, "here").is_err(), "{bad}");
        }
    }

    #[test]
    fn one_number_is_grey_and_the_first_material_of_a_name_stays() {
        let materials =
            read("newmtl a b\n  Kd 0.5\nTr 0.25\nnewmtl c\nd -halo 0.5\nnewmtl a b\nKd 1 1 1").unwrap();
        assert_eq!(materials["a b"].diffuse, Some([0.5; 3]));
        assert_eq!(materials["a b"].transparency, Some(0.25));
        assert_eq!(materials["c"].dissolve, Some(0.5));
    }

    #[test]
    fn b30_bad_numbers_are_named_with_their_line() {
        for bad in ["Kd", "Kd a", "Ns nan", "d inf", "Ke 1 x 1", "map_Kd", "illum x"] {
            let sentence = read(&format!("newmtl m\n{bad}\n")).unwrap_err().to_string();
            assert!(sentence.contains("line 2 of \"a.mtl\""), "{sentence}");
        }
        assert!(read(&"x".repeat(MAX_MATERIAL_LINE_BYTES + 1)).is_err());
    }
}
