//! Keeps Vulkan quiet on machines without a desktop.
#![allow(
    unsafe_code,
    reason = "setting an environment variable is unsafe once there are threads; here there are none"
)]

/// Mesa's layer that chooses among GPUs asks the desktop which one it uses. Without a desktop it cannot, and says so on
/// stderr as if something were wrong. Call before anything else: the environment may only change while there is one
/// thread.
pub fn prepare() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: called first thing in `main`, before any thread is started.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}
