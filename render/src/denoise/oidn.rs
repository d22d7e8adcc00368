//! Intel Open Image Denoise 2, loaded at run time: nobody needs it to build or to run the rest.

#![allow(unsafe_code, reason = "a C library that is found at run time cannot be called without")]

use std::{
    ffi::{CStr, OsString, c_char, c_int, c_void},
    mem::size_of,
    ptr,
};

use libloading::Library;

use super::DenoiseError;
use crate::frame::Frame;

/// Names the library's file where it is not among those that the system finds.
pub const VARIABLE: &str = "P2C2R_OIDN";

/// Under which names the system may know the library.
const NAMES: &[&str] = if cfg!(target_os = "windows") {
    &["OpenImageDenoise.dll"]
} else if cfg!(target_os = "macos") {
    &["libOpenImageDenoise.2.dylib", "libOpenImageDenoise.dylib"]
} else {
    &["libOpenImageDenoise.so.2", "libOpenImageDenoise.so"]
};

/// `OIDN_DEVICE_TYPE_CPU`: the one device that works on our memory on every machine.
const DEVICE_CPU: c_int = 1;
/// `OIDN_FORMAT_FLOAT3`.
const FORMAT_FLOAT3: c_int = 3;
/// `OIDN_ERROR_NONE`.
const ERROR_NONE: c_int = 0;

/// Declares the functions that we call, as `oidn.h` of version 2 does, and how they are found.
macro_rules! api {
    ($($field:ident: $symbol:literal fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        #[derive(Clone, Copy)]
        struct Api { $($field: unsafe extern "C" fn($($argument),*) $(-> $result)?,)* }

        impl Api {
            /// # Safety
            /// The library is Open Image Denoise, and stays loaded as long as what is returned is called.
            unsafe fn of(library: &Library) -> Result<Self, libloading::Error> {
                Ok(Self {
                    $(
                        // SAFETY: the type is that of the function of this name, in the library that the caller
                        // promises.
                        $field: *unsafe { library.get($symbol) }?,
                    )*
                })
            }
        }
    };
}

api! {
    new_device: b"oidnNewDevice\0" fn(c_int) -> *mut c_void;
    commit_device: b"oidnCommitDevice\0" fn(*mut c_void);
    release_device: b"oidnReleaseDevice\0" fn(*mut c_void);
    device_error: b"oidnGetDeviceError\0" fn(*mut c_void, *mut *const c_char) -> c_int;
    new_filter: b"oidnNewFilter\0" fn(*mut c_void, *const c_char) -> *mut c_void;
    release_filter: b"oidnReleaseFilter\0" fn(*mut c_void);
    set_image: b"oidnSetSharedFilterImage\0"
        fn(*mut c_void, *const c_char, *mut c_void, c_int, usize, usize, usize, usize, usize);
    set_bool: b"oidnSetFilterBool\0" fn(*mut c_void, *const c_char, bool);
    commit_filter: b"oidnCommitFilter\0" fn(*mut c_void);
    execute_filter: b"oidnExecuteFilter\0" fn(*mut c_void);
}

/// Frees the frame of noise. Its planes have been checked against its size.
pub fn filter(frame: &mut Frame) -> Result<(), DenoiseError> {
    let api = load(named())?;
    let device = Device::new(&api)?;
    let output = device.denoise(frame)?;
    frame.radiance = output;
    Ok(())
}

/// Whether there is a device to denoise on.
pub fn check_available() -> Result<(), DenoiseError> {
    Device::new(&load(named())?).map(drop)
}

/// The library's file, where the user names one.
fn named() -> Option<OsString> {
    std::env::var_os(VARIABLE).filter(|name| !name.is_empty())
}

/// Finds the library: under the name given, if one is, or else under those that it usually has.
fn load(named: Option<OsString>) -> Result<Api, DenoiseError> {
    let names = named.map_or_else(|| NAMES.iter().map(OsString::from).collect(), |name| vec![name]);
    let mut tried = Vec::new();
    for name in names {
        // SAFETY: loading runs the library's initialisers. Its name is its vendor's, or the user's own choice, as any
        // program is that the user starts.
        let library = match unsafe { Library::new(&name) } {
            Ok(library) => library,
            Err(error) => {
                tried.push(format!("{}: {error}", name.display()));
                continue;
            }
        };
        // SAFETY: the library has the vendor's name or was named by the user as such, and it is never unloaded.
        let api = unsafe { Api::of(&library) };
        // Its threads go on after our last call: unloading would take their code away from under them.
        std::mem::forget(library);
        return api.map_err(|error| DenoiseError::Version {
            library: name.display().to_string(),
            reason: error.to_string(),
        });
    }
    Err(DenoiseError::NotInstalled { tried: tried.join("; ") })
}

/// A device of the library, released when dropped.
struct Device<'a> {
    api: &'a Api,
    handle: *mut c_void,
}

impl<'a> Device<'a> {
    fn new(api: &'a Api) -> Result<Self, DenoiseError> {
        // SAFETY: any device type may be asked for; what cannot be had is null.
        let handle = unsafe { (api.new_device)(DEVICE_CPU) };
        let device = Self { api, handle };
        if handle.is_null() {
            return Err(device.failure());
        }
        // SAFETY: the handle is a device.
        unsafe { (api.commit_device)(handle) };
        device.check().map(|()| device)
    }

    /// The device's radiance without the frame's noise.
    fn denoise(&self, frame: &Frame) -> Result<Vec<[f32; 3]>, DenoiseError> {
        let mut output = vec![[0.0_f32; 3]; frame.radiance.len()];
        // SAFETY: the handle is a device, the name ends in zero.
        let handle = unsafe { (self.api.new_filter)(self.handle, c"RT".as_ptr()) };
        if handle.is_null() {
            return Err(self.failure());
        }
        let filter = Filter { api: self.api, handle };
        let set = |name: &CStr, pixels: *mut c_void| {
            let (width, height) = (frame.size.width_px() as usize, frame.size.height_px() as usize);
            let (pixel, row) = (size_of::<[f32; 3]>(), width * size_of::<[f32; 3]>());
            // SAFETY: the handle is a filter; `pixels` is a plane of width * height pixels without gaps (`denoise` of
            // the module above has checked the frame, the output is made of the same length) that outlives the filter.
            unsafe {
                (self.api.set_image)(
                    filter.handle,
                    name.as_ptr(),
                    pixels,
                    FORMAT_FLOAT3,
                    width,
                    height,
                    0,
                    pixel,
                    row,
                );
            }
        };
        // The library takes pointers to change, and only reads through those of the inputs.
        set(c"color", frame.radiance.as_ptr().cast_mut().cast());
        if let Some(features) = &frame.features {
            set(c"albedo", features.albedo.as_ptr().cast_mut().cast());
            set(c"normal", features.normal.as_ptr().cast_mut().cast());
        }
        set(c"output", output.as_mut_ptr().cast());
        // SAFETY: the handle is a filter whose images are set; nothing else touches `output` meanwhile.
        unsafe {
            (self.api.set_bool)(filter.handle, c"hdr".as_ptr(), true);
            (self.api.commit_filter)(filter.handle);
            (self.api.execute_filter)(filter.handle);
        }
        drop(filter);
        self.check().map(|()| output)
    }

    /// The first thing that went wrong since this was last asked.
    fn check(&self) -> Result<(), DenoiseError> {
        let mut message: *const c_char = ptr::null();
        // SAFETY: the handle is a device, or null to ask why there is none; `message` can be written.
        let code = unsafe { (self.api.device_error)(self.handle, &raw mut message) };
        if code == ERROR_NONE {
            return Ok(());
        }
        let reason = if message.is_null() {
            format!("error {code}")
        } else {
            // SAFETY: a message that is not null is a string that stays until the device is asked again.
            unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned()
        };
        Err(DenoiseError::Failed { reason })
    }

    /// As [`Self::check`], when something is known to have gone wrong.
    fn failure(&self) -> DenoiseError {
        self.check()
            .err()
            .unwrap_or_else(|| DenoiseError::Failed { reason: "it does not say why".to_owned() })
    }
}

impl Drop for Device<'_> {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: the handle is a device that is released once, after its filters.
            unsafe { (self.api.release_device)(self.handle) };
        }
    }
}

/// A filter of a device, released when dropped.
struct Filter<'a> {
    api: &'a Api,
    handle: *mut c_void,
}

impl Drop for Filter<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is a filter that is released once.
        unsafe { (self.api.release_filter)(self.handle) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_missing_or_another_is_named_with_the_way_out() {
        let missing = load(Some("/nowhere/libOpenImageDenoise.so".into())).err().unwrap().to_string();
        assert!(missing.starts_with("Open Image Denoise cannot be loaded (/nowhere/"), "{missing}");
        assert!(
            missing.contains("install version 2 of it") && missing.ends_with("or use --denoise atrous"),
            "{missing}"
        );
        if cfg!(target_os = "linux") {
            let other = load(Some("libc.so.6".into())).err().unwrap();
            assert!(
                matches!(&other, DenoiseError::Version { library, .. } if library == "libc.so.6"),
                "{other}"
            );
        }
    }
}
