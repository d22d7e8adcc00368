//! The device itself: opening it, buffers, kernels, submissions, and its errors as values instead of panics.
#![allow(
    unsafe_code,
    reason = "wgpu takes ready-made SPIR-V, which alone can forbid contraction, and stored pipelines only through \
              unsafe calls"
)]

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use super::{cache::StoredPipelines, timer::Timer};
use crate::{backend::RenderError, kernel::spirv};

/// Smallest buffer that every driver takes, bytes.
const MIN_BUFFER_BYTES: u64 = 64;

/// How a GPU is opened.
#[derive(Debug, Clone, Default)]
pub struct GpuOptions {
    /// Only a real one, none in software.
    pub hardware_only: bool,
    /// Directory in which compiled kernels are kept from start to start; none: they are not kept.
    pub cache: Option<PathBuf>,
    /// Pretends that no buffer of a scene can be larger than so many bytes: for tests of large scenes.
    pub scene_buffer_bytes: Option<u64>,
    /// Corrects all reciprocals and square roots even if the device's are exact: for tests.
    pub corrects_all: bool,
}

/// An open device.
pub struct Gpu {
    /// What the driver calls it.
    pub adapter: String,
    device: wgpu::Device,
    queue: wgpu::Queue,
    stored: Option<StoredPipelines>,
    /// Largest buffer of a scene, bytes.
    pub max_scene_buffer_bytes: u64,
    max_binding_bytes: u64,
    max_bindings: u32,
    /// The first error that the device reported since it was last asked.
    error: Arc<Mutex<Option<String>>>,
}

/// A kernel's text.
pub struct KernelSource<'a> {
    /// For people.
    pub name: &'static str,
    /// WGSL.
    pub text: &'a str,
    /// As the text declares it.
    pub workgroup: (u32, u32, u32),
}

/// The buffers that a kernel works on.
pub struct Layout {
    bindings: Vec<u32>,
    group: wgpu::BindGroupLayout,
    pipeline: wgpu::PipelineLayout,
}

impl Layout {
    /// These buffers, in the order of the bindings.
    pub fn bind(&self, gpu: &Gpu, buffers: &[&wgpu::Buffer]) -> wgpu::BindGroup {
        let entries: Vec<wgpu::BindGroupEntry<'_>> = self
            .bindings
            .iter()
            .zip(buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry {
                binding: *binding,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &self.group,
            entries: &entries,
        })
    }
}

pub fn failed(error: impl std::fmt::Display) -> RenderError {
    RenderError::Device(error.to_string())
}

impl Gpu {
    /// Opens the fastest device.
    pub fn open(options: &GpuOptions) -> Result<Self, RenderError> {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::PRIMARY;
        descriptor.flags = wgpu::InstanceFlags::empty();
        let instance = wgpu::Instance::new(descriptor);
        let wanted = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..wgpu::RequestAdapterOptions::default()
        };
        let adapter = pollster::block_on(instance.request_adapter(&wanted))
            .map_err(|error| RenderError::NoGpu(error.to_string()))?;
        let about = adapter.get_info();
        if options.hardware_only && about.device_type == wgpu::DeviceType::Cpu {
            return Err(RenderError::NoGpu(format!("{} is a software device", about.name)));
        }
        if !adapter.features().contains(wgpu::Features::PASSTHROUGH_SHADERS) {
            return Err(RenderError::NoGpu(format!("{} does not take SPIR-V kernels", about.name)));
        }
        let welcome = wgpu::Features::PIPELINE_CACHE | wgpu::Features::TIMESTAMP_QUERY;
        let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("p2c2r"),
            required_features: wgpu::Features::PASSTHROUGH_SHADERS | (adapter.features() & welcome),
            required_limits: adapter.limits(),
            // SAFETY: the experimental part that is used is handing over SPIR-V, which this crate compiles itself
            // from a constant source; nothing of a peer's ever becomes a shader.
            experimental_features: unsafe { wgpu::ExperimentalFeatures::enabled() },
            ..wgpu::DeviceDescriptor::default()
        }))
        .map_err(|error| RenderError::NoGpu(error.to_string()))?;
        let error = Arc::new(Mutex::new(None));
        let sink = Arc::clone(&error);
        device.on_uncaptured_error(Arc::new(move |reported: wgpu::Error| {
            sink.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reported.to_string());
        }));
        let limits = device.limits();
        let largest = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        let gpu = Self {
            adapter: format!("{} ({})", about.name, about.driver_info),
            stored: options.cache.as_ref().and_then(|folder| StoredPipelines::open(&device, &about, folder)),
            max_scene_buffer_bytes: options.scene_buffer_bytes.map_or(largest, |bytes| bytes.min(largest)),
            max_binding_bytes: largest,
            max_bindings: limits.max_storage_buffers_per_shader_stage,
            device,
            queue,
            error,
        };
        gpu.check()?;
        Ok(gpu)
    }

    /// The error that the device reported, if any.
    pub fn check(&self) -> Result<(), RenderError> {
        let reported = self.error.lock().unwrap_or_else(PoisonError::into_inner).take();
        reported.map_or(Ok(()), |message| Err(RenderError::Device(message)))
    }

    fn buffer(&self, bytes: u64, usage: wgpu::BufferUsages) -> Result<wgpu::Buffer, RenderError> {
        if bytes > self.max_binding_bytes {
            return Err(RenderError::TooLarge {
                needed_mib: bytes >> 20,
                allowed_mib: self.max_binding_bytes >> 20,
            });
        }
        Ok(self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: bytes.max(MIN_BUFFER_BYTES),
            usage,
            mapped_at_creation: false,
        }))
    }

    /// A buffer that a kernel reads.
    pub fn storage(&self, data: &[u8]) -> Result<wgpu::Buffer, RenderError> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let buffer = self.buffer(data.len() as u64, usage)?;
        self.queue.write_buffer(&buffer, 0, data);
        self.check()?;
        Ok(buffer)
    }

    /// A buffer for parameters. Not a uniform one: lavapipe compiles a kernel anew for the values of each dispatch if
    /// its branches depend on a uniform buffer (Mesa's `lvp_inline_uniforms`).
    pub fn params(&self, bytes: u64) -> Result<wgpu::Buffer, RenderError> {
        self.buffer(bytes, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST)
    }

    /// A buffer that a kernel writes, with the one that it is read back through.
    pub fn film(&self, bytes: u64) -> Result<Film, RenderError> {
        let written = self.buffer(bytes, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC)?;
        let readable = self.buffer(bytes, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST)?;
        self.check()?;
        Ok(Film { written, readable, bytes })
    }

    /// Storage buffers at these bindings, one of which is written.
    pub fn layout(&self, bindings: &[u32], written: u32) -> Result<Layout, RenderError> {
        if bindings.len() as u64 > u64::from(self.max_bindings) {
            return Err(RenderError::TooManyBuffers {
                needed: bindings.len() as u32,
                allowed: self.max_bindings,
            });
        }
        let entries: Vec<wgpu::BindGroupLayoutEntry> = bindings
            .iter()
            .map(|binding| wgpu::BindGroupLayoutEntry {
                binding: *binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Storage { read_only: *binding != written },
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect();
        let group = self
            .device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        let pipeline = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&group)],
            immediate_size: 0,
        });
        Ok(Layout { bindings: bindings.to_vec(), group, pipeline })
    }

    /// Compiles a kernel whose entry point is `main`.
    pub fn compile(
        &self,
        source: &KernelSource<'_>,
        layout: &Layout,
    ) -> Result<wgpu::ComputePipeline, RenderError> {
        let words = spirv::compile(source.text, &layout.bindings).map_err(failed)?;
        // SAFETY: the SPIR-V was compiled and validated just now, from a source that is part of this program; its
        // entry point and bindings are those declared below, and every index in it stays within buffers that this
        // crate fills.
        let module = unsafe {
            self.device.create_shader_module_passthrough(wgpu::ShaderModuleDescriptorPassthrough {
                label: Some(source.name),
                spirv: Some(words.into()),
                entry_points: vec![wgpu::PassthroughShaderEntryPoint {
                    name: "main".into(),
                    workgroup_size: source.workgroup,
                }]
                .into(),
                ..wgpu::ShaderModuleDescriptorPassthrough::default()
            })
        };
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(source.name),
            layout: Some(&layout.pipeline),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: self.stored.as_ref().map(StoredPipelines::pipelines),
        });
        self.check()?;
        if let Some(stored) = &self.stored {
            stored.save();
        }
        Ok(pipeline)
    }

    /// A clock for the submissions of a tile, if the device has one.
    pub fn timer(&self) -> Option<Timer> {
        self.device
            .features()
            .contains(wgpu::Features::TIMESTAMP_QUERY)
            .then(|| Timer::new(&self.device, self.queue.get_timestamp_period()))
    }

    /// Sends new parameters and a run of the kernel with them to the device; does not wait for it.
    pub fn submit(
        &self,
        (pipeline, bindings): (&wgpu::ComputePipeline, &wgpu::BindGroup),
        (params_buffer, params): (&wgpu::Buffer, &[u8]),
        (columns, rows): (u32, u32),
        timer: Option<&Timer>,
    ) -> wgpu::SubmissionIndex {
        self.queue.write_buffer(params_buffer, 0, params);
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let timestamp_writes = timer.and_then(Timer::next_run);
            let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
            let mut pass = encoder.begin_compute_pass(&descriptor);
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, bindings, &[]);
            pass.dispatch_workgroups(columns, rows, 1);
        }
        self.queue.submit([encoder.finish()])
    }

    /// Waits for a submission, or for all.
    pub fn wait(&self, submission_index: Option<wgpu::SubmissionIndex>) -> Result<(), RenderError> {
        self.device.poll(wgpu::PollType::Wait { submission_index, timeout: None }).map_err(failed)?;
        self.check()
    }

    /// What became of so many bytes once everything that was submitted is done; with the timer's sum, ms.
    pub fn read<T>(
        &self,
        film: &Film,
        bytes: u64,
        timer: Option<&Timer>,
        understand: impl FnOnce(&[u8]) -> T,
    ) -> Result<(T, Option<f32>), RenderError> {
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&film.written, 0, &film.readable, 0, bytes);
        if let Some(timer) = timer {
            timer.resolve(&mut encoder);
        }
        self.queue.submit([encoder.finish()]);
        let outcomes: Vec<_> =
            std::iter::once(&film.readable).chain(timer.map(Timer::notes)).map(map).collect();
        self.wait(None)?;
        for outcome in outcomes {
            let outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
            outcome.ok_or_else(|| failed("a buffer was not read back"))?.map_err(failed)?;
        }
        let understood = understand(&film.readable.slice(0..bytes).get_mapped_range().map_err(failed)?);
        film.readable.unmap();
        Ok((understood, timer.and_then(Timer::device_ms)))
    }
}

/// What a kernel writes. Kept from tile to tile: both buffers cost more to make than a small tile to render.
pub struct Film {
    /// On the device.
    pub written: wgpu::Buffer,
    readable: wgpu::Buffer,
    /// How much it holds.
    pub bytes: u64,
}

/// What became of the wish to read a buffer, once it is fulfilled.
type Mapping = Arc<Mutex<Option<Result<(), wgpu::BufferAsyncError>>>>;

fn map(buffer: &wgpu::Buffer) -> Mapping {
    let mapping = Mapping::default();
    let sink = Arc::clone(&mapping);
    buffer.slice(..).map_async(wgpu::MapMode::Read, move |outcome| {
        *sink.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    });
    mapping
}
