//! Compiled kernels kept from start to start, one file per adapter. A file that is damaged, or of another adapter or
//! driver, counts as absent.
#![allow(unsafe_code, reason = "a driver must be trusted not to choke on what it wrote itself")]

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use tracing::debug;

use crate::limit::MAX_PIPELINE_CACHE_BYTES;

/// What a file begins with; then the checksum of the rest (CRC-32, little-endian), the length of the adapter's name
/// (u32, little-endian), the name, and the driver's data.
const MAGIC: [u8; 8] = *b"p2c2rPC1";
/// Bytes before the name.
const HEADER_BYTES: usize = 16;

/// The stored kernels of one adapter.
pub struct StoredPipelines {
    path: PathBuf,
    adapter: String,
    pipelines: wgpu::PipelineCache,
    /// Checksum of what the file holds.
    on_disk: AtomicU32,
}

impl StoredPipelines {
    /// Those in a directory; none if the device cannot keep any.
    pub fn open(device: &wgpu::Device, about: &wgpu::AdapterInfo, folder: &Path) -> Option<Self> {
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let path = folder.join(wgpu::util::pipeline_cache_key(about)?);
        let adapter = format!("{} {} {}", about.name, about.driver, about.driver_info);
        let file = read(&path);
        let data = file.as_deref().and_then(|file| unpack(file, &adapter));
        // SAFETY: the data are what this adapter with this driver gave for the purpose, unchanged as their checksum
        // tells; wgpu looks at the driver's own version and key once more and falls back to an empty cache.
        let pipelines = unsafe {
            device.create_pipeline_cache(&wgpu::PipelineCacheDescriptor { label: None, data, fallback: true })
        };
        let on_disk = AtomicU32::new(data.map_or(0, crc32fast::hash));
        Some(Self { path, adapter, pipelines, on_disk })
    }

    /// For the device.
    pub fn pipelines(&self) -> &wgpu::PipelineCache {
        &self.pipelines
    }

    /// Writes them if there is anything new. Failing costs time at the next start and nothing else.
    pub fn save(&self) {
        let Some(data) = self.pipelines.get_data() else { return };
        let checksum = crc32fast::hash(&data);
        if data.len() as u64 > MAX_PIPELINE_CACHE_BYTES
            || self.on_disk.swap(checksum, Ordering::Relaxed) == checksum
        {
            return;
        }
        if let Err(error) = write(&self.path, &pack(&data, &self.adapter)) {
            debug!(path = %self.path.display(), %error, "compiled GPU kernels could not be kept");
        }
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_PIPELINE_CACHE_BYTES * 2).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Written beside and renamed: a reader meets a whole file or none.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension(format!("{}.partial", std::process::id()));
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    });
    if written.is_err() {
        drop(fs::remove_file(&beside));
    }
    written
}

fn pack(data: &[u8], adapter: &str) -> Vec<u8> {
    let name_bytes = (adapter.len() as u32).to_le_bytes();
    let body = [&name_bytes[..], adapter.as_bytes(), data].concat();
    [&MAGIC[..], &crc32fast::hash(&body).to_le_bytes(), &body].concat()
}

/// The driver's data, if the file is whole and of this adapter.
fn unpack<'a>(file: &'a [u8], adapter: &str) -> Option<&'a [u8]> {
    let (header, rest) = file.split_at_checked(HEADER_BYTES)?;
    let (magic, checksum) = (header.get(..8)?, header.get(8..12)?);
    let (body, name_bytes) = (file.get(12..)?, header.get(12..)?);
    let name_bytes = u32::from_le_bytes(name_bytes.try_into().ok()?) as usize;
    let (name, data) = rest.split_at_checked(name_bytes)?;
    let whole = magic == MAGIC && checksum == crc32fast::hash(body).to_le_bytes();
    (whole && name == adapter.as_bytes()).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_and_foreign_files_count_as_absent() {
        let file = pack(b"compiled", "a GPU");
        assert_eq!(unpack(&file, "a GPU"), Some(&b"compiled"[..]));
        assert_eq!(unpack(&file, "another"), None);
        for length in 0..file.len() {
            assert_eq!(unpack(&file[..length], "a GPU"), None, "cut to {length}");
        }
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0x10;
            assert_eq!(unpack(&damaged, "a GPU"), None, "byte {at}");
        }
    }
}
