//! Sessions over in-memory streams: both pumps, and peers that break the rules.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::{Bytes, BytesMut};
use p2c2r_protocol::{
    frame::{Decoder, encode},
    id::{Epoch, JobId, NodeId, SceneHash, TaskId, WorkKind},
    limit::MAX_PIECE_BYTES,
    moment::SceneMoment,
    task::{CancelledState, ContributorMessage, CoordinatorMessage, Load, TileRequest},
    tile::{Camera, FrameSize, PixelEncoding, Sampling, TileRect},
};
use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::timeout,
};
use tokio_util::task::TaskTracker;

use super::{
    ContributorEvent, ContributorLink, CoordinatorLink, TileResult, assembly::Assembly, batch::Batch,
    contributor::greet, coordinator::spawn, local_pair, queue::SendQueue,
};

const NODE: NodeId = NodeId::from_public_key([1; 32]);
/// Far more than any of this takes; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

/// An offer of a tile of `width` x `height` pixels, 12 bytes each.
pub(crate) fn offer(task: TaskId, width: u32, height: u32) -> CoordinatorMessage {
    let request = TileRequest {
        job: JobId([1; 16]),
        frame: 0,
        kind: WorkKind::RayTracing,
        scene: SceneMoment::start_of(SceneHash([2; 32])),
        size: FrameSize::new(width, height).unwrap(),
        rect: TileRect { x: 0, y: 0, width, height },
        sampling: Sampling { first_sample: 0, samples: 1, max_depth: 1, seed: 0, clamp: 0.0 },
        camera: Camera {
            origin: [0.0; 3],
            forward: [0.0, 0.0, 1.0],
            right: [1.0, 0.0, 0.0],
            up: [0.0, 1.0, 0.0],
            lens_radius: 0.0,
            focus_distance: 0.0,
            parallel: false,
        },
        encoding: PixelEncoding::RgbF32,
    };
    CoordinatorMessage::Offer { task, request, compress: false }
}

/// A result whose payload tells its task and every position.
pub(crate) fn result(task: TaskId, payload_bytes: usize) -> TileResult {
    let payload: Vec<u8> = (0..payload_bytes).map(|at| (at as u64 * 7 + task.0 * 13) as u8).collect();
    TileResult {
        task,
        statement: vec![3; 100],
        signature: vec![4; 64],
        payload: payload.into(),
        load: Load { queued: 1, running: 1 },
    }
}

fn hello() -> CoordinatorMessage {
    CoordinatorMessage::Hello { epoch: Epoch(1), software: "test".into() }
}

/// Both ends of a session over a stream that holds `stream_bytes` in flight; the coordinator has greeted.
async fn session(stream_bytes: usize) -> (CoordinatorLink, ContributorLink) {
    let (near, far) = duplex(stream_bytes);
    let coordinator = spawn(near, NODE, &TaskTracker::new());
    coordinator.outbox.send(hello()).await.unwrap();
    let (mut contributor, pump) = greet(far, NODE).await.unwrap();
    tokio::spawn(pump.run());
    assert_eq!(contributor.inbox.recv().await, Some(hello()));
    (coordinator, contributor)
}

async fn next(link: &mut CoordinatorLink) -> Option<ContributorEvent> {
    timeout(PATIENCE, link.inbox.recv()).await.expect("the session hangs")
}

/// A coordinator with a 4x4 tile (192 bytes) out, whose contributor is the test itself, byte by byte.
async fn raw_contributor() -> (CoordinatorLink, DuplexStream) {
    let (near, mut far) = duplex(1 << 20);
    let coordinator = spawn(near, NODE, &TaskTracker::new());
    coordinator.outbox.send(offer(TaskId(1), 4, 4)).await.unwrap();
    // The first byte of the offer shows that it is in the book.
    far.read_exact(&mut [0]).await.unwrap();
    (coordinator, far)
}

fn framed(messages: &[(ContributorMessage, &[u8])]) -> BytesMut {
    let mut out = BytesMut::new();
    for (message, payload) in messages {
        encode(message, payload, &mut out).unwrap();
    }
    out
}

fn header(task: u64, payload_bytes: u32) -> ContributorMessage {
    let TileResult { statement, signature, load, .. } = result(TaskId(task), 0);
    ContributorMessage::Result { task: TaskId(task), statement, signature, payload_bytes, load }
}

async fn expect_violation(bytes: &[u8], about: &str) {
    let (mut coordinator, mut far) = raw_contributor().await;
    far.write_all(bytes).await.unwrap();
    let event = next(&mut coordinator).await;
    assert!(
        matches!(&event, Some(ContributorEvent::Violation(reason)) if reason.contains(about)),
        "{event:?}"
    );
    assert_eq!(next(&mut coordinator).await, None, "the session closes");
}

#[tokio::test]
async fn results_of_two_tasks_arrive_whole_while_their_pieces_interleave() {
    let (mut coordinator, contributor) = session(100_000).await;
    // 12 bytes x 100 x 200: four pieces; 12 x 10 x 10: one.
    for (task, width, height) in [(1, 100, 200), (2, 100, 200), (3, 10, 10)] {
        coordinator.outbox.send(offer(TaskId(task), width, height)).await.unwrap();
    }
    let sent = [result(TaskId(1), 240_000), result(TaskId(2), 240_000), result(TaskId(3), 1200)];
    // Offers first: the book must know what is due.
    let mut contributor = contributor;
    for _ in 0..3 {
        contributor.inbox.recv().await.unwrap();
    }
    for result in &sent {
        contributor.outbox.send(ContributorEvent::Result(result.clone())).await.unwrap();
    }
    let mut received = Vec::new();
    for _ in 0..3 {
        match next(&mut coordinator).await {
            Some(ContributorEvent::Result(result)) => received.push(result),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(received[0].task, TaskId(3), "a small result does not wait for large ones");
    received.sort_by_key(|result| result.task);
    assert_eq!(received, sent);
}

#[tokio::test]
async fn traffic_is_counted() {
    let (mut coordinator, mut contributor) = session(1 << 20).await;
    coordinator.outbox.send(offer(TaskId(1), 10, 10)).await.unwrap();
    contributor.inbox.recv().await.unwrap();
    contributor.outbox.send(ContributorEvent::Result(result(TaskId(1), 1200))).await.unwrap();
    next(&mut coordinator).await.unwrap();
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let (near, far) = (&coordinator.traffic, &contributor.traffic);
    assert_eq!(count(&near.offers), 1);
    assert!(count(&near.request_bytes) < 1024, "an offer stays under 1 KiB: {near:?}");
    assert_eq!(count(&near.sent_bytes), count(&far.received_bytes));
    assert!(count(&near.received_bytes) > 1200);
}

#[tokio::test]
async fn a_cancelled_result_stops_and_the_next_one_arrives() {
    // The stream holds little, so that most of the first result still waits when the cancellation comes.
    let (mut coordinator, mut contributor) = session(4096).await;
    coordinator.outbox.send(offer(TaskId(1), 1000, 1000)).await.unwrap();
    coordinator.outbox.send(offer(TaskId(2), 10, 10)).await.unwrap();
    for _ in 0..2 {
        contributor.inbox.recv().await.unwrap();
    }
    contributor.outbox.send(ContributorEvent::Result(result(TaskId(1), 12_000_000))).await.unwrap();
    coordinator.outbox.send(CoordinatorMessage::Cancel { task: TaskId(1) }).await.unwrap();
    assert_eq!(contributor.inbox.recv().await, Some(CoordinatorMessage::Cancel { task: TaskId(1) }));
    let answer = ContributorMessage::Cancelled { task: TaskId(1), state: CancelledState::Finished };
    contributor.outbox.send(ContributorEvent::Message(answer.clone())).await.unwrap();
    contributor.outbox.send(ContributorEvent::Result(result(TaskId(2), 1200))).await.unwrap();
    assert_eq!(next(&mut coordinator).await, Some(ContributorEvent::Message(answer)));
    assert_eq!(next(&mut coordinator).await, Some(ContributorEvent::Result(result(TaskId(2), 1200))));
    let received_bytes = coordinator.traffic.received_bytes.load(Ordering::Relaxed);
    assert!(received_bytes < 1_000_000, "{received_bytes} bytes of a cancelled result were sent");
}

#[tokio::test]
async fn what_was_said_before_the_end_is_delivered() {
    let (mut coordinator, mut contributor) = session(1 << 16).await;
    coordinator.outbox.send(offer(TaskId(1), 100, 100)).await.unwrap();
    contributor.inbox.recv().await.unwrap();
    contributor.outbox.send(ContributorEvent::Message(ContributorMessage::Goodbye)).await.unwrap();
    contributor.outbox.send(ContributorEvent::Result(result(TaskId(1), 120_000))).await.unwrap();
    drop(contributor.outbox);
    assert!(matches!(next(&mut coordinator).await, Some(ContributorEvent::Result(_))));
    assert_eq!(next(&mut coordinator).await, Some(ContributorEvent::Message(ContributorMessage::Goodbye)));
    assert_eq!(next(&mut coordinator).await, None);
    assert_eq!(contributor.inbox.recv().await, None);
}

#[tokio::test]
async fn a_coordinator_that_lets_go_ends_the_session() {
    let (coordinator, mut contributor) = session(1 << 16).await;
    coordinator.outbox.send(CoordinatorMessage::Goodbye).await.unwrap();
    drop(coordinator.outbox);
    assert_eq!(contributor.inbox.recv().await, Some(CoordinatorMessage::Goodbye));
    assert_eq!(timeout(PATIENCE, contributor.inbox.recv()).await.unwrap(), None);
}

#[tokio::test]
async fn a_node_that_does_not_read_stops_its_peer() {
    let (coordinator, contributor) = session(4096).await;
    let mut sent = 0;
    let flood = async {
        while coordinator.outbox.send(CoordinatorMessage::Ping { nonce: 1 }).await.is_ok() {
            sent += 1;
        }
    };
    assert!(timeout(Duration::from_millis(500), flood).await.is_err(), "everything was taken");
    assert!(sent < 3 * crate::limit::SESSION_QUEUE, "{sent} messages are queued somewhere");
    drop(contributor);
}

#[tokio::test]
async fn b3_broken_rules_close_the_session() {
    let piece = |task, offset| ContributorMessage::Piece { task: TaskId(task), offset };
    expect_violation(&framed(&[(header(1, 191), b"")]), "191 bytes").await;
    expect_violation(&framed(&[(header(9, 192), b"")]), "not out").await;
    expect_violation(&framed(&[(piece(1, 0), b"early")]), "before its result").await;
    expect_violation(&framed(&[(header(1, 192), b""), (piece(1, 64), b"gap")]), "instead of 0").await;
    expect_violation(&framed(&[(header(1, 192), b""), (piece(1, 0), &[0; 193])]), "beyond its result").await;
    expect_violation(&[0xff; 64], "claims").await;
    expect_violation(&[0, 0, 0, 6, 0, 4, 0xff, 0xff, 0xff, 0xff], "cannot be read").await;
}

#[tokio::test]
async fn a_contributor_that_dies_in_the_middle_of_a_result_did_no_wrong() {
    let (mut coordinator, mut far) = raw_contributor().await;
    let bytes = framed(&[
        (header(1, 192), b""),
        (ContributorMessage::Piece { task: TaskId(1), offset: 0 }, &[0; 100]),
    ]);
    far.write_all(&bytes[..bytes.len() - 7]).await.unwrap();
    drop(far);
    assert_eq!(next(&mut coordinator).await, None);
}

#[tokio::test]
async fn who_does_not_greet_is_no_coordinator() {
    let (mut near, far) = duplex(1 << 16);
    let mut out = BytesMut::new();
    encode(&CoordinatorMessage::Ping { nonce: 1 }, &[], &mut out).unwrap();
    near.write_all(&out).await.unwrap();
    assert!(greet(far, NODE).await.is_err());
    let (_silent, far) = duplex(1 << 16);
    tokio::time::pause();
    assert!(greet(far, NODE).await.is_err());
}

#[tokio::test]
async fn the_own_device_is_a_session_without_a_stream() {
    let (mut coordinator, mut contributor) = local_pair(NODE);
    coordinator.outbox.send(hello()).await.unwrap();
    assert_eq!(contributor.inbox.recv().await, Some(hello()));
    let sent = result(TaskId(1), 2 * MAX_PIECE_BYTES as usize);
    let pixels: Bytes = sent.payload.join();
    contributor.outbox.send(ContributorEvent::Result(sent)).await.unwrap();
    let Some(ContributorEvent::Result(received)) = next(&mut coordinator).await else { panic!("no result") };
    assert_eq!(received.payload.join().as_ptr(), pixels.as_ptr(), "no copy");
    drop(contributor);
    assert_eq!(next(&mut coordinator).await, None);
    assert!(coordinator.outbox.send(hello()).await.is_err());
}

/// What one task of the property below goes through.
#[derive(Debug, Clone, Copy)]
struct Fate {
    edge_px: u32,
    /// Batches that are sent before the coordinator withdraws it; never if `None`.
    cancelled_after: Option<usize>,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = (1_u32..160, prop::option::of(0_usize..6));
    prop::collection::vec(fate.prop_map(|(edge_px, cancelled_after)| Fate { edge_px, cancelled_after }), 1..8)
}

proptest! {
    /// However results are cut, interleaved and withdrawn, the two books agree: every result that nobody withdrew
    /// arrives as it was sent, and an honest contributor never breaks a rule.
    #[test]
    fn queue_and_assembly_agree(fates in fates(), batch_bytes in 1_usize..300_000) {
        let (mut book, mut queue, mut decoder) = (Assembly::default(), SendQueue::default(), Decoder::default());
        let mut due = Vec::new();
        for (task, fate) in fates.iter().enumerate() {
            let task = TaskId(task as u64);
            book.sent(&offer(task, fate.edge_px, fate.edge_px));
            let sent = result(task, (fate.edge_px * fate.edge_px * 12) as usize);
            queue.push(ContributorEvent::Result(sent.clone()));
            if fate.cancelled_after.is_none() {
                due.push(sent);
            }
        }
        let mut arrived = Vec::new();
        let mut batch = 0;
        while !queue.is_empty() || batch < 6 {
            for (task, _) in fates.iter().enumerate().filter(|(_, fate)| fate.cancelled_after == Some(batch)) {
                let task = TaskId(task as u64);
                book.sent(&CoordinatorMessage::Cancel { task });
                queue.cancel(task).unwrap();
                let state = CancelledState::Finished;
                queue.push(ContributorEvent::Message(ContributorMessage::Cancelled { task, state }));
            }
            let mut bytes = Batch::default();
            queue.fill(&mut bytes, batch_bytes).unwrap();
            bytes.parts().for_each(|part| decoder.feed(part));
            while let Some(frame) = decoder.next_frame().unwrap() {
                if let Some(ContributorEvent::Result(result)) = book.received(frame).unwrap() {
                    arrived.push(result);
                }
            }
            batch += 1;
        }
        arrived.sort_by_key(|result| result.task);
        // A result may have been whole before it was withdrawn.
        arrived.retain(|result| due.iter().any(|due| due.task == result.task));
        prop_assert_eq!(arrived, due);
    }
}
