//! CBOR within limits, and the one canonical form of what is hashed or signed.
//!
//! Canonical means the core deterministic encoding of RFC 8949 section 4.2.1: shortest integers, lengths and floats,
//! definite lengths, map keys sorted bytewise by their encoding. Every value has exactly one such encoding, so two
//! nodes that mean the same sign the same bytes.

use ciborium::value::Value;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    limit::{MAX_CBOR_DEPTH, MAX_CBOR_ITEMS},
    text::presentable,
};

/// Why bytes are no acceptable CBOR, or a value cannot be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CanonError {
    /// More bytes than this message may have.
    #[error("{length} bytes are more than the {limit} that this message may have")]
    TooLong {
        /// Bytes offered.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The bytes end in the middle of an item.
    #[error("the CBOR ends in the middle of an item")]
    Truncated,
    /// There are bytes after the item.
    #[error("{0} bytes follow the CBOR item")]
    Trailing(usize),
    /// Nested more than [`MAX_CBOR_DEPTH`] deep.
    #[error("the CBOR is nested too deeply")]
    TooDeep,
    /// More than [`MAX_CBOR_ITEMS`] items.
    #[error("the CBOR has too many items")]
    TooManyItems,
    /// A tag, an indefinite length, or a reserved code: nothing that our messages use.
    #[error("the CBOR uses a form (tag, indefinite length, reserved code) that no message has")]
    ForbiddenForm,
    /// A float that is not a number or infinite.
    #[error("the CBOR has a number that is not finite")]
    NotFinite,
    /// Well-formed, but another encoding of the same value is the canonical one, or there are unknown fields.
    #[error("the CBOR is not in canonical form")]
    NotCanonical,
    /// The item is not the message.
    #[error("the CBOR is not this message: {0}")]
    Mismatch(String),
    /// The value cannot be encoded.
    #[error("the value cannot be encoded: {0}")]
    Encode(String),
}

/// The canonical encoding of a value.
pub fn to_canonical<T: Serialize>(value: &T) -> Result<Vec<u8>, CanonError> {
    let mut tree = Value::serialized(value).map_err(|error| CanonError::Encode(error.to_string()))?;
    sort_maps(&mut tree)?;
    encode(&tree)
}

/// Reads a value from its canonical encoding of at most `max_bytes`; any other encoding is refused.
pub fn from_canonical<T: Serialize + DeserializeOwned>(
    bytes: &[u8],
    max_bytes: usize,
) -> Result<T, CanonError> {
    walk(bytes, max_bytes, Form::Canonical)?;
    let value = decode(bytes)?;
    // What the walk cannot see (floats longer than needed, fields that the type does not have) does not come out of
    // the encoder again.
    if to_canonical(&value)? == bytes { Ok(value) } else { Err(CanonError::NotCanonical) }
}

/// Reads a value that is neither hashed nor signed: any definite-length encoding, unknown map keys ignored, but within
/// the same limits. The shape is checked before anything is allocated for it.
pub fn decode_bounded<T: DeserializeOwned>(bytes: &[u8], max_bytes: usize) -> Result<T, CanonError> {
    walk(bytes, max_bytes, Form::Definite)?;
    decode(bytes)
}

/// Decodes what [`walk`] has let pass. The reason of a mismatch may quote the sender, so it is cut to what may be shown.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CanonError> {
    ciborium::de::from_reader_with_recursion_limit(bytes, MAX_CBOR_DEPTH + 1).map_err(|error| {
        CanonError::Mismatch(match error {
            ciborium::de::Error::Semantic(_, reason) => presentable(&reason),
            other => presentable(&other.to_string()),
        })
    })
}

fn encode(tree: &Value) -> Result<Vec<u8>, CanonError> {
    let mut bytes = Vec::with_capacity(512);
    ciborium::into_writer(tree, &mut bytes).map_err(|error| CanonError::Encode(error.to_string()))?;
    Ok(bytes)
}

fn sort_maps(tree: &mut Value) -> Result<(), CanonError> {
    match tree {
        Value::Array(items) => items.iter_mut().try_for_each(sort_maps),
        Value::Map(entries) => {
            let mut keyed = Vec::with_capacity(entries.len());
            for (key, mut value) in entries.drain(..) {
                sort_maps(&mut value)?;
                keyed.push((encode(&key)?, key, value));
            }
            keyed.sort_by(|a, b| a.0.cmp(&b.0));
            entries.extend(keyed.into_iter().map(|(_, key, value)| (key, value)));
            Ok(())
        }
        Value::Float(number) if !number.is_finite() => Err(CanonError::NotFinite),
        _ => Ok(()),
    }
}

/// What the walk demands of lengths, integers and keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Definite lengths.
    Definite,
    /// Also the shortest integers and lengths, and map keys in strictly rising bytewise order.
    Canonical,
}

/// Checks the shape of one item that takes up all the bytes, without building or allocating anything.
fn walk(bytes: &[u8], max_bytes: usize, form: Form) -> Result<(), CanonError> {
    if bytes.len() > max_bytes {
        return Err(CanonError::TooLong { length: bytes.len(), limit: max_bytes });
    }
    let mut walker = Walker { bytes, items: 0, form };
    walker.item(0)?;
    if walker.bytes.is_empty() { Ok(()) } else { Err(CanonError::Trailing(walker.bytes.len())) }
}

/// Walks over an item; `bytes` is what is left.
struct Walker<'a> {
    bytes: &'a [u8],
    items: usize,
    form: Form,
}

impl<'a> Walker<'a> {
    fn item(&mut self, depth: usize) -> Result<(), CanonError> {
        if depth > MAX_CBOR_DEPTH {
            return Err(CanonError::TooDeep);
        }
        self.items += 1;
        if self.items > MAX_CBOR_ITEMS {
            return Err(CanonError::TooManyItems);
        }
        let [initial] = self.array()?;
        let (major, info) = (initial >> 5, initial & 0x1f);
        if major == 7 {
            return self.simple(info);
        }
        let argument = self.argument(info)?;
        match major {
            0 | 1 => Ok(()),
            2 | 3 => self.take(usize::try_from(argument).map_err(|_| CanonError::Truncated)?).map(drop),
            4 => self.elements(argument, depth),
            5 => self.entries(argument, depth),
            _ => Err(CanonError::ForbiddenForm),
        }
    }

    fn elements(&mut self, count: u64, depth: usize) -> Result<(), CanonError> {
        if count > MAX_CBOR_ITEMS as u64 {
            return Err(CanonError::TooManyItems);
        }
        (0..count).try_for_each(|_| self.item(depth + 1))
    }

    fn entries(&mut self, count: u64, depth: usize) -> Result<(), CanonError> {
        if count > MAX_CBOR_ITEMS as u64 / 2 {
            return Err(CanonError::TooManyItems);
        }
        let mut previous: Option<&[u8]> = None;
        for _ in 0..count {
            let from_key = self.bytes;
            self.item(depth + 1)?;
            let (key, _) = from_key.split_at(from_key.len() - self.bytes.len());
            if self.form == Form::Canonical && previous.is_some_and(|previous| previous >= key) {
                return Err(CanonError::NotCanonical);
            }
            previous = Some(key);
            self.item(depth + 1)?;
        }
        Ok(())
    }

    fn simple(&mut self, info: u8) -> Result<(), CanonError> {
        let finite = match info {
            20..=22 => true,
            // Binary16: all exponent bits set is infinity or not a number.
            25 => self.array::<2>()?[0] & 0x7c != 0x7c,
            26 => f32::from_be_bytes(self.array()?).is_finite(),
            27 => f64::from_be_bytes(self.array()?).is_finite(),
            _ => return Err(CanonError::ForbiddenForm),
        };
        if finite { Ok(()) } else { Err(CanonError::NotFinite) }
    }

    fn argument(&mut self, info: u8) -> Result<u64, CanonError> {
        // Beside each value the smallest one that needs this form.
        let (argument, smallest) = match info {
            0..=23 => (u64::from(info), 0),
            24 => (u64::from(u8::from_be_bytes(self.array()?)), 24),
            25 => (u64::from(u16::from_be_bytes(self.array()?)), 1 << 8),
            26 => (u64::from(u32::from_be_bytes(self.array()?)), 1 << 16),
            27 => (u64::from_be_bytes(self.array()?), 1 << 32),
            _ => return Err(CanonError::ForbiddenForm),
        };
        if self.form == Form::Canonical && argument < smallest {
            return Err(CanonError::NotCanonical);
        }
        Ok(argument)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], CanonError> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(CanonError::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CanonError> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>().ok_or(CanonError::Truncated)?;
        self.bytes = rest;
        Ok(*taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;
    use crate::limit::MAX_TEXT_BYTES;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        zebra: u64,
        ant: f32,
        bee: Vec<String>,
    }

    fn sample() -> Sample {
        Sample { zebra: 1000, ant: 0.1, bee: vec!["x".into(), "yy".into()] }
    }

    #[test]
    fn keys_are_sorted_and_the_form_is_stable() {
        let bytes = to_canonical(&sample()).unwrap();
        assert_eq!(&bytes[..5], b"\xa3\x63ant", "shorter and smaller keys come first");
        assert_eq!(from_canonical::<Sample>(&bytes, 64).unwrap(), sample());
    }

    #[test]
    fn b4_other_encodings_of_the_same_value_are_refused() {
        let unsorted = {
            let mut bytes = Vec::new();
            ciborium::into_writer(&sample(), &mut bytes).unwrap();
            bytes
        };
        assert_eq!(from_canonical::<Sample>(&unsorted, 64), Err(CanonError::NotCanonical));
        assert_eq!(decode_bounded::<Sample>(&unsorted, 64).unwrap(), sample());
        assert_eq!(from_canonical::<u64>(&[0x18, 0x05], 8), Err(CanonError::NotCanonical), "long integer");
        assert_eq!(from_canonical::<u64>(&[0x05, 0x00], 8), Err(CanonError::Trailing(1)));
        assert_eq!(
            from_canonical::<f64>(&[0xfb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0], 16),
            Err(CanonError::NotCanonical)
        );
        let indefinite = [0x9f, 0x01, 0xff];
        assert_eq!(decode_bounded::<Vec<u64>>(&indefinite, 8), Err(CanonError::ForbiddenForm));
        assert_eq!(decode_bounded::<u64>(&[0xc1, 0x01], 8), Err(CanonError::ForbiddenForm), "tag");
    }

    #[test]
    fn b4_canonical_walk_refuses_by_itself() {
        let refused = |bytes: &[u8]| walk(bytes, 64, Form::Canonical) == Err(CanonError::NotCanonical);
        let tolerated = |bytes: &[u8]| walk(bytes, 64, Form::Definite) == Ok(());
        let cases: [&[u8]; 8] = [
            &[0x18, 23],                                 // 23 in two bytes
            &[0x39, 0x00, 0xff],                         // -256 in three
            &[0x1a, 0x00, 0x00, 0xff, 0xff],             // 65,535 in five
            &[0x1b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], // 2^32 - 1 in nine
            &[0x78, 0x01, b'a'],                         // the length of a text
            &[0xb8, 0x01, 0x61, b'a', 0x00],             // the length of a map
            &[0xa2, 0x61, b'b', 0, 0x61, b'a', 0],       // keys falling
            &[0xa2, 0x61, b'a', 0, 0x61, b'a', 0],       // a key twice
        ];
        for bytes in cases {
            assert!(refused(bytes) && tolerated(bytes), "{bytes:02x?}");
        }
        let shortest: [&[u8]; 4] =
            [&[0x18, 24], &[0x19, 1, 0], &[0x1a, 0, 1, 0, 0], &[0x1b, 0, 0, 0, 1, 0, 0, 0, 0]];
        for bytes in shortest {
            assert_eq!(walk(bytes, 64, Form::Canonical), Ok(()), "{bytes:02x?}");
        }
    }

    #[test]
    fn b4_unknown_fields_are_refused_at_any_level_where_signed() {
        #[derive(Serialize, Deserialize)]
        struct Lenient {
            known: u8,
        }
        let extended = b"\xa2\x65known\x01\x65other\x02";
        assert_eq!(decode_bounded::<Lenient>(extended, 64).unwrap().known, 1);
        assert!(matches!(from_canonical::<Lenient>(extended, 64), Err(CanonError::NotCanonical)));
    }

    #[test]
    fn b32_reason_of_a_mismatch_quotes_no_control_characters() {
        #[derive(Debug, PartialEq, Deserialize)]
        enum Only {
            This,
        }
        let mut bytes = b"\x79\x02\x00\x1b[2J".to_vec();
        bytes.resize(3 + 512, b'x');
        let Err(CanonError::Mismatch(reason)) = decode_bounded::<Only>(&bytes, 1024) else { panic!() };
        assert!(reason.len() <= MAX_TEXT_BYTES && !reason.contains('\u{1b}'), "{reason}");
        assert_eq!(decode_bounded::<Only>(b"\x64This", 16), Ok(Only::This));
    }

    #[test]
    fn b2_b3_claims_are_refused_before_they_cost_anything() {
        let huge_array = [0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(decode_bounded::<Vec<u64>>(&huge_array, 16), Err(CanonError::TooManyItems));
        let huge_text = [0x7b, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(decode_bounded::<String>(&huge_text, 16), Err(CanonError::Truncated));
        let deep = vec![0x81; 100_000];
        assert_eq!(decode_bounded::<Value>(&deep, 200_000), Err(CanonError::TooDeep));
        let many = [&[0x99, 0xff, 0xff][..], &vec![0; 65_535]].concat();
        assert_eq!(decode_bounded::<Vec<u8>>(&many, 100_000), Err(CanonError::TooManyItems));
    }

    #[test]
    fn b5_numbers_that_are_not_finite_are_refused() {
        for bytes in
            [&[0xf9, 0x7e, 0x00][..], &[0xfa, 0x7f, 0x80, 0, 0], &[0xfb, 0xff, 0xf0, 0, 0, 0, 0, 0, 0]]
        {
            assert_eq!(decode_bounded::<f64>(bytes, 16), Err(CanonError::NotFinite));
        }
        assert_eq!(to_canonical(&f32::NAN), Err(CanonError::NotFinite));
    }

    proptest! {
        #[test]
        fn round_trip(zebra: u64, ant in -1e30_f32..1e30, bee in prop::collection::vec(".{0,8}", 0..8)) {
            let value = Sample { zebra, ant, bee };
            let bytes = to_canonical(&value).unwrap();
            prop_assert_eq!(from_canonical::<Sample>(&bytes, 4096).unwrap(), value);
        }

        #[test]
        fn any_bytes_give_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = decode_bounded::<Sample>(&bytes, 256);
            if let Ok(value) = from_canonical::<Sample>(&bytes, 256) {
                prop_assert_eq!(to_canonical(&value).unwrap(), bytes);
            }
        }
    }
}
