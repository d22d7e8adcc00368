//! The device itself: opening it, buffers, dispatches, and its errors as values instead of panics.
#![allow(
    unsafe_code,
    reason = "wgpu takes ready-made SPIR-V, which alone can forbid contraction, only through an unsafe call"
)]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::features::Features;
use crate::{backend::RenderError, kernel::spirv};

/// Bindings of the kernel.
pub const BINDINGS: u32 = 12;
/// Of these, the scene's.
pub const SCENE_BINDINGS: usize = 10;
/// The film's, which is written.
const FILM: u32 = 11;
/// Smallest buffer that every driver takes.
const MIN_BUFFER_BYTES: u64 = 64;

/// An open device with the kernels compiled so far.
pub struct Gpu {
    /// What the driver calls it.
    pub adapter: String,
    device: wgpu::Device,
    queue: wgpu::Queue,
    source: String,
    layout: wgpu::BindGroupLayout,
    pipeline_layout: wgpu::PipelineLayout,
    /// Those compiled so far.
    pipelines: HashMap<Features, wgpu::ComputePipeline>,
    max_binding_bytes: u64,
    /// The first error that the device reported since it was last asked.
    error: Arc<Mutex<Option<String>>>,
}

fn failed(error: impl std::fmt::Display) -> RenderError {
    RenderError::Device(error.to_string())
}

impl Gpu {
    /// Opens the fastest device. Kernels are compiled from the source when they are first wanted.
    pub fn open(hardware_only: bool, source: String) -> Result<Self, RenderError> {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::PRIMARY;
        descriptor.flags = wgpu::InstanceFlags::empty();
        let instance = wgpu::Instance::new(descriptor);
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..wgpu::RequestAdapterOptions::default()
        };
        let adapter = pollster::block_on(instance.request_adapter(&options))
            .map_err(|error| RenderError::NoGpu(error.to_string()))?;
        let about = adapter.get_info();
        if hardware_only && about.device_type == wgpu::DeviceType::Cpu {
            return Err(RenderError::NoGpu(format!("{} is a software device", about.name)));
        }
        if !adapter.features().contains(wgpu::Features::PASSTHROUGH_SHADERS) {
            return Err(RenderError::NoGpu(format!("{} does not take SPIR-V kernels", about.name)));
        }
        let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("p2c2r"),
            required_features: wgpu::Features::PASSTHROUGH_SHADERS,
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
        let entries: Vec<wgpu::BindGroupLayoutEntry> = (0..BINDINGS).map(layout_entry).collect();
        let layout = device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let gpu = Self {
            adapter: format!("{} ({})", about.name, about.driver_info),
            max_binding_bytes: device.limits().max_storage_buffer_binding_size,
            device,
            queue,
            source,
            layout,
            pipeline_layout,
            pipelines: HashMap::new(),
            error,
        };
        gpu.check()?;
        Ok(gpu)
    }

    /// The error that the device reported, if any.
    fn check(&self) -> Result<(), RenderError> {
        let reported = self.error.lock().unwrap_or_else(PoisonError::into_inner).take();
        reported.map_or(Ok(()), |message| Err(RenderError::Device(message)))
    }

    /// Whether a buffer of this size can be bound.
    pub fn fits(&self, bytes: u64) -> Result<(), RenderError> {
        if bytes <= self.max_binding_bytes {
            return Ok(());
        }
        Err(RenderError::TooLarge { needed_mib: bytes >> 20, allowed_mib: self.max_binding_bytes >> 20 })
    }

    fn buffer(&self, bytes: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: bytes.max(MIN_BUFFER_BYTES),
            usage,
            mapped_at_creation: false,
        })
    }

    /// A buffer that the kernel reads.
    pub fn storage(&self, data: &[u8]) -> Result<wgpu::Buffer, RenderError> {
        self.fits(data.len() as u64)?;
        let buffer =
            self.buffer(data.len() as u64, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST);
        self.queue.write_buffer(&buffer, 0, data);
        self.check()?;
        Ok(buffer)
    }

    /// A buffer for parameters. Not a uniform one: lavapipe compiles a kernel anew for the values of each dispatch if
    /// its branches depend on a uniform buffer (Mesa's `lvp_inline_uniforms`).
    pub fn params(&self, bytes: u64) -> wgpu::Buffer {
        self.buffer(bytes, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST)
    }

    /// A buffer that the kernel writes.
    pub fn film(&self, bytes: u64) -> wgpu::Buffer {
        self.buffer(bytes, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC)
    }

    /// Everything that the kernel sees.
    pub fn bind(
        &self,
        params_buffer: &wgpu::Buffer,
        scene: &[wgpu::Buffer; SCENE_BINDINGS],
        film: &wgpu::Buffer,
    ) -> wgpu::BindGroup {
        let buffers = std::iter::once(params_buffer).chain(scene).chain(std::iter::once(film));
        let entries: Vec<wgpu::BindGroupEntry<'_>> = (0_u32..)
            .zip(buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &self.layout,
            entries: &entries,
        })
    }

    /// The kernel for scenes with these features.
    pub fn pipeline(&mut self, features: Features) -> Result<wgpu::ComputePipeline, RenderError> {
        if let Some(known) = self.pipelines.get(&features) {
            return Ok(known.clone());
        }
        let compiled = self.compile(&(features.constants() + &self.source))?;
        self.check()?;
        Ok(self.pipelines.entry(features).or_insert(compiled).clone())
    }

    /// Runs the kernel once and waits for it.
    pub fn dispatch(
        &self,
        pipeline: &wgpu::ComputePipeline,
        bindings: &wgpu::BindGroup,
        params_buffer: &wgpu::Buffer,
        params: &[u8],
        (columns, rows): (u32, u32),
    ) -> Result<(), RenderError> {
        self.queue.write_buffer(params_buffer, 0, params);
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, bindings, &[]);
            pass.dispatch_workgroups(columns, rows, 1);
        }
        self.queue.submit([encoder.finish()]);
        self.wait()
    }

    fn compile(&self, source: &str) -> Result<wgpu::ComputePipeline, RenderError> {
        let words = spirv::compile(source, BINDINGS).map_err(failed)?;
        // SAFETY: the SPIR-V was compiled and validated just now, from a source that is part of this program; its
        // entry point and bindings are those declared below, and every index in it stays within buffers that this
        // crate fills.
        let module = unsafe {
            self.device.create_shader_module_passthrough(wgpu::ShaderModuleDescriptorPassthrough {
                label: Some("path tracer"),
                spirv: Some(words.into()),
                entry_points: vec![wgpu::PassthroughShaderEntryPoint {
                    name: "main".into(),
                    workgroup_size: (8, 8, 1),
                }]
                .into(),
                ..wgpu::ShaderModuleDescriptorPassthrough::default()
            })
        };
        Ok(self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("path tracer"),
            layout: Some(&self.pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        }))
    }

    fn wait(&self) -> Result<(), RenderError> {
        self.device.poll(wgpu::PollType::Wait { submission_index: None, timeout: None }).map_err(failed)?;
        self.check()
    }

    /// Copies a film back.
    pub fn read(&self, film: &wgpu::Buffer, bytes: u64) -> Result<Vec<[u32; 4]>, RenderError> {
        let back = self.buffer(bytes, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(film, 0, &back, 0, bytes);
        self.queue.submit([encoder.finish()]);
        let mapped = Arc::new(Mutex::new(None));
        let sink = Arc::clone(&mapped);
        back.slice(0..bytes).map_async(wgpu::MapMode::Read, move |outcome| {
            *sink.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        });
        self.wait()?;
        let outcome = mapped.lock().unwrap_or_else(PoisonError::into_inner).take();
        outcome.ok_or_else(|| failed("the film was not read back"))?.map_err(failed)?;
        let range = back.slice(0..bytes).get_mapped_range().map_err(failed)?;
        Ok(range.chunks_exact(16).map(bytemuck::pod_read_unaligned).collect())
    }
}
fn layout_entry(binding: u32) -> wgpu::BindGroupLayoutEntry {
    let ty = match binding {
        FILM => wgpu::BufferBindingType::Storage { read_only: false },
        _ => wgpu::BufferBindingType::Storage { read_only: true },
    };
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    }
}
