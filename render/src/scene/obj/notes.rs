//! What a conversion left out or had to guess, for the owner of the scene.

use crate::limit::MAX_WARNINGS;

/// A list without repetitions that cannot grow past [`MAX_WARNINGS`].
#[derive(Debug, Default)]
pub(super) struct Notes {
    kept: Vec<String>,
    dropped: usize,
}

impl Notes {
    /// Keeps a sentence, once.
    pub(super) fn add(&mut self, sentence: impl Into<String>) {
        let sentence = sentence.into();
        if self.kept.contains(&sentence) {
            return;
        }
        if self.kept.len() < MAX_WARNINGS {
            self.kept.push(sentence);
        } else {
            self.dropped += 1;
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
