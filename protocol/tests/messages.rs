//! Every message there is: what was sent is what arrives, and no bytes make a decoder panic or accept what is out of
//! range.
#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use bytes::BytesMut;
use p2c2r_protocol::{
    blob::{BlobReply, BlobRequest},
    canon::{from_canonical, to_canonical},
    frame::{Decoder, Frame, FrameError, Header, encode},
    heartbeat::{ExactnessClass, Heartbeat, open, seal},
    id::{Epoch, JobId, NodeId, RequestHash, SceneHash, TaskId, TileRoot, WorkKind},
    limit::{
        MAX_ADDRESS_BYTES, MAX_BLOB_OTHERS, MAX_CREDIT, MAX_HEARTBEAT_SCENES, MAX_RETRY_AFTER_MS,
        MAX_SCENE_BYTES, MAX_SCENE_CHUNKS, MAX_SCENE_TIME_US, MAX_STATEMENT_BYTES, MAX_TICKET_ADDRESSES,
        MAX_TICKET_CHARS, MAX_TILE_BYTES,
    },
    moment::SceneMoment,
    sign::SecretKey,
    task::{
        CancelledState, ContributorMessage, CoordinatorMessage, Load, RejectReason, ResultStatement,
        TaskCounters, TileRequest,
    },
    ticket::Ticket,
    tile::{Camera, FrameSize, PixelEncoding, Sampling, SceneTime, TileRect},
};
use proptest::{prelude::*, sample::Index};

fn load() -> impl Strategy<Value = Load> {
    any::<(u32, u32)>().prop_map(|(queued, running)| Load { queued, running })
}

fn task() -> impl Strategy<Value = TaskId> {
    any::<u64>().prop_map(TaskId)
}

fn scene() -> impl Strategy<Value = SceneHash> {
    any::<[u8; 32]>().prop_map(SceneHash)
}

fn moment() -> impl Strategy<Value = SceneMoment> {
    (scene(), 0..=MAX_SCENE_TIME_US)
        .prop_map(|(hash, us)| SceneMoment { hash, time: SceneTime::from_us(us).unwrap() })
}

/// A text that may be shown to a person.
fn text() -> impl Strategy<Value = String> {
    "\\PC{0,60}"
}

fn reason() -> impl Strategy<Value = RejectReason> {
    prop::sample::select(vec![
        RejectReason::Busy,
        RejectReason::NotContributing,
        RejectReason::SceneUnknown,
        RejectReason::SceneFailed,
        RejectReason::TooLarge,
        RejectReason::Invalid,
        RejectReason::UnsupportedKind,
        RejectReason::Internal,
    ])
}

fn state() -> impl Strategy<Value = CancelledState> {
    prop::sample::select(vec![
        CancelledState::Queued,
        CancelledState::Running,
        CancelledState::Finished,
        CancelledState::Unknown,
    ])
}

fn camera() -> impl Strategy<Value = Camera> {
    prop::array::uniform4(prop::array::uniform3(-1e5_f32..1e5)).prop_map(|[origin, forward, right, up]| {
        Camera {
            origin,
            forward,
            right,
            up,
            lens_radius: origin[0],
            focus_distance: up[2],
            parallel: up[1] < 0.0,
        }
    })
}

fn tile() -> impl Strategy<Value = (FrameSize, TileRect)> {
    any::<[u32; 4]>().prop_map(|[x, y, width, height]| {
        let size = FrameSize::new(1 + width % 4000, 1 + height % 4000).unwrap();
        let (x, y) = (x % size.width_px(), y % size.height_px());
        let rect = TileRect { x, y, width: size.width_px() - x, height: size.height_px() - y };
        (size, rect)
    })
}

fn request() -> impl Strategy<Value = TileRequest> {
    (any::<[u8; 16]>(), any::<u32>(), moment(), tile(), any::<[u32; 4]>(), camera()).prop_map(
        |(job, frame, scene, (size, rect), [first_sample, samples, max_depth, seed], camera)| TileRequest {
            job: JobId(job),
            frame,
            kind: WorkKind::RayTracing,
            scene,
            size,
            rect,
            sampling: Sampling { first_sample, samples, max_depth, seed, clamp: camera.origin[1] },
            camera,
            encoding: PixelEncoding::RgbF32,
        },
    )
}

fn coordinator_message() -> impl Strategy<Value = CoordinatorMessage> {
    prop_oneof![
        (any::<u64>(), text())
            .prop_map(|(epoch, software)| CoordinatorMessage::Hello { epoch: Epoch(epoch), software }),
        (moment(), 1..=MAX_SCENE_BYTES)
            .prop_map(|(scene, size_bytes)| CoordinatorMessage::Prepare { scene, size_bytes }),
        (task(), request(), any::<bool>()).prop_map(|(task, request, compress)| CoordinatorMessage::Offer {
            task,
            request,
            compress
        }),
        task().prop_map(|task| CoordinatorMessage::Cancel { task }),
        any::<u64>().prop_map(|nonce| CoordinatorMessage::Ping { nonce }),
        Just(CoordinatorMessage::Goodbye),
    ]
}

fn result_message() -> impl Strategy<Value = ContributorMessage> {
    let statement = prop::collection::vec(any::<u8>(), 0..=MAX_STATEMENT_BYTES);
    let signature = prop::collection::vec(any::<u8>(), 64);
    (task(), statement, signature, 1..=MAX_TILE_BYTES, load()).prop_map(
        |(task, statement, signature, payload_bytes, load)| ContributorMessage::Result {
            task,
            statement,
            signature,
            payload_bytes,
            load,
        },
    )
}

/// Messages of a contributor, all but the piece, which alone has a payload.
fn contributor_message() -> impl Strategy<Value = ContributorMessage> {
    use ContributorMessage as Message;
    prop_oneof![
        (1..=MAX_CREDIT, 0.0_f32..1e9, load(), text()).prop_map(|(credit, mrays_per_s, load, software)| {
            Message::Welcome { credit, mrays_per_s, load, software }
        }),
        (moment(), 0..=MAX_SCENE_BYTES, 0.0_f32..1e9).prop_map(|(scene, fetched_bytes, elapsed_ms)| {
            Message::Ready { scene, fetched_bytes, elapsed_ms }
        }),
        (moment(), 0..=MAX_SCENE_BYTES)
            .prop_map(|(scene, bytes_here)| Message::Fetching { scene, bytes_here }),
        (moment(), reason()).prop_map(|(scene, reason)| Message::Refused { scene, reason }),
        (task(), load()).prop_map(|(task, load)| Message::Accepted { task, load }),
        (task(), reason(), 0..=MAX_RETRY_AFTER_MS, load()).prop_map(
            |(task, reason, retry_after_ms, load)| Message::Rejected { task, reason, retry_after_ms, load }
        ),
        (task(), 0.0_f32..=1.0).prop_map(|(task, fraction)| Message::Progress { task, fraction }),
        result_message(),
        (task(), state()).prop_map(|(task, state)| Message::Cancelled { task, state }),
        (any::<u64>(), load()).prop_map(|(nonce, load)| Message::Pong { nonce, load }),
        Just(Message::Goodbye),
    ]
}

fn blob_request() -> impl Strategy<Value = BlobRequest> {
    prop_oneof![
        scene().prop_map(|scene| BlobRequest::Manifest { scene }),
        scene().prop_map(|scene| BlobRequest::Watch { scene }),
        scene().prop_map(|scene| BlobRequest::Any { scene }),
        (scene(), 0..MAX_SCENE_CHUNKS).prop_map(|(scene, index)| BlobRequest::Chunk { scene, index }),
    ]
}

fn blob_reply() -> impl Strategy<Value = (BlobReply, Vec<u8>)> {
    let payload = || prop::collection::vec(any::<u8>(), 0..2000);
    prop_oneof![
        (1..=MAX_SCENE_BYTES, payload())
            .prop_map(|(size_bytes, list)| (BlobReply::Manifest { size_bytes }, list)),
        (0..MAX_SCENE_CHUNKS, payload()).prop_map(|(index, chunk)| (BlobReply::Chunk { index }, chunk)),
        (
            prop::collection::vec(any::<[u8; 32]>().prop_map(NodeId::from_public_key), 0..MAX_BLOB_OTHERS),
            prop::collection::vec(any::<u8>(), 0..1000)
        )
            .prop_map(|(others, set)| (BlobReply::Has { others }, set)),
        Just((BlobReply::Declined, vec![])),
        Just((BlobReply::NotHere, vec![])),
        Just((BlobReply::Busy, vec![])),
    ]
}

fn heartbeat() -> impl Strategy<Value = Heartbeat> {
    let clock = (1..=u64::MAX, any::<u64>(), any::<Index>());
    let about = (text(), text(), text(), any::<bool>(), 0.0_f32..1e9, any::<u32>());
    let offer =
        (any::<bool>(), load(), any::<u64>(), prop::collection::vec(scene(), 0..=MAX_HEARTBEAT_SCENES));
    (clock, about, offer).prop_map(|((sequence, unix_ms, started), about, offer)| {
        let (software, backend, adapter, exact, mrays_per_s, threads) = about;
        let (contributing, load, price, scenes) = offer;
        Heartbeat {
            sequence,
            unix_ms,
            started_unix_ms: unix_ms - started.index(1 << 20).min(unix_ms as usize) as u64,
            software,
            backend,
            adapter,
            exactness: if exact { ExactnessClass::Exact } else { ExactnessClass::Tolerant },
            mrays_per_s,
            threads,
            kinds: vec![WorkKind::RayTracing],
            contributing,
            load,
            price,
            scenes,
        }
    })
}

fn ticket() -> impl Strategy<Value = Ticket> {
    let address = "/[a-z0-9./-]{1,255}";
    (any::<[u8; 32]>(), prop::collection::vec(address, 1..=MAX_TICKET_ADDRESSES))
        .prop_map(|(key, addresses)| Ticket { node: NodeId::from_public_key(key), addresses })
}

fn framed<H: Header>(header: &H, payload: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::new();
    encode(header, payload, &mut bytes).unwrap();
    bytes
}

fn decode_all<H: Header>(bytes: &[u8]) -> Result<Vec<Frame<H>>, FrameError> {
    let mut decoder = Decoder::default();
    decoder.feed(bytes);
    std::iter::from_fn(|| decoder.next_frame().transpose()).collect()
}

/// A message arrives as it was sent, alone in its frame.
fn arrives<H: Header + PartialEq + std::fmt::Debug>(header: &H, payload: &[u8]) -> Result<(), TestCaseError> {
    let frames = decode_all::<H>(&framed(header, payload)).unwrap();
    let [frame] = frames.as_slice() else {
        return Err(TestCaseError::fail(format!("{} frames", frames.len())));
    };
    prop_assert_eq!(&frame.header, header);
    prop_assert_eq!(&frame.payload[..], payload);
    Ok(())
}

/// Whatever still decodes after `damage` is within the limits.
fn survives<H: Header>(header: &H, damage: &[(Index, u8)]) -> Result<(), TestCaseError> {
    let mut bytes = framed(header, &[]);
    for (at, value) in damage {
        let at = at.index(bytes.len());
        bytes[at] = *value;
    }
    for frame in decode_all::<H>(&bytes).unwrap_or_default() {
        prop_assert_eq!(frame.header.check(), Ok(()));
        prop_assert!(frame.payload.len() <= frame.header.max_payload_bytes() as usize);
    }
    Ok(())
}

fn damage() -> impl Strategy<Value = Vec<(Index, u8)>> {
    prop::collection::vec(any::<(Index, u8)>(), 1..4)
}

proptest! {
    #[test]
    fn coordinator_messages_arrive(message in coordinator_message(), damage in damage()) {
        arrives(&message, &[])?;
        survives(&message, &damage)?;
    }

    #[test]
    fn contributor_messages_arrive(message in contributor_message(), damage in damage()) {
        arrives(&message, &[])?;
        survives(&message, &damage)?;
    }

    #[test]
    fn pieces_arrive(task in task(), offset in 0..MAX_TILE_BYTES, pixels in prop::collection::vec(any::<u8>(), 0..3000)) {
        arrives(&ContributorMessage::Piece { task, offset }, &pixels)?;
    }

    #[test]
    fn blob_messages_arrive(request in blob_request(), (reply, payload) in blob_reply(), damage in damage()) {
        arrives(&request, &[])?;
        survives(&request, &damage)?;
        arrives(&reply, &payload)?;
        survives(&reply, &damage)?;
    }

    #[test]
    fn b1_any_bytes_are_messages_or_an_error(header in prop::collection::vec(any::<u8>(), 0..200)) {
        // Behind honest lengths, so that the bytes get as far as the message decoders.
        let mut bytes = (header.len() as u32 + 2).to_be_bytes().to_vec();
        bytes.extend_from_slice(&(header.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&header);
        let _ = decode_all::<CoordinatorMessage>(&bytes);
        let _ = decode_all::<ContributorMessage>(&bytes);
        let _ = decode_all::<BlobRequest>(&bytes);
        let _ = decode_all::<BlobReply>(&bytes);
    }

    #[test]
    fn heartbeats_arrive(heartbeat in heartbeat(), seed: [u8; 32], damage in damage()) {
        let key = SecretKey::from_seed(seed);
        let mut sealed = seal(&heartbeat, &key).unwrap();
        prop_assert_eq!(open(&sealed).unwrap(), (key.node_id(), heartbeat));
        let original = sealed.clone();
        for (at, value) in damage {
            let at = at.index(sealed.len());
            sealed[at] = value;
        }
        prop_assert_eq!(open(&sealed).is_ok(), sealed == original);
    }

    #[test]
    fn tickets_arrive(ticket in ticket()) {
        let printed = ticket.to_string();
        prop_assert!(printed.len() <= MAX_TICKET_CHARS);
        prop_assert_eq!(printed.parse::<Ticket>(), Ok(ticket));
    }

    #[test]
    fn statements_arrive(
        request: [u8; 32], root: [u8; 32], queue_ms in 0.0_f32..1e9, execution_ms in 0.0_f32..1e9, rays: u64, samples: u64,
    ) {
        let counters = TaskCounters { queue_ms, execution_ms, rays, samples };
        let statement = ResultStatement { request: RequestHash(request), root: TileRoot(root), counters };
        let bytes = to_canonical(&statement).unwrap();
        prop_assert_eq!(from_canonical::<ResultStatement>(&bytes, MAX_STATEMENT_BYTES), Ok(statement));
    }
}

#[test]
fn the_longest_ticket_can_be_read_again() {
    let addresses = vec![format!("/dns/{}", "x".repeat(MAX_ADDRESS_BYTES - 5)); MAX_TICKET_ADDRESSES];
    let ticket = Ticket { node: NodeId::from_public_key([0xff; 32]), addresses };
    assert_eq!(ticket.to_string().parse::<Ticket>(), Ok(ticket));
}

#[test]
fn b23_tickets_with_too_many_or_too_long_addresses_are_refused() {
    let node = NodeId::from_public_key([1; 32]);
    let many = Ticket { node, addresses: vec!["/ip4/192.0.2.1/tcp/1".into(); MAX_TICKET_ADDRESSES + 1] };
    assert!(many.to_string().parse::<Ticket>().is_err());
    for address in [String::new(), "x".repeat(MAX_ADDRESS_BYTES + 1), "/dns/\u{1b}[2J/tcp/1".into()] {
        let bad = Ticket { node, addresses: vec![address] };
        assert!(bad.to_string().parse::<Ticket>().is_err(), "{bad:?}");
    }
}
