//! Damages a GLB: its bytes, its frame, its numbers, its words. The same seed does the same damage.

use serde_json::{Value, json};

use super::glb::{join, split};

/// Numbers that loaders stumble over.
const NUMBERS: [&str; 20] = [
    "0",
    "-1",
    "1",
    "2",
    "3",
    "255",
    "65535",
    "2147483647",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "18446744073709551615",
    "-9223372036854775808",
    "0.5",
    "-0.0",
    "1e-40",
    "1e30",
    "3.5e38",
    "-1e308",
    "1e400",
];
/// Floats of the binary chunk that loaders stumble over.
const FLOATS: [f32; 10] =
    [f32::NAN, f32::INFINITY, f32::MAX, f32::MIN_POSITIVE, 1e-45, -0.0, 1e20, 1e9, -1e6, 1e-20];
/// Factors that numbers survive: what they describe stays a scene, though an odd one.
const FACTORS: [f64; 10] = [0.0, -1.0, 0.5, 2.0, 1e-3, 1e3, 1e-12, 1e12, 1e-30, 1e6];
/// Most copies that an element of a list becomes.
const MAX_COPIES: u64 = 64;

/// The `SplitMix64` generator (Steele, Lea and Flood 2014): any seed is a good one.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// 0 to below `end`; 0 where there is nothing to choose from.
    pub fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.next() % end as u64) as usize }
    }
}

/// A damaged copy of a sound GLB.
pub fn mutant(original: &[u8], random: &mut Random) -> Vec<u8> {
    match random.below(10) {
        0 => damage_bytes(original.to_vec(), random),
        1 => damage_frame(original.to_vec(), random),
        2 => {
            let (document, mut binary) = split(original);
            damage_floats(&mut binary, random);
            join(document.to_string().as_bytes(), &binary)
        }
        3 => {
            let (document, mut binary) = split(original);
            claim_pixels(&mut binary, random);
            join(document.to_string().as_bytes(), &binary)
        }
        4 | 5 => {
            let (mut document, mut binary) = split(original);
            for _ in 0..=random.below(6) {
                stretch_number(&mut document, &mut binary, random);
            }
            join(document.to_string().as_bytes(), &binary)
        }
        _ => {
            let (mut document, mut binary) = split(original);
            for _ in 0..=random.below(3) {
                damage_json(&mut document, random);
            }
            if random.below(4) == 0 {
                damage_floats(&mut binary, random);
            }
            join(numbers_unquoted(&document.to_string()).as_bytes(), &binary)
        }
    }
}

/// Flips bits, overwrites, moves, removes and repeats bytes.
pub fn damage_bytes(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len());
        let length = random.below(16).min(bytes.len() - at);
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes[at] = [0, 0x7f, 0x80, 0xff][random.below(4)],
            3 => drop(bytes.drain(at..at + length)),
            4 => {
                let from = random.below(bytes.len() - length);
                bytes.copy_within(from..from + length, at);
            }
            _ => {
                let repeated = bytes[at..at + length].to_vec();
                bytes.splice(at..at, repeated);
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

/// Cuts the file off, or lies in the lengths and types of its header and chunks.
fn damage_frame(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    let json_length = u32::from_le_bytes(bytes[12..16].try_into().expect("four bytes")) as usize;
    let words = [0, 4, 8, 12, 16, 20 + json_length, 24 + json_length];
    let at = words[random.below(words.len())];
    match random.below(3) {
        0 => bytes.truncate(random.below(bytes.len() + 1)),
        _ if at + 4 <= bytes.len() => {
            let old = u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
            let lies = [
                0,
                1,
                old.wrapping_sub(1),
                old.wrapping_add(1),
                old / 2,
                u32::MAX,
                1 << 31,
                random.next() as u32,
            ];
            bytes[at..at + 4].copy_from_slice(&lies[random.below(lies.len())].to_le_bytes());
        }
        _ => {}
    }
    bytes
}

/// Puts numbers into the binary chunk that are none, or far off.
fn damage_floats(binary: &mut [u8], random: &mut Random) {
    let (words, _) = binary.as_chunks_mut::<4>();
    for _ in 0..=random.below(8) {
        let at = random.below(words.len());
        let Some(word) = words.get_mut(at) else { return };
        *word = if random.below(4) == 0 {
            (random.next() as u32).to_le_bytes()
        } else {
            FLOATS[random.below(FLOATS.len())].to_le_bytes()
        };
    }
}

/// Multiplies a number with a fraction, in the document or the binary chunk.
fn stretch_number(document: &mut Value, binary: &mut [u8], random: &mut Random) {
    let factor = FACTORS[random.below(FACTORS.len())];
    if random.below(2) == 0 {
        let (words, _) = binary.as_chunks_mut::<4>();
        let at = random.below(words.len());
        let Some(word) = words.get_mut(at) else { return };
        *word = (f32::from_le_bytes(*word) * factor as f32).to_le_bytes();
        return;
    }
    let mut paths = Vec::new();
    collect(document, &mut String::new(), &mut paths);
    paths.retain(|path| document.pointer(path).is_some_and(Value::is_f64));
    let at = random.below(paths.len());
    let Some(place) = paths.get(at).and_then(|path| document.pointer_mut(path)) else { return };
    if let Some(number) = place.as_f64() {
        *place = json!(number * factor);
    }
}

/// Lets a PNG claim another size, with the checksum that makes it believed.
fn claim_pixels(binary: &mut [u8], random: &mut Random) {
    const HEADER: &[u8; 4] = b"IHDR";
    const HEADER_BYTES: usize = 17;
    let Some(start) = binary.windows(4).position(|word| word == HEADER) else { return };
    let Some(header) = binary.get_mut(start..start + HEADER_BYTES + 4) else { return };
    for edge in [4, 8] {
        let sizes = [0, 1, 4, 6, 1000, 16_384, 16_385, u32::MAX >> 1, u32::MAX];
        header[edge..edge + 4].copy_from_slice(&sizes[random.below(sizes.len())].to_be_bytes());
    }
    let checksum = crc32fast::hash(&header[..HEADER_BYTES]);
    header[HEADER_BYTES..].copy_from_slice(&checksum.to_be_bytes());
}

/// Changes one place of the document: a number, a type, a key, a list.
pub fn damage_json(document: &mut Value, random: &mut Random) {
    let mut paths = Vec::new();
    collect(document, &mut String::new(), &mut paths);
    let path = &paths[random.below(paths.len())];
    let Some(place) = document.pointer_mut(path) else { return };
    match place {
        Value::Number(_) if random.below(8) > 0 => *place = number(random),
        Value::Array(list) if !list.is_empty() => match random.below(5) {
            0 => drop(list.remove(random.below(list.len()))),
            1 => list.clear(),
            2 => {
                let element = list[random.below(list.len())].clone();
                list.extend(std::iter::repeat_n(element, random.below(MAX_COPIES as usize) + 1));
            }
            3 => {
                let (a, b) = (random.below(list.len()), random.below(list.len()));
                list.swap(a, b);
            }
            _ => *place = other_type(random),
        },
        Value::Object(fields) if !fields.is_empty() => {
            let key = fields.keys().nth(random.below(fields.len())).cloned().unwrap_or_default();
            match random.below(3) {
                0 => drop(fields.remove(&key)),
                1 => drop(fields.insert(key, other_type(random))),
                _ => {
                    let other = fields.values().nth(random.below(fields.len())).cloned().unwrap_or_default();
                    fields.insert(key, other);
                }
            }
        }
        _ => *place = other_type(random),
    }
}

/// A number as text that [`numbers_unquoted`] makes a number of: most of them no `Value` can hold.
fn number(random: &mut Random) -> Value {
    json!(format!("number:{}", NUMBERS[random.below(NUMBERS.len())]))
}

pub fn numbers_unquoted(json: &str) -> String {
    let mut parts = json.split("\"number:");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_once('"').unwrap_or((part, ""));
        out.push_str(digits);
        out.push_str(rest);
    }
    out
}

fn other_type(random: &mut Random) -> Value {
    match random.below(9) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!("text \u{1b}[31m\u{0}"),
        3 => json!([]),
        4 => json!({}),
        5 => json!([[0]]),
        6 => json!("VEC4"),
        7 => json!("x".repeat(100_000)),
        _ => number(random),
    }
}

/// The JSON pointers of everything below the root.
fn collect(value: &Value, path: &mut String, out: &mut Vec<String>) {
    out.push(path.clone());
    let length = path.len();
    let mut visit = |key: &str, child: &Value| {
        path.push('/');
        path.push_str(key);
        collect(child, path, out);
        path.truncate(length);
    };
    match value {
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(index, child)| visit(&index.to_string(), child));
        }
        Value::Object(fields) => fields.iter().for_each(|(key, child)| visit(key, child)),
        _ => {}
    }
}
