//! What the models say, overheard.

use std::sync::{Arc, Mutex, PoisonError};

use p2c2r_protocol::id::{NodeId, WorkKind};

use crate::{
    PeerView, Prediction, TaskFeatures,
    predict::{Fitted, LearnedSpeed, Outcome, Predictor, Refit},
};

/// The predictions since they were last asked for.
#[derive(Debug, Clone, Default)]
pub struct Said(Arc<Mutex<Vec<Prediction>>>);

impl Said {
    /// Takes them.
    pub fn take(&self) -> Vec<Prediction> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, prediction: Prediction) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(prediction);
    }
}

/// Models that are overheard.
pub struct Overheard {
    models: Box<dyn Predictor>,
    said: Said,
}

impl Overheard {
    /// These models, and where to find what they say.
    pub fn new(models: Box<dyn Predictor>) -> (Self, Said) {
        let said = Said::default();
        (Self { models, said: said.clone() }, said)
    }
}

impl Predictor for Overheard {
    fn predict(&self, peer: &PeerView, kind: WorkKind, features: &TaskFeatures) -> Prediction {
        let prediction = self.models.predict(peer, kind, features);
        self.said.note(prediction);
        prediction
    }

    fn observe(&mut self, outcome: &Outcome) {
        self.models.observe(outcome);
    }

    fn speed(&self, peer: &NodeId, kind: WorkKind) -> Option<LearnedSpeed> {
        self.models.speed(peer, kind)
    }

    fn take_refit(&mut self) -> Option<Refit> {
        self.models.take_refit()
    }

    fn install(&mut self, fitted: Fitted) {
        self.models.install(fitted);
    }
}
