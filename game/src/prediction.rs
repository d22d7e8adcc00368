//! What is shown of a world that is computed elsewhere: what is known of a moment, or else a guess, and never a jump
//! that could be a glide.
//!
//! Bodies that move on are guessed by dead reckoning (as in DIS, IEEE 1278.1). When the truth arrives, what is shown
//! slides to it; only what was shown too wrongly jumps.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    layout::{AgentState, BodyState},
    level::BODY_HALF_M,
    limit::{FRAME_S, HISTORY_FRAMES, MAX_EXTRAPOLATED_FRAMES, MAX_OFFSET_M, MAX_SNAP_M},
};

/// Acceleration of what falls, metres a second squared.
const GRAVITY: f32 = 9.81;
/// What rises or sinks faster than this is taken to fly, metres a second.
const FLIES: f32 = 0.4;

/// Something that moves.
pub trait Moving: Copy {
    /// Where it is, metres.
    fn position(&self) -> [f32; 3];
    /// Where it will be after so many frames if it goes on as it does.
    #[must_use]
    fn carried(&self, frames: f32) -> Self;
    /// Between this and a later state, at a share of the way.
    #[must_use]
    fn towards(&self, later: &Self, share: f32) -> Self;
    /// The same, elsewhere.
    #[must_use]
    fn displaced(&self, by: [f32; 3]) -> Self;
}

impl Moving for BodyState {
    fn position(&self) -> [f32; 3] {
        Self::position(self)
    }

    fn carried(&self, frames: f32) -> Self {
        let time_s = frames * FRAME_S;
        let ([x, y, z], [vx, vy, vz]) = (self.position(), self.velocity());
        let drop = if vy.abs() > FLIES { 0.5 * GRAVITY * time_s * time_s } else { 0.0 };
        let position = [x + vx * time_s, (y + vy * time_s - drop).max(BODY_HALF_M.min(y)), z + vz * time_s];
        Self::new(position, self.rotation(), self.velocity(), self.spin(), self.rest())
    }

    fn towards(&self, later: &Self, share: f32) -> Self {
        let mixed =
            |a: [f32; 3], b: [f32; 3]| std::array::from_fn(|axis| a[axis] + (b[axis] - a[axis]) * share);
        let rotation = if share < 0.5 { self.rotation() } else { later.rotation() };
        let velocity = mixed(self.velocity(), later.velocity());
        Self::new(mixed(self.position(), later.position()), rotation, velocity, later.spin(), later.rest())
    }

    fn displaced(&self, by: [f32; 3]) -> Self {
        if by.iter().all(|part| *part == 0.0) {
            return *self;
        }
        let position = self.position();
        let position = std::array::from_fn(|axis| position[axis] + by[axis]);
        Self::new(position, self.rotation(), self.velocity(), self.spin(), self.rest())
    }
}

impl Moving for AgentState {
    fn position(&self) -> [f32; 3] {
        let [x, z] = self.place();
        [x, 0.0, z]
    }

    fn carried(&self, frames: f32) -> Self {
        let ([x, z], [vx, vz]) = (self.place(), self.velocity());
        let time_s = frames * FRAME_S;
        Self::new([x + vx * time_s, z + vz * time_s], self.velocity(), self.goal())
    }

    fn towards(&self, later: &Self, share: f32) -> Self {
        let mixed =
            |a: [f32; 2], b: [f32; 2]| std::array::from_fn(|axis| a[axis] + (b[axis] - a[axis]) * share);
        Self::new(mixed(self.place(), later.place()), mixed(self.velocity(), later.velocity()), later.goal())
    }

    fn displaced(&self, [x, _, z]: [f32; 3]) -> Self {
        let place = self.place();
        Self::new([place[0] + x, place[1] + z], self.velocity(), self.goal())
    }
}

/// What is known of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// It was computed.
    Known,
    /// Moments before and after it were.
    Between,
    /// Carried on from an earlier moment: a prediction.
    Predicted,
}

/// What is shown of one frame.
#[derive(Debug, Clone)]
pub struct Shown<S> {
    /// The states, in their order.
    pub states: Vec<S>,
    /// Where they are from.
    pub source: Source,
    /// What was shown wrongly, at most, as far as this frame knows: metres.
    pub error_m: f32,
    /// How many jumped.
    pub jumps: u32,
}

/// States by moment, and what is shown of them.
pub struct Timeline<S> {
    known: BTreeMap<u32, Arc<Vec<S>>>,
    /// The moment from which the last frame was predicted, and what was known of it.
    carried_from: Option<(u32, Arc<Vec<S>>)>,
    /// What is shown is off by this on purpose, on its way to where it belongs.
    offsets: Vec<[f32; 3]>,
}

impl<S: Moving> Timeline<S> {
    /// Known at moment 0.
    pub fn new(states: Vec<S>) -> Self {
        let offsets = vec![[0.0; 3]; states.len()];
        Self { known: BTreeMap::from([(0, Arc::new(states))]), carried_from: None, offsets }
    }

    /// The newest moment that is known.
    pub fn newest(&self) -> (u32, Arc<Vec<S>>) {
        // invariant: moment 0 is known from the start, and something always stays.
        self.known
            .last_key_value()
            .map_or_else(|| (0, Arc::default()), |(tick, states)| (*tick, Arc::clone(states)))
    }

    /// A moment was computed. Another number of states than there are is not taken.
    pub fn learn(&mut self, tick: u32, states: Vec<S>) -> bool {
        if states.len() != self.offsets.len() {
            return false;
        }
        // Whoever is first stands until it is found to be wrong: a second copy cannot replace it.
        self.known.entry(tick).or_insert_with(|| Arc::new(states));
        while self.known.len() > HISTORY_FRAMES {
            self.known.pop_first();
        }
        true
    }

    /// What is known of a moment.
    pub fn at(&self, tick: u32) -> Option<&[S]> {
        self.known.get(&tick).map(|states| states.as_slice())
    }

    /// What was computed of later moments is not believed any more; moment 0 is.
    pub fn forget_after(&mut self, tick: u32) {
        let from = tick.min(self.known.last_key_value().map_or(0, |(newest, _)| *newest));
        let oldest = self.known.first_key_value().map_or(0, |(oldest, _)| *oldest);
        self.known.retain(|known, _| *known <= from || *known == oldest);
    }

    /// What is known of a moment, or can be guessed.
    fn estimate(&self, tick: u32) -> (Vec<S>, Source, Option<u32>) {
        if let Some(states) = self.known.get(&tick) {
            return (states.to_vec(), Source::Known, None);
        }
        let before = self.known.range(..tick).next_back();
        let after = self.known.range(tick..).next();
        match (before, after) {
            (Some((from, before)), Some((to, after))) => {
                let share = (tick - from) as f32 / (to - from) as f32;
                let states = before.iter().zip(after.iter()).map(|(a, b)| a.towards(b, share)).collect();
                (states, Source::Between, None)
            }
            (Some((from, before)), None) => (carry(before, *from, tick), Source::Predicted, Some(*from)),
            (None, Some((_, after))) => (after.to_vec(), Source::Between, None),
            (None, None) => (Vec::new(), Source::Predicted, None),
        }
    }

    /// What is shown at a moment; moments are shown in their order.
    pub fn show(&mut self, tick: u32) -> Shown<S> {
        let (target, source, from) = self.estimate(tick);
        let mut shown = Shown { states: Vec::with_capacity(target.len()), source, error_m: 0.0, jumps: 0 };
        let expected = self.carried_from.as_ref().filter(|(before, _)| from != Some(*before));
        let expected = expected.map(|(before, states)| carry(states, *before, tick));
        for (index, (state, offset)) in target.iter().zip(&mut self.offsets).enumerate() {
            if let Some(expected) = expected.as_ref().and_then(|expected| expected.get(index)) {
                let (was, is) = (expected.position(), state.position());
                let wrong: [f32; 3] = std::array::from_fn(|axis| offset[axis] + was[axis] - is[axis]);
                shown.error_m = shown.error_m.max(length(wrong));
                let is_far = length(wrong) > MAX_OFFSET_M;
                shown.jumps += u32::from(is_far);
                *offset = if is_far { [0.0; 3] } else { wrong };
            }
            *offset = shortened(*offset, MAX_SNAP_M);
            shown.states.push(state.displaced(*offset));
        }
        self.carried_from = from.and_then(|from| Some((from, Arc::clone(self.known.get(&from)?))));
        shown
    }
}

fn carry<S: Moving>(states: &[S], from: u32, to: u32) -> Vec<S> {
    let frames = to.saturating_sub(from).min(MAX_EXTRAPOLATED_FRAMES);
    states.iter().map(|state| state.carried(frames as f32)).collect()
}

fn length([x, y, z]: [f32; 3]) -> f32 {
    (x * x + y * y + z * z).sqrt()
}

fn shortened(vector: [f32; 3], by: f32) -> [f32; 3] {
    let length = length(vector);
    if length <= by { [0.0; 3] } else { vector.map(|part| part * (1.0 - by / length)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(x: f32, speed: f32) -> BodyState {
        BodyState::new([x, BODY_HALF_M, 0.0], [0.0, 0.0, 0.0, 1.0], [speed, 0.0, 0.0], [0.0; 3], 0)
    }

    fn x(shown: &Shown<BodyState>) -> f32 {
        shown.states[0].position()[0]
    }

    #[test]
    fn what_is_known_is_shown_and_what_is_not_goes_on_as_it_did() {
        let mut timeline = Timeline::new(vec![body(0.0, 6.0)]);
        timeline.learn(1, vec![body(0.1, 6.0)]);
        let known = timeline.show(1);
        assert_eq!((known.source, known.states[0]), (Source::Known, body(0.1, 6.0)));
        let predicted = timeline.show(3);
        assert_eq!(predicted.source, Source::Predicted);
        assert!((x(&predicted) - 0.3).abs() < 1e-3);
        timeline.learn(6, vec![body(0.6, 6.0)]);
        assert_eq!(timeline.show(4).source, Source::Between);
        assert!(!timeline.learn(7, vec![]), "half an answer is none");
    }

    #[test]
    fn small_errors_slide_and_large_ones_jump() {
        // It stopped at once, and nobody knew for two frames.
        let mut timeline = Timeline::new(vec![body(0.0, 6.0)]);
        timeline.show(0);
        timeline.show(1);
        timeline.show(2);
        timeline.learn(3, vec![body(0.0, 0.0)]);
        timeline.learn(9, vec![body(0.0, 0.0)]);
        let corrected = timeline.show(3);
        assert!((corrected.error_m - 0.3).abs() < 0.01, "{}", corrected.error_m);
        assert_eq!((corrected.jumps, x(&corrected)), (1, 0.0), "30 cm are too much to slide");
        let mut timeline = Timeline::new(vec![body(0.0, 3.0)]);
        timeline.show(1);
        timeline.learn(2, vec![body(0.0, 0.0)]);
        timeline.learn(12, vec![body(0.0, 0.0)]);
        let places: Vec<f32> = (2..12).map(|tick| x(&timeline.show(tick))).collect();
        assert!(places[0] > 0.05 && places[9] == 0.0, "{places:?}");
        for two in places.windows(2) {
            assert!(two[0] - two[1] <= MAX_SNAP_M + 1e-3, "{places:?}");
        }
    }

    #[test]
    fn without_news_everything_stops_before_long() {
        let mut timeline = Timeline::new(vec![body(0.0, 6.0)]);
        let at = |timeline: &mut Timeline<BodyState>, tick| x(&timeline.show(tick));
        let most = MAX_EXTRAPOLATED_FRAMES as f32 * 0.1;
        assert!((at(&mut timeline, 100) - most).abs() < 1e-2);
        assert!((at(&mut timeline, 200) - most).abs() < 1e-2);
    }
}
