//! The coordinator's book of a session: which results are due, and how much of each has come.
//!
//! No stream and no channel: messages in, events out.

use std::collections::HashMap;

use bytes::Bytes;
use p2c2r_protocol::{
    frame::Frame,
    id::TaskId,
    limit::MAX_PICTURE_BYTES,
    stage::Stage,
    task::{ContributorMessage, CoordinatorMessage, Load},
};

use super::{ContributorEvent, Payload, TileResult};
use crate::limit::MAX_UNANSWERED_CANCELS;

/// How a contributor broke the session's rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Violation {
    #[error("a result for task {} that is not out", .0.0)]
    Unsolicited(TaskId),
    #[error("a second result for task {}", .0.0)]
    Repeated(TaskId),
    #[error("a result of {found_bytes} bytes for task {}, which asked for {expected_bytes}", task.0)]
    Size { task: TaskId, found_bytes: u64, expected_bytes: u64 },
    #[error("a piece of task {} that is not out, or before its result", .0.0)]
    StrayPiece(TaskId),
    #[error("a piece of task {} at byte {found} instead of {expected}", task.0)]
    Order { task: TaskId, found: u64, expected: u64 },
    #[error("a piece of task {} that is empty or goes beyond its result", .0.0)]
    PieceLength(TaskId),
    #[error("more than {MAX_UNANSWERED_CANCELS} cancellations are unanswered")]
    UnansweredCancels,
}

/// The results that a contributor owes.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    due: HashMap<TaskId, Due>,
    cancelled: usize,
}

#[derive(Debug)]
struct Due {
    /// Of a picture's file, or of compressed pixels, the most that there may be, until the header says.
    expected_bytes: u64,
    /// Whether the result says how large it is, not our request.
    says_its_size: bool,
    received_bytes: u64,
    /// The contributor may have finished before our cancellation arrived: what still comes is checked and dropped.
    cancelled: bool,
    header: Option<ResultHeader>,
    /// Nothing of one that was cancelled.
    payload: Payload,
}

#[derive(Debug)]
struct ResultHeader {
    statement: Vec<u8>,
    signature: Vec<u8>,
    load: Load,
}

impl Assembly {
    /// Notes what goes out.
    pub(super) fn sent(&mut self, message: &CoordinatorMessage) {
        match message {
            CoordinatorMessage::Offer { task, request, compress } => {
                self.due.insert(*task, Due::new(request.payload_bytes(), *compress));
            }
            CoordinatorMessage::OfferStage { task, request } if request.stage == Stage::Post => {
                self.due.insert(*task, Due::new(u64::from(MAX_PICTURE_BYTES), true));
            }
            CoordinatorMessage::Cancel { task } => {
                if let Some(due) = self.due.get_mut(task).filter(|due| !due.cancelled) {
                    due.cancelled = true;
                    due.payload = Payload::default();
                    self.cancelled += 1;
                }
            }
            _ => {}
        }
    }

    /// Takes what comes in; gives back what the node is to see.
    pub(super) fn received(
        &mut self,
        frame: Frame<ContributorMessage>,
    ) -> Result<Option<ContributorEvent>, Violation> {
        if self.cancelled > MAX_UNANSWERED_CANCELS {
            return Err(Violation::UnansweredCancels);
        }
        match frame.header {
            ContributorMessage::Result { task, statement, signature, payload_bytes, load } => {
                self.result(task, u64::from(payload_bytes), ResultHeader { statement, signature, load })?;
                Ok(None)
            }
            ContributorMessage::Piece { task, offset } => self.piece(task, u64::from(offset), frame.payload),
            message => {
                self.settle(&message);
                Ok(Some(ContributorEvent::Message(message)))
            }
        }
    }

    /// A task that is turned down, or whose cancellation is answered, owes nothing any more.
    fn settle(&mut self, message: &ContributorMessage) {
        match message {
            ContributorMessage::Rejected { task, .. } => self.forget(*task),
            ContributorMessage::Cancelled { task, .. }
                if self.due.get(task).is_some_and(|due| due.cancelled) =>
            {
                self.forget(*task);
            }
            _ => {}
        }
    }

    fn forget(&mut self, task: TaskId) {
        if self.due.remove(&task).is_some_and(|due| due.cancelled) {
            self.cancelled -= 1;
        }
    }

    fn result(&mut self, task: TaskId, found_bytes: u64, header: ResultHeader) -> Result<(), Violation> {
        let due = self.due.get_mut(&task).ok_or(Violation::Unsolicited(task))?;
        if due.header.is_some() {
            return Err(Violation::Repeated(task));
        }
        let fits = if due.says_its_size {
            (1..=due.expected_bytes).contains(&found_bytes)
        } else {
            found_bytes == due.expected_bytes
        };
        if !fits {
            return Err(Violation::Size { task, found_bytes, expected_bytes: due.expected_bytes });
        }
        due.expected_bytes = found_bytes;
        due.header = Some(header);
        Ok(())
    }

    fn piece(
        &mut self,
        task: TaskId,
        offset: u64,
        bytes: Bytes,
    ) -> Result<Option<ContributorEvent>, Violation> {
        let due = self.due.get_mut(&task).filter(|due| due.header.is_some());
        let due = due.ok_or(Violation::StrayPiece(task))?;
        due.take(task, offset, bytes)?;
        if due.received_bytes < due.expected_bytes {
            return Ok(None);
        }
        let finished = self.due.remove(&task).ok_or(Violation::StrayPiece(task))?;
        if finished.cancelled {
            self.cancelled -= 1;
        }
        Ok(finished.into_event(task))
    }
}

impl Due {
    fn new(expected_bytes: u64, says_its_size: bool) -> Self {
        Self {
            expected_bytes,
            says_its_size,
            received_bytes: 0,
            cancelled: false,
            header: None,
            payload: Payload::default(),
        }
    }

    fn take(&mut self, task: TaskId, offset: u64, bytes: Bytes) -> Result<(), Violation> {
        if offset != self.received_bytes {
            return Err(Violation::Order { task, found: offset, expected: self.received_bytes });
        }
        let received_bytes = self.received_bytes + bytes.len() as u64;
        if bytes.is_empty() || received_bytes > self.expected_bytes {
            return Err(Violation::PieceLength(task));
        }
        self.received_bytes = received_bytes;
        if !self.cancelled {
            self.payload.push(bytes);
        }
        Ok(())
    }

    fn into_event(self, task: TaskId) -> Option<ContributorEvent> {
        let ResultHeader { statement, signature, load } = self.header.filter(|_| !self.cancelled)?;
        let payload = self.payload;
        Some(ContributorEvent::Result(TileResult { task, statement, signature, payload, load }))
    }
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::task::CancelledState;

    use super::{super::tests::offer, *};

    const TASK: TaskId = TaskId(1);

    /// A book with a 4x4 tile out: 192 bytes.
    fn book() -> Assembly {
        let mut book = Assembly::default();
        book.sent(&offer(TASK, 4, 4));
        book
    }

    fn header(task: TaskId, payload_bytes: u32) -> Frame<ContributorMessage> {
        let header = ContributorMessage::Result {
            task,
            statement: vec![1],
            signature: vec![2; 64],
            payload_bytes,
            load: Load::default(),
        };
        Frame { header, payload: Bytes::new() }
    }

    fn piece(task: TaskId, offset: u32, length: usize) -> Frame<ContributorMessage> {
        Frame { header: ContributorMessage::Piece { task, offset }, payload: vec![7; length].into() }
    }

    #[test]
    fn pieces_in_order_make_a_result() {
        let mut book = book();
        assert_eq!(book.received(header(TASK, 192)), Ok(None));
        assert_eq!(book.received(piece(TASK, 0, 100)), Ok(None));
        let Ok(Some(ContributorEvent::Result(result))) = book.received(piece(TASK, 100, 92)) else {
            panic!("no result")
        };
        assert_eq!((result.payload.len(), result.task), (192, TASK));
        assert_eq!(book.received(header(TASK, 192)), Err(Violation::Unsolicited(TASK)), "only once");
    }

    #[test]
    fn one_piece_is_a_result() {
        let mut book = book();
        book.received(header(TASK, 192)).unwrap();
        let frame = piece(TASK, 0, 192);
        let bytes = frame.payload.clone();
        let Ok(Some(ContributorEvent::Result(result))) = book.received(frame) else { panic!("no result") };
        assert_eq!(result.payload.len(), bytes.len());
    }

    #[test]
    fn pixels_that_may_be_compressed_have_any_size_up_to_that_of_the_request() {
        let mut offer = offer(TASK, 4, 4);
        if let CoordinatorMessage::Offer { compress, .. } = &mut offer {
            *compress = true;
        }
        for (length, fits) in [(0, false), (1, true), (191, true), (192, true), (193, false)] {
            let mut book = Assembly::default();
            book.sent(&offer);
            assert_eq!(book.received(header(TASK, length)).is_ok(), fits, "{length}");
        }
    }

    #[test]
    fn broken_rules_are_named() {
        let other = TaskId(2);
        assert_eq!(book().received(header(other, 192)), Err(Violation::Unsolicited(other)));
        assert!(matches!(book().received(header(TASK, 191)), Err(Violation::Size { .. })));
        assert_eq!(book().received(piece(TASK, 0, 10)), Err(Violation::StrayPiece(TASK)));
        let after_header = |frame| {
            let mut book = book();
            book.received(header(TASK, 192)).unwrap();
            book.received(frame)
        };
        assert_eq!(after_header(header(TASK, 192)), Err(Violation::Repeated(TASK)));
        assert_eq!(after_header(piece(TASK, 0, 0)), Err(Violation::PieceLength(TASK)));
        assert_eq!(after_header(piece(TASK, 0, 193)), Err(Violation::PieceLength(TASK)));
        assert!(matches!(after_header(piece(TASK, 1, 10)), Err(Violation::Order { .. })));
    }

    #[test]
    fn result_that_crosses_its_cancellation_is_dropped_in_silence() {
        let mut book = book();
        book.received(header(TASK, 192)).unwrap();
        book.received(piece(TASK, 0, 100)).unwrap();
        book.sent(&CoordinatorMessage::Cancel { task: TASK });
        assert_eq!(book.received(piece(TASK, 100, 92)), Ok(None));
        assert_eq!((book.due.len(), book.cancelled), (0, 0));
    }

    #[test]
    fn an_answered_cancellation_ends_the_tolerance() {
        let mut book = book();
        book.sent(&CoordinatorMessage::Cancel { task: TASK });
        let answer = ContributorMessage::Cancelled { task: TASK, state: CancelledState::Running };
        let passed = book.received(Frame { header: answer.clone(), payload: Bytes::new() });
        assert_eq!(passed, Ok(Some(ContributorEvent::Message(answer))));
        assert_eq!(book.received(header(TASK, 192)), Err(Violation::Unsolicited(TASK)));
    }

    #[test]
    fn unanswered_cancellations_are_bounded() {
        let mut book = Assembly::default();
        for task in 0..=MAX_UNANSWERED_CANCELS as u64 {
            book.sent(&offer(TaskId(task), 1, 1));
            book.sent(&CoordinatorMessage::Cancel { task: TaskId(task) });
        }
        let goodbye = Frame { header: ContributorMessage::Goodbye, payload: Bytes::new() };
        assert_eq!(book.received(goodbye), Err(Violation::UnansweredCancels));
    }
}
