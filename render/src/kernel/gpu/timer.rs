//! How long the device itself was at work on a tile, by its own clock.

use std::cell::Cell;

/// Runs of the kernel that are timed; the time of a tile with more of them is extrapolated.
const MAX_TIMED: u32 = 512;
/// Bytes of a time stamp.
const STAMP_BYTES: u64 = 8;

/// The time stamps of one tile.
pub struct Timer {
    stamps: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    notes: wgpu::Buffer,
    /// Of the device's clock.
    ns_per_tick: f32,
    runs: Cell<u32>,
}

impl Timer {
    /// For one tile.
    pub fn new(device: &wgpu::Device, ns_per_tick: f32) -> Self {
        let stamps = device.create_query_set(&wgpu::QuerySetDescriptor {
            label: None,
            ty: wgpu::QueryType::Timestamp,
            count: MAX_TIMED * 2,
        });
        let buffer = |usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: u64::from(MAX_TIMED) * 2 * STAMP_BYTES,
                usage,
                mapped_at_creation: false,
            })
        };
        Self {
            stamps,
            resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            notes: buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
            ns_per_tick,
            runs: Cell::new(0),
        }
    }

    /// Where the next run of the kernel notes its beginning and its end.
    pub fn next_run(&self) -> Option<wgpu::ComputePassTimestampWrites<'_>> {
        let run = self.runs.get();
        self.runs.set(run + 1);
        (run < MAX_TIMED).then(|| wgpu::ComputePassTimestampWrites {
            query_set: &self.stamps,
            beginning_of_pass_write_index: Some(run * 2),
            end_of_pass_write_index: Some(run * 2 + 1),
        })
    }

    fn timed(&self) -> u32 {
        self.runs.get().min(MAX_TIMED)
    }

    /// Brings the stamps to where they can be read.
    pub fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        let count = self.timed() * 2;
        if count > 0 {
            encoder.resolve_query_set(&self.stamps, 0..count, &self.resolved, 0);
            encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.notes, 0, u64::from(count) * STAMP_BYTES);
        }
    }

    /// The buffer to be read.
    pub fn notes(&self) -> &wgpu::Buffer {
        &self.notes
    }

    /// The sum of all runs, ms, once the notes are there.
    pub fn device_ms(&self) -> Option<f32> {
        let timed = self.timed();
        let bytes = u64::from(timed) * 2 * STAMP_BYTES;
        if timed == 0 {
            return None;
        }
        let range = self.notes.slice(0..bytes).get_mapped_range().ok()?;
        let stamps: Vec<u64> =
            range.chunks_exact(STAMP_BYTES as usize).map(bytemuck::pod_read_unaligned).collect();
        let ticks: u64 = stamps.as_chunks::<2>().0.iter().map(|[from, to]| to.saturating_sub(*from)).sum();
        let share = f64::from(self.runs.get()) / f64::from(timed);
        Some((ticks as f64 * f64::from(self.ns_per_tick) * share * 1e-6) as f32)
    }
}
