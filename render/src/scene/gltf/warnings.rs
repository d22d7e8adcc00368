//! What the loader passed over, for the owner of the scene.

use super::document::{Document, is_supported};
use crate::{limit::MAX_WARNINGS, scene::error::printable};

/// A list without repetitions that cannot grow past [`MAX_WARNINGS`].
#[derive(Debug, Default)]
pub(super) struct Warnings {
    kept: Vec<String>,
    dropped: usize,
}

impl Warnings {
    /// Keeps a sentence, once.
    pub(super) fn add(&mut self, sentence: String) {
        if self.kept.contains(&sentence) {
            return;
        }
        if self.kept.len() < MAX_WARNINGS {
            self.kept.push(sentence);
        } else {
            self.dropped += 1;
        }
    }

    /// Notes what the document as a whole has and the renderer has not.
    pub(super) fn add_document(&mut self, document: &Document) {
        for name in document.extensions_used.iter().filter(|name| !is_supported(name)) {
            self.add(format!("the extension {} is ignored", printable(name)));
        }
    }

    /// The sentences, and how many more there were.
    pub(super) fn into_sentences(mut self) -> Vec<String> {
        if self.dropped > 0 {
            self.kept.push(format!("and {} more", self.dropped));
        }
        self.kept
    }
}
