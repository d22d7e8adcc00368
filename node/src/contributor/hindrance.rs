//! Trouble on purpose, to try a swarm with: a contributor that answers late, or fails at some of its tasks.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// Longest delay, ms.
pub const MAX_DELAY_MS: u32 = 10_000;

/// What is wrong with a contributor.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hindrance {
    /// Every answer is held back so long, ms: at most [`MAX_DELAY_MS`].
    pub delay_ms: u32,
    /// Share of the tasks that come to nothing, 0 to 1.
    pub fail_share: f32,
    /// Share of these of which nobody hears, 0 to 1.
    pub silent_share: f32,
}

/// What becomes of a finished task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its result is sent.
    Sent,
    /// Its coordinator hears that it failed.
    Failed,
    /// Its coordinator hears nothing.
    Silent,
}

impl Hindrance {
    /// Whether it is one that can be asked for.
    pub fn is_sane(&self) -> bool {
        let is_share = |share: f32| (0.0..=1.0).contains(&share);
        self.delay_ms <= MAX_DELAY_MS && is_share(self.fail_share) && is_share(self.silent_share)
    }
}

/// Draws what becomes of tasks: the same for the same numbers of tasks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Misfortune {
    drawn: u64,
}

impl Misfortune {
    /// What becomes of the next finished task.
    pub fn next(&mut self, hindrance: &Hindrance) -> Fate {
        if hindrance.fail_share <= 0.0 {
            return Fate::Sent;
        }
        self.drawn += 1;
        let hash = blake3::hash(&self.drawn.to_le_bytes());
        let word = |at: usize| {
            let bytes = hash.as_bytes().get(at..at + 2).and_then(|bytes| bytes.try_into().ok());
            f32::from(u16::from_le_bytes(bytes.unwrap_or_default())) / f32::from(u16::MAX)
        };
        if word(0) >= hindrance.fail_share {
            Fate::Sent
        } else if word(2) >= hindrance.silent_share {
            Fate::Failed
        } else {
            Fate::Silent
        }
    }
}

/// Passes on what comes, in that order, each after the delay of the moment when it came.
pub fn delayed<T: Send + 'static>(
    to: mpsc::Sender<T>,
    delay: impl Fn() -> Duration + Send + 'static,
) -> mpsc::Sender<T> {
    let (sender, mut events) = mpsc::channel::<T>(to.max_capacity());
    tokio::spawn(async move {
        let mut waiting: VecDeque<(Instant, T)> = VecDeque::new();
        let mut is_open = true;
        while is_open || !waiting.is_empty() {
            let due = waiting.front().map(|(due, _)| tokio::time::Instant::from_std(*due));
            tokio::select! {
                event = events.recv(), if is_open && waiting.len() < to.max_capacity() => match event {
                    Some(event) => waiting.push_back((Instant::now() + delay(), event)),
                    None => is_open = false,
                },
                () = async {
                    match due {
                        // Timers count in milliseconds, rounded up: what need not wait does not.
                        Some(due) if due <= Instant::now().into() => {}
                        Some(due) => tokio::time::sleep_until(due).await,
                        None => std::future::pending().await,
                    }
                } => {
                    if let Some((_, event)) = waiting.pop_front()
                        && to.send(event).await.is_err()
                    {
                        return;
                    }
                }
            }
        }
    });
    sender
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::task::ContributorMessage;
    use p2c2r_swarm::ContributorEvent;

    use super::*;

    #[test]
    fn as_many_tasks_fail_as_were_asked_for() {
        let hindrance = Hindrance { fail_share: 0.2, silent_share: 0.3, ..Hindrance::default() };
        let mut misfortune = Misfortune::default();
        let fates: Vec<Fate> = (0..4000).map(|_| misfortune.next(&hindrance)).collect();
        let count = |fate| fates.iter().filter(|drawn| **drawn == fate).count() as f64;
        assert!((count(Fate::Sent) / 4000.0 - 0.8).abs() < 0.03, "{}", count(Fate::Sent));
        assert!((count(Fate::Silent) / (4000.0 - count(Fate::Sent)) - 0.3).abs() < 0.06);
        assert_eq!(Misfortune::default().next(&Hindrance::default()), Fate::Sent);
        assert!(!Hindrance { delay_ms: 20_000, ..Hindrance::default() }.is_sane());
        assert!(!Hindrance { fail_share: f32::NAN, ..Hindrance::default() }.is_sane());
    }

    #[tokio::test]
    async fn answers_come_late_and_in_order() {
        let (to, mut heard) = mpsc::channel(64);
        let sender = delayed(to, || Duration::from_millis(30));
        let started = Instant::now();
        for nonce in 0..20 {
            let pong = ContributorMessage::Pong { nonce, load: p2c2r_protocol::task::Load::default() };
            sender.send(ContributorEvent::Message(pong)).await.unwrap();
        }
        drop(sender);
        let mut nonces = Vec::new();
        while let Some(event) = heard.recv().await {
            if let ContributorEvent::Message(ContributorMessage::Pong { nonce, .. }) = event {
                nonces.push(nonce);
            }
        }
        assert_eq!(nonces, (0..20).collect::<Vec<u64>>());
        assert!(started.elapsed() >= Duration::from_millis(30));
    }
}
