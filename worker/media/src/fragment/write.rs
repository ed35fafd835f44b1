//! Writes one fragment.

use thiserror::Error;

use crate::time::EpochMs;

/// The longest time from a fragment's first sample to its last: block times are 16 bits, and the service takes 20 s.
pub const MAX_SPAN_MS: u64 = 32_000;

/// A run of samples that begins at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// When the first sample was captured.
    pub at: EpochMs,
    /// 16 kHz mono.
    pub pcm: Vec<i16>,
}

/// Why a fragment cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FragmentError {
    /// There are no samples; the service refuses a fragment without blocks.
    #[error("a fragment needs samples; this one has none")]
    NoSamples,
}

/// Writes runs of samples and tags as one fragment.
///
/// # Errors
/// [`FragmentError`] names what the service would refuse.
pub fn write(_blocks: &[Block], _tags: &[(&str, String)]) -> Result<Vec<u8>, FragmentError> {
    Err(FragmentError::NoSamples)
}
