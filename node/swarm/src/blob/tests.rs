//! Transfers over in-memory streams: what an honest and a lying server can do.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use bytes::{Bytes, BytesMut};
use p2c2r_protocol::{
    blob::{BlobReply, BlobRequest, ChunkManifest, scene_hash},
    frame::encode,
    limit::SCENE_CHUNK_BYTES,
};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

use super::client::fetch;
use crate::{error::BlobError, limit::MAX_BLOB_ATTEMPTS, wire::FrameReader};

const CHUNK: usize = SCENE_CHUNK_BYTES as usize;

fn package(length: usize) -> Bytes {
    (0..length).map(|index| (index * 31 % 251) as u8).collect::<Vec<_>>().into()
}

/// How the server of a test departs from honesty.
#[derive(Clone, Copy)]
enum Fault {
    None,
    /// A bit of the second chunk is wrong.
    Corrupt,
    /// The stream ends behind the first chunk.
    CutOff,
    /// The stream ends at once.
    Silent,
    /// The second chunk is sent first.
    Order,
    /// Another package's list.
    ForeignList,
}

async fn serve(stream: DuplexStream, package: Bytes, fault: Fault) {
    if matches!(fault, Fault::Silent) {
        return;
    }
    let (reader, mut writer) = tokio::io::split(stream);
    let mut requests = FrameReader::<_, BlobRequest>::new(reader);
    while let Ok(Some(request)) = requests.next().await {
        let mut out = BytesMut::new();
        match request.header {
            BlobRequest::Manifest { .. } => {
                let mut list = ChunkManifest::of(&package).to_bytes();
                if matches!(fault, Fault::ForeignList) {
                    list[5] ^= 1;
                }
                let reply = BlobReply::Manifest { size_bytes: package.len() as u64 };
                encode(&reply, &list, &mut out).unwrap();
            }
            BlobRequest::Chunks { first, .. } => {
                for (index, chunk) in package.chunks(CHUNK).enumerate().skip(first as usize) {
                    let mut chunk = chunk.to_vec();
                    let mut index = index as u32;
                    match fault {
                        Fault::Corrupt if index == 1 => chunk[9] ^= 1,
                        Fault::Order if index == 0 => index = 1,
                        _ => {}
                    }
                    encode(&BlobReply::Chunk { index }, &chunk, &mut out).unwrap();
                    if matches!(fault, Fault::CutOff) {
                        break;
                    }
                }
            }
            _ => unreachable!(),
        }
        if writer.write_all(&out).await.is_err() || matches!(fault, Fault::CutOff) && out.len() > CHUNK {
            return;
        }
    }
}

/// Fetches a package of three chunks over streams with these faults, one after another.
async fn fetch_with(faults: &[Fault]) -> (Result<(Bytes, ChunkManifest), BlobError>, u64) {
    let package = package(2 * CHUNK + 100);
    let faults = Mutex::new(faults.to_vec());
    let there = Arc::new(AtomicU64::new(0));
    let open = || {
        let fault = faults.lock().unwrap().remove(0);
        let (near, far) = duplex(1 << 16);
        tokio::spawn(serve(far, package.clone(), fault));
        async { Ok(near) }
    };
    let progress = |bytes| there.store(bytes, Ordering::Relaxed);
    let fetched = fetch(open, scene_hash(&package), package.len() as u64, progress).await;
    (fetched, there.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_package_arrives_whole_and_checked() {
    let (fetched, progress) = fetch_with(&[Fault::None]).await;
    let (bytes, manifest) = fetched.unwrap();
    assert_eq!(bytes, package(2 * CHUNK + 100));
    assert_eq!((manifest.chunk_count(), progress), (3, bytes.len() as u64));
}

#[tokio::test]
async fn a_broken_stream_is_taken_up_where_it_broke() {
    let (fetched, _) = fetch_with(&[Fault::CutOff, Fault::None]).await;
    assert_eq!(fetched.unwrap().0, package(2 * CHUNK + 100));
    let (fetched, _) = fetch_with(&[Fault::CutOff; 3]).await;
    assert!(fetched.is_ok(), "each stream brings one of the three chunks");
    let (fetched, progress) = fetch_with(&[Fault::Silent; MAX_BLOB_ATTEMPTS as usize]).await;
    assert!(matches!(fetched, Err(BlobError::Io(_))));
    assert_eq!(progress, 0);
}

#[tokio::test]
async fn b30_wrong_bytes_are_refused_at_once() {
    let (fetched, progress) = fetch_with(&[Fault::Corrupt, Fault::None]).await;
    assert!(matches!(fetched, Err(BlobError::Corrupt(_))), "{fetched:?}");
    assert_eq!(progress, CHUNK as u64);
    let (fetched, _) = fetch_with(&[Fault::ForeignList, Fault::None]).await;
    assert!(matches!(fetched, Err(BlobError::Corrupt(_))), "{fetched:?}");
    let (fetched, _) = fetch_with(&[Fault::Order, Fault::None]).await;
    assert!(matches!(fetched, Err(BlobError::Unexpected)), "{fetched:?}");
}

#[tokio::test]
async fn another_size_than_announced_is_refused_before_the_first_chunk() {
    let package = package(CHUNK + 1);
    let open = || {
        let (near, far) = duplex(1 << 16);
        tokio::spawn(serve(far, package.clone(), Fault::None));
        async { Ok(near) }
    };
    let fetched = fetch(open, scene_hash(&package), 5, |_| ()).await;
    assert!(matches!(fetched, Err(BlobError::Size { expected_bytes: 5, .. })), "{fetched:?}");
}
