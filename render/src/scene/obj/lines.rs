//! Statements of OBJ and MTL files: one a line, a backslash at the end continues it, a number sign starts a comment.

use std::borrow::Cow;

/// The statements of a file, each with the number of its first line. What is not UTF-8 is replaced: old programs
/// write names in other encodings.
pub(super) struct Lines<'a> {
    rest: &'a [u8],
    read: u64,
}

impl<'a> Lines<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes), read: 0 }
    }

    fn line(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        self.read += 1;
        let mut parts = self.rest.splitn(2, |byte| *byte == b'\n');
        let line = parts.next()?;
        self.rest = parts.next().unwrap_or_default();
        Some(line.trim_ascii())
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = (u64, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = self.line()?;
        let first = self.read;
        if line.starts_with(b"#") || !line.ends_with(b"\\") {
            let text = if line.starts_with(b"#") { Cow::Borrowed("") } else { String::from_utf8_lossy(line) };
            return Some((first, text));
        }
        let mut joined = Vec::new();
        while let Some(start) = line.strip_suffix(b"\\") {
            joined.extend_from_slice(start);
            joined.push(b' ');
            line = self.line().unwrap_or_default();
        }
        joined.extend_from_slice(line);
        Some((first, Cow::Owned(String::from_utf8_lossy(&joined).into_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_keep_the_numbers_of_their_first_lines() {
        let text = b"\xEF\xBB\xBFa\r\n# c \\\nb 1 \\\n 2\\\n\nlast \\";
        let lines: Vec<(u64, String)> =
            Lines::new(text).map(|(number, line)| (number, line.into_owned())).collect();
        let expected = [(1, "a"), (2, ""), (3, "b 1  2 "), (6, "last  ")];
        assert_eq!(lines, expected.map(|(number, line)| (number, line.to_owned())));
    }
}
