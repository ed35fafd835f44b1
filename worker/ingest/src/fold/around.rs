//! What is known beside the chunks that are folded.

use media::time::{EpochMs, Samples};

use super::vain::Vain;
use crate::gap::Gap;
use crate::timeline::Timing;

/// More audio than can be set aside (500 chunks of 300 ms). Chunks behind it do not affect where the next fragment lies.
const SIGHT: Samples = Samples::from_ms(180_000);

/// What is known beside the chunks of a batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Around<'a> {
    /// The gap that they fill: their audio ends before that ends.
    pub gap: Option<&'a Gap>,
    /// Chunks at hand that come behind them.
    pub after: &'a [Timing],
    /// Nothing more is on its way.
    pub calm: bool,
    /// Where an earlier plan had the last of them end, if that is only the head of a chunk.
    pub ends_at: Option<EpochMs>,
    /// What chunks without sound came to before.
    pub vain: Option<&'a Vain>,
    /// Chunks behind so much audio are left out.
    pub sight: Option<Samples>,
}

impl<'a> Around<'a> {
    /// A batch of live audio, or one that fills this gap.
    pub fn of(gap: Option<&'a Gap>, vain: &'a Vain) -> Self {
        Self { gap, vain: Some(vain), sight: gap.is_none().then_some(SIGHT), ..Self::default() }
    }
}
