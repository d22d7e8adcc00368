//! The contributor's order of sending: short messages first, then the beginnings of results, then their other pieces, side by
//! side. So the first byte of a tile never waits for the pixels of another one.
//!
//! No stream and no channel: events in, frames out.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use p2c2r_protocol::{frame::FrameError, id::TaskId, limit::MAX_PIECE_BYTES, task::ContributorMessage};
use tracing::warn;

use super::{ContributorEvent, TileResult, batch::Batch};
use crate::limit::{MAX_INTERLEAVED_BYTES, MAX_INTERLEAVED_RESULTS, MAX_UNANSWERED_CANCELS};

/// The coordinator has withdrawn more tasks than anybody may hold.
#[derive(Debug, thiserror::Error)]
#[error("more than {MAX_UNANSWERED_CANCELS} cancellations at once")]
pub(super) struct TooManyCancels;

/// What waits to be sent.
#[derive(Debug, Default)]
pub(super) struct SendQueue {
    messages: VecDeque<ContributorMessage>,
    /// Results of which nothing has been sent.
    fresh: VecDeque<Outgoing>,
    /// Results that have begun, each one's turn after the others'.
    begun: VecDeque<Outgoing>,
    /// Withdrawn tasks whose answer has not come from the node yet: a result of theirs is not sent any more.
    cancelled: BTreeSet<TaskId>,
    /// Goodbye ends the session, so it must not overtake a result.
    goodbye: bool,
}

#[derive(Debug)]
struct Outgoing {
    task: TaskId,
    /// Goes out before the first piece.
    header: Option<ContributorMessage>,
    rest: Bytes,
    offset: u32,
}

impl SendQueue {
    /// Whether there is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.fresh.is_empty() && self.begun.is_empty() && !self.goodbye
    }

    /// Whether more results are to wait outside.
    pub(super) fn is_full(&self) -> bool {
        let results = || self.fresh.iter().chain(&self.begun);
        let bytes: usize = results().map(|outgoing| outgoing.rest.len()).sum();
        results().count() >= MAX_INTERLEAVED_RESULTS || bytes >= MAX_INTERLEAVED_BYTES
    }

    /// Adds what the node says.
    pub(super) fn push(&mut self, event: ContributorEvent) {
        match event {
            ContributorEvent::Message(ContributorMessage::Goodbye) => self.goodbye = true,
            ContributorEvent::Message(message) => {
                if let ContributorMessage::Cancelled { task, .. } = &message {
                    self.cancelled.remove(task);
                }
                self.messages.push_back(message);
            }
            ContributorEvent::Result(result) => self.push_result(result),
            ContributorEvent::Violation(reason) => {
                warn!(reason, "a violation is not a message; nothing was sent");
            }
        }
    }

    fn push_result(&mut self, result: TileResult) {
        let TileResult { task, statement, signature, payload, load } = result;
        if self.cancelled.contains(&task) {
            return;
        }
        let payload_bytes = payload.len() as u32;
        let header = ContributorMessage::Result { task, statement, signature, payload_bytes, load };
        self.fresh.push_back(Outgoing { task, header: Some(header), rest: payload.join(), offset: 0 });
    }

    /// Drops whatever of the task is not sent yet.
    pub(super) fn cancel(&mut self, task: TaskId) -> Result<(), TooManyCancels> {
        self.fresh.retain(|outgoing| outgoing.task != task);
        self.begun.retain(|outgoing| outgoing.task != task);
        self.cancelled.insert(task);
        if self.cancelled.len() > MAX_UNANSWERED_CANCELS { Err(TooManyCancels) } else { Ok(()) }
    }

    /// Moves frames into `out` until it holds `batch_bytes` or nothing is left.
    pub(super) fn fill(&mut self, out: &mut Batch, batch_bytes: usize) -> Result<(), FrameError> {
        while out.length_bytes() < batch_bytes {
            if let Some(message) = self.messages.pop_front() {
                out.push(&message, Bytes::new())?;
            } else if let Some(outgoing) = self.fresh.pop_front().or_else(|| self.begun.pop_front()) {
                self.begun.extend(outgoing.send_piece(out)?);
            } else if std::mem::take(&mut self.goodbye) {
                out.push(&ContributorMessage::Goodbye, Bytes::new())?;
            } else {
                break;
            }
        }
        Ok(())
    }
}

impl Outgoing {
    /// Writes the next piece; gives back what is left.
    fn send_piece(mut self, out: &mut Batch) -> Result<Option<Self>, FrameError> {
        if let Some(header) = self.header.take() {
            out.push(&header, Bytes::new())?;
        }
        let length = self.rest.len().min(MAX_PIECE_BYTES as usize);
        let message = ContributorMessage::Piece { task: self.task, offset: self.offset };
        out.push(&message, self.rest.split_to(length))?;
        self.offset += length as u32;
        Ok(if self.rest.is_empty() { None } else { Some(self) })
    }
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::{
        frame::{Decoder, Frame},
        task::{CancelledState, Load},
    };

    use super::{super::tests::result, *};

    const PIECE: usize = MAX_PIECE_BYTES as usize;

    fn drain(queue: &mut SendQueue) -> Vec<Frame<ContributorMessage>> {
        let mut out = Batch::default();
        queue.fill(&mut out, usize::MAX).unwrap();
        let mut decoder = Decoder::default();
        out.parts().for_each(|part| decoder.feed(part));
        std::iter::from_fn(|| decoder.next_frame().unwrap()).collect()
    }

    fn names(frames: &[Frame<ContributorMessage>]) -> Vec<String> {
        let name = |frame: &Frame<ContributorMessage>| match &frame.header {
            ContributorMessage::Result { task, .. } => format!("result {}", task.0),
            ContributorMessage::Piece { task, offset } => format!("piece {} at {offset}", task.0),
            ContributorMessage::Pong { .. } => "pong".to_owned(),
            ContributorMessage::Cancelled { .. } => "cancelled".to_owned(),
            ContributorMessage::Goodbye => "goodbye".to_owned(),
            other => format!("{other:?}"),
        };
        frames.iter().map(name).collect()
    }

    #[test]
    fn pieces_of_two_results_interleave_behind_short_messages() {
        let mut queue = SendQueue::default();
        queue.push(ContributorEvent::Result(result(TaskId(1), 2 * PIECE + 5)));
        queue.push(ContributorEvent::Result(result(TaskId(2), PIECE)));
        queue.push(ContributorEvent::Message(ContributorMessage::Goodbye));
        queue.push(ContributorEvent::Message(ContributorMessage::Pong { nonce: 1, load: Load::default() }));
        let expected = [
            "pong",
            "result 1",
            "piece 1 at 0",
            "result 2",
            "piece 2 at 0",
            "piece 1 at 65536",
            "piece 1 at 131072",
            "goodbye",
        ];
        assert_eq!(names(&drain(&mut queue)), expected);
        assert!(queue.is_empty());
    }

    #[test]
    fn the_first_byte_of_a_tile_does_not_wait_for_the_pixels_of_others() {
        let mut queue = SendQueue::default();
        for task in 1..=40 {
            queue.push(ContributorEvent::Result(result(TaskId(task), 3 * PIECE)));
        }
        // Each has begun.
        let mut sent = Batch::default();
        queue.fill(&mut sent, 40 * PIECE).unwrap();
        queue.push(ContributorEvent::Result(result(TaskId(99), 3 * PIECE)));
        let rest = names(&drain(&mut queue));
        assert_eq!(rest[..2], ["result 99", "piece 99 at 0"]);
        let turns = rest.iter().skip(2).take_while(|name| **name != "piece 99 at 65536").count();
        assert!(turns >= 39, "then it takes its turn with the others: {turns}");
    }

    #[test]
    fn cancellation_drops_what_is_queued_and_what_the_node_adds_before_it_knows() {
        let mut queue = SendQueue::default();
        queue.push(ContributorEvent::Result(result(TaskId(1), PIECE)));
        queue.cancel(TaskId(1)).unwrap();
        queue.cancel(TaskId(2)).unwrap();
        queue.push(ContributorEvent::Result(result(TaskId(2), PIECE)));
        for task in [TaskId(1), TaskId(2)] {
            let answer = ContributorMessage::Cancelled { task, state: CancelledState::Finished };
            queue.push(ContributorEvent::Message(answer));
        }
        assert_eq!(names(&drain(&mut queue)), ["cancelled", "cancelled"]);
        assert!(queue.cancelled.is_empty());
    }

    #[test]
    fn batches_are_bounded() {
        let mut queue = SendQueue::default();
        queue.push(ContributorEvent::Result(result(TaskId(1), 40 * PIECE)));
        let mut out = Batch::default();
        queue.fill(&mut out, 2 * PIECE).unwrap();
        assert!(out.length_bytes() < 3 * PIECE + 4096, "{}", out.length_bytes());
        assert!(!queue.is_empty());
    }

    #[test]
    fn cancellations_of_anything_are_bounded() {
        let mut queue = SendQueue::default();
        let first_refused =
            (0..2 * MAX_UNANSWERED_CANCELS as u64).find(|task| queue.cancel(TaskId(*task)).is_err());
        assert_eq!(first_refused, Some(MAX_UNANSWERED_CANCELS as u64));
    }
}
