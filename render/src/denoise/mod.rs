//! Takes the noise out of a finished frame.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use self::oidn::VARIABLE;
use crate::frame::{Frame, FrameError};

mod atrous;
mod guide;
mod noise;
mod oidn;
mod plane;

/// How a frame is freed of noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Denoiser {
    /// Not at all: the frame is what the samples say.
    #[default]
    Off,
    /// Our own edge-avoiding wavelet filter: needs nothing, and gives the same bits on every machine.
    Atrous,
    /// Intel Open Image Denoise, where it is installed: better with few samples; its bits differ between machines.
    Oidn,
}

impl Denoiser {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Off, Self::Atrous, Self::Oidn];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Atrous => "atrous",
            Self::Oidn => "oidn",
        }
    }
}

impl fmt::Display for Denoiser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no denoiser has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no denoiser; choose off, atrous or oidn")]
pub struct DenoiserNameError(String);

impl FromStr for Denoiser {
    type Err = DenoiserNameError;

    fn from_str(text: &str) -> Result<Self, DenoiserNameError> {
        let named = Self::ALL.into_iter().find(|choice| choice.name() == text);
        named.ok_or_else(|| DenoiserNameError(text.to_owned()))
    }
}

/// Why a frame was not freed of noise. The frame is as before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DenoiseError {
    /// A frame whose planes do not fit it.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The library is not there.
    #[error(
        "Open Image Denoise cannot be loaded ({tried}): install version 2 of it (oidn.org, or your system's package), name its library file in {VARIABLE}, or use --denoise atrous"
    )]
    NotInstalled {
        /// The names that were tried, each with what the system said.
        tried: String,
    },
    /// The library is there, but not the one that we know.
    #[error(
        "{library} is no Open Image Denoise of version 2 ({reason}): install that or use --denoise atrous"
    )]
    Version {
        /// The library's name.
        library: String,
        /// What is missing.
        reason: String,
    },
    /// The library refused.
    #[error("Open Image Denoise failed ({reason}): use --denoise atrous")]
    Failed {
        /// What the library said.
        reason: String,
    },
}

/// Whether the denoiser can be had on this machine: asked before rendering, so that no work is lost for a missing
/// library.
pub fn check_available(choice: Denoiser) -> Result<(), DenoiseError> {
    match choice {
        Denoiser::Off | Denoiser::Atrous => Ok(()),
        Denoiser::Oidn => oidn::check_available(),
    }
}

/// Takes the noise out of the frame's radiance; its features guide and stay as they are.
pub fn denoise(frame: &mut Frame, choice: Denoiser) -> Result<(), DenoiseError> {
    frame.check()?;
    match choice {
        Denoiser::Off => Ok(()),
        Denoiser::Atrous => {
            atrous::filter(frame);
            Ok(())
        }
        Denoiser::Oidn => oidn::filter(frame),
    }
}

#[cfg(test)]
mod tests;
