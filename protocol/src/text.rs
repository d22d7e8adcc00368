//! Texts from peers that a person may see: short, and without characters that steer a terminal.

use crate::{frame::FieldError, limit::MAX_TEXT_BYTES};

/// Whether a text from a peer may be shown to a person: at most [`MAX_TEXT_BYTES`], no control characters.
pub(crate) fn check_text(name: &'static str, text: &str) -> Result<(), FieldError> {
    if text.len() <= MAX_TEXT_BYTES && !text.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(FieldError(name))
    }
}

/// Cuts a text to [`MAX_TEXT_BYTES`], and control characters out of it: what every message takes as a text.
pub fn presentable(text: &str) -> String {
    let mut kept = String::new();
    for character in text.chars().filter(|character| !character.is_control()) {
        if kept.len() + character.len_utf8() > MAX_TEXT_BYTES {
            break;
        }
        kept.push(character);
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn b32_escape_codes_and_endless_texts_are_refused() {
        assert!(check_text("name", "plain, even ünïcode").is_ok());
        for text in ["\u{1b}[2J", "line\nbreak", "\u{9b}31m", &"x".repeat(MAX_TEXT_BYTES + 1)] {
            assert_eq!(check_text("name", text), Err(FieldError("name")), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn b32_presentable_text_always_passes(text in any::<String>(), tail in "\\PC{0,300}") {
            let kept = presentable(&(text + &tail));
            prop_assert_eq!(check_text("name", &kept), Ok(()));
        }

        #[test]
        fn good_text_is_kept_as_it_is(text in "[a-zà-ÿ0-9 /.-]{0,100}") {
            prop_assert_eq!(presentable(&text), text);
        }
    }
}
