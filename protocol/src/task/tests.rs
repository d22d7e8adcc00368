//! Which messages of a work session are refused for what they say.

use super::*;
use crate::{
    canon::{decode_bounded, from_canonical},
    frame::{Decoder, FrameError, encode},
    id::SceneHash,
    limit::{MAX_SCENE_TIME_US, MAX_TEXT_BYTES},
    tile::SceneTime,
};
use bytes::BytesMut;

const LOAD: Load = Load { queued: 1, running: 2 };
const TASK: TaskId = TaskId(7);
const SCENE: SceneMoment = SceneMoment::start_of(SceneHash([9; 32]));

fn request() -> TileRequest {
    TileRequest {
        job: JobId([3; 16]),
        frame: 0,
        kind: WorkKind::RayTracing,
        scene: SCENE,
        size: FrameSize::new(640, 360).unwrap(),
        rect: TileRect { x: 64, y: 32, width: 64, height: 64 },
        sampling: Sampling { first_sample: 0, samples: 16, max_depth: 4, seed: 1, clamp: 0.0 },
        camera: Camera {
            origin: [0.0, 1.0, 5.0],
            forward: [0.0, 0.0, -1.0],
            right: [0.8, 0.0, 0.0],
            up: [0.0, 0.45, 0.0],
            lens_radius: 0.0,
            focus_distance: 0.0,
            parallel: false,
        },
        encoding: PixelEncoding::RgbF32,
    }
}

fn result(statement_bytes: usize, signature_bytes: usize, payload_bytes: u32) -> ContributorMessage {
    ContributorMessage::Result {
        task: TASK,
        statement: vec![0; statement_bytes],
        signature: vec![0; signature_bytes],
        payload_bytes,
        load: LOAD,
    }
}

fn welcome(credit: u32, mrays_per_s: f32, software: &str) -> ContributorMessage {
    ContributorMessage::Welcome { credit, mrays_per_s, load: LOAD, software: software.into() }
}

/// What the receiver makes of a message that its sender did not check.
fn received<H: Header>(message: &H) -> Result<H, FrameError> {
    let mut bytes = BytesMut::new();
    encode(message, &[], &mut bytes)?;
    let mut decoder = Decoder::default();
    decoder.feed(&bytes);
    decoder.next_frame().map(|frame| frame.expect("the whole frame was fed").header)
}

#[test]
fn messages_at_their_limits_pass() {
    let messages = [
        welcome(1, 0.0, ""),
        welcome(MAX_CREDIT, 1e9, &"x".repeat(MAX_TEXT_BYTES)),
        ContributorMessage::Ready { scene: SCENE, fetched_bytes: MAX_SCENE_BYTES, elapsed_ms: 0.0 },
        ContributorMessage::Fetching { scene: SCENE, bytes_here: MAX_SCENE_BYTES },
        ContributorMessage::Rejected {
            task: TASK,
            reason: RejectReason::Busy,
            retry_after_ms: MAX_RETRY_AFTER_MS,
            load: LOAD,
        },
        ContributorMessage::Progress { task: TASK, fraction: 1.0 },
        result(MAX_STATEMENT_BYTES, 64, MAX_TILE_BYTES),
        ContributorMessage::Piece { task: TASK, offset: MAX_TILE_BYTES - 1 },
    ];
    for message in messages {
        assert_eq!(received(&message).as_ref(), Ok(&message));
    }
    let prepare = CoordinatorMessage::Prepare { scene: SCENE, size_bytes: MAX_SCENE_BYTES };
    assert_eq!(received(&prepare).as_ref(), Ok(&prepare));
}

#[test]
fn b5_b9_b17_contributor_fields_out_of_range_are_refused() {
    let ready =
        |fetched_bytes, elapsed_ms| ContributorMessage::Ready { scene: SCENE, fetched_bytes, elapsed_ms };
    assert!(ContributorMessage::Fetching { scene: SCENE, bytes_here: MAX_SCENE_BYTES + 1 }.check().is_err());
    let rejected = |retry_after_ms| ContributorMessage::Rejected {
        task: TASK,
        reason: RejectReason::Busy,
        retry_after_ms,
        load: LOAD,
    };
    let progress = |fraction| ContributorMessage::Progress { task: TASK, fraction };
    let cases = [
        (welcome(0, 1.0, ""), "credit"),
        (welcome(MAX_CREDIT + 1, 1.0, ""), "credit"),
        (welcome(8, -1.0, ""), "speed"),
        (welcome(8, 1e10, ""), "speed"),
        (welcome(8, 1.0, "\u{1b}[2J"), "software"),
        (welcome(8, 1.0, &"x".repeat(MAX_TEXT_BYTES + 1)), "software"),
        (ready(MAX_SCENE_BYTES + 1, 1.0), "scene size"),
        (ready(1, -0.5), "time"),
        (ready(1, 1e10), "time"),
        (rejected(MAX_RETRY_AFTER_MS + 1), "retry time"),
        (rejected(u32::MAX), "retry time"),
        (progress(-0.1), "fraction"),
        (progress(1.5), "fraction"),
        (result(MAX_STATEMENT_BYTES + 1, 64, 1), "result header"),
        (result(1, 63, 1), "result header"),
        (result(1, 64, 0), "result header"),
        (result(1, 64, MAX_TILE_BYTES + 1), "result header"),
        (ContributorMessage::Piece { task: TASK, offset: MAX_TILE_BYTES }, "piece offset"),
    ];
    for (message, field) in cases {
        assert_eq!(received(&message), Err(FrameError::Field(FieldError(field))), "{message:?}");
    }
}

#[test]
fn b5_numbers_that_are_not_finite_never_arrive() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let message = ContributorMessage::Progress { task: TASK, fraction: bad };
        assert!(message.check().is_err(), "{bad}");
        assert_eq!(received(&message), Err(FrameError::Header(CanonError::NotFinite)), "{bad}");
        let offer = CoordinatorMessage::Offer {
            task: TASK,
            request: TileRequest { camera: Camera { origin: [bad; 3], ..request().camera }, ..request() },
            compress: false,
        };
        assert_eq!(received(&offer), Err(FrameError::Header(CanonError::NotFinite)), "{bad}");
    }
}

#[test]
fn coordinator_fields_out_of_range_are_refused() {
    let prepare = |size_bytes| CoordinatorMessage::Prepare { scene: SCENE, size_bytes };
    for size_bytes in [0, MAX_SCENE_BYTES + 1, u64::MAX] {
        let refused = FrameError::Field(FieldError("scene size"));
        assert_eq!(received(&prepare(size_bytes)), Err(refused), "{size_bytes}");
    }
    let hello = CoordinatorMessage::Hello { epoch: Epoch(1), software: "a\nb".into() };
    assert_eq!(received(&hello), Err(FrameError::Field(FieldError("software"))));
}

#[test]
fn b6_b26_requests_that_cannot_be_rendered_are_refused() {
    assert_eq!(request().check(), Ok(()));
    assert_eq!(request().payload_bytes(), 64 * 64 * 12);
    let outside = TileRequest { rect: TileRect { x: 600, ..request().rect }, ..request() };
    assert_eq!(outside.check(), Err(GeometryError::TileRect(outside.rect)));
    let endless = TileRequest { sampling: Sampling { samples: 1 << 30, ..request().sampling }, ..request() };
    assert_eq!(endless.check(), Err(GeometryError::Samples(1 << 30)));
    let blind = TileRequest { camera: Camera { right: [0.0; 3], ..request().camera }, ..request() };
    assert_eq!(blind.check(), Err(GeometryError::Camera));
    let size = FrameSize::new(4096, 4096).unwrap();
    let too_large = TileRequest { size, rect: size.full(), ..request() };
    assert_eq!(too_large.check(), Err(GeometryError::TileRect(size.full())), "192 MiB of pixels");
}

#[test]
fn request_hash_is_stable_and_covers_every_field() {
    assert_eq!(
        request().hash().unwrap().short(),
        "833b9de87a85",
        "contributors sign this hash: a change of it is a change of the protocol"
    );
    let camera = Camera { origin: [0.0, 1.0, 5.000_001], ..request().camera };
    let parallel = Camera { parallel: true, ..request().camera };
    let lens = Camera { lens_radius: 0.1, focus_distance: 2.0, ..request().camera };
    let others = [
        TileRequest { job: JobId([4; 16]), ..request() },
        TileRequest { frame: 1, ..request() },
        TileRequest { scene: SceneMoment { hash: SceneHash([8; 32]), ..SCENE }, ..request() },
        TileRequest { scene: SceneMoment { time: SceneTime::from_us(1).unwrap(), ..SCENE }, ..request() },
        TileRequest { size: FrameSize::new(641, 360).unwrap(), ..request() },
        TileRequest { rect: TileRect { x: 65, ..request().rect }, ..request() },
        TileRequest { sampling: Sampling { seed: 2, ..request().sampling }, ..request() },
        TileRequest { sampling: Sampling { clamp: 10.0, ..request().sampling }, ..request() },
        TileRequest { camera, ..request() },
        TileRequest { camera: lens, ..request() },
        TileRequest { camera: parallel, ..request() },
    ];
    for other in others {
        assert_ne!(other.hash(), request().hash(), "{other:?}");
    }
}

#[test]
fn an_offer_takes_less_than_a_kibibyte() {
    let mut bytes = BytesMut::new();
    let scene = SceneMoment { time: SceneTime::from_us(MAX_SCENE_TIME_US).unwrap(), ..SCENE };
    let request = TileRequest { scene, ..request() };
    encode(&CoordinatorMessage::Offer { task: TaskId(u64::MAX), request, compress: true }, &[], &mut bytes)
        .unwrap();
    assert!(bytes.len() < 1024, "{} bytes", bytes.len());
}

#[test]
fn b4_statement_is_canonical_and_has_no_other_fields() {
    let statement = ResultStatement {
        request: RequestHash([1; 32]),
        root: TileRoot([2; 32]),
        counters: TaskCounters::default(),
    };
    let bytes = to_canonical(&statement).unwrap();
    assert!(bytes.len() <= MAX_STATEMENT_BYTES);
    assert_eq!(from_canonical::<ResultStatement>(&bytes, MAX_STATEMENT_BYTES).as_ref(), Ok(&statement));
    // One more entry, in its place by order: only its being unknown is wrong.
    let mut extended = bytes.clone();
    assert_eq!(extended[0], 0xa3);
    extended[0] = 0xa4;
    extended.extend_from_slice(b"\x68zzzzzzzz\x00");
    assert!(decode_bounded::<ResultStatement>(&extended, MAX_STATEMENT_BYTES).is_err());
    assert!(from_canonical::<ResultStatement>(&extended, MAX_STATEMENT_BYTES).is_err());
}

#[test]
fn b5_counters_that_are_no_times_are_refused() {
    let counters = |queue_ms, execution_ms| TaskCounters { queue_ms, execution_ms, rays: 1, samples: 1 };
    assert_eq!(counters(0.0, 1e9).check(), Ok(()));
    for bad in [-1.0, f32::NAN, f32::INFINITY, 1e10] {
        assert!(counters(bad, 0.0).check().is_err() && counters(0.0, bad).check().is_err(), "{bad}");
    }
}
