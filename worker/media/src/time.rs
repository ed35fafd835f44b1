//! A type for each timebase, so that a sample is never taken for a millisecond.
//!
//! | type | unit | where it comes from |
//! |---|---|---|
//! | [`Samples`] | 1/16,000 s | what is decoded and written |
//! | [`OpusTicks`] | 1/48,000 s | OpusHead pre-skip, Ogg granule positions (RFC 7845 section 4) |
//! | [`MediaTime`] | 1 ns | WebM blocks, Ogg pages: the recording's own timeline |
//! | [`EpochMs`] | 1 ms | producer timestamps, capture times |
//!
//! One sample is exactly 3 ticks and exactly 62,500 ns. All arithmetic saturates: no input can make it wrap or panic.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub, SubAssign};

use serde::{Deserialize, Serialize};

const NS_PER_SAMPLE: u64 = 62_500;
const SAMPLES_PER_MS: u64 = 16;
const TICKS_PER_SAMPLE: u64 = 3;
const NS_PER_MS: i64 = 1_000_000;

/// A count of samples at 16 kHz: the length of a piece of audio.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Samples(pub u64);

impl Samples {
    /// Samples per second.
    pub const RATE_HZ: u32 = 16_000;
    /// No samples at all.
    pub const ZERO: Self = Self(0);

    /// The length of `ms` milliseconds, exactly.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms.saturating_mul(SAMPLES_PER_MS))
    }

    /// Whole milliseconds, rounded down.
    pub const fn ms_floor(self) -> u64 {
        self.0 / SAMPLES_PER_MS
    }

    /// Whole milliseconds, rounded up.
    pub const fn ms_ceil(self) -> u64 {
        self.0.div_ceil(SAMPLES_PER_MS)
    }

    /// This many samples less, zero at least.
    pub const fn saturating_sub(self, less: Self) -> Self {
        Self(self.0.saturating_sub(less.0))
    }

    /// Whether there are none.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The count as an index into PCM, the largest index there is if it does not fit.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl From<usize> for Samples {
    fn from(count: usize) -> Self {
        Self(count as u64)
    }
}

impl Add for Samples {
    type Output = Self;
    fn add(self, more: Self) -> Self {
        Self(self.0.saturating_add(more.0))
    }
}

impl AddAssign for Samples {
    fn add_assign(&mut self, more: Self) {
        *self = *self + more;
    }
}

/// Zero at least, as [`Samples::saturating_sub`].
impl Sub for Samples {
    type Output = Self;
    fn sub(self, less: Self) -> Self {
        self.saturating_sub(less)
    }
}

impl SubAssign for Samples {
    fn sub_assign(&mut self, less: Self) {
        *self = *self - less;
    }
}

impl Sum for Samples {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} samples", self.0)
    }
}

/// A count of ticks at 48 kHz, the clock that Opus containers count in whatever the source's rate was.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OpusTicks(pub u32);

impl OpusTicks {
    /// Ticks per second.
    pub const RATE_HZ: u32 = 48_000;

    /// The same length in samples at 16 kHz, rounded to the nearest.
    pub const fn to_samples(self) -> Samples {
        Samples((self.0 as u64 + TICKS_PER_SAMPLE / 2) / TICKS_PER_SAMPLE)
    }

    /// The nearest tick to a length in nanoseconds (Matroska's CodecDelay).
    pub fn from_ns(ns: u64) -> Self {
        let ticks = (u128::from(ns) * 48 + 500_000) / 1_000_000;
        Self(u32::try_from(ticks).unwrap_or(u32::MAX))
    }
}

/// A moment on a recording's own container timeline, in nanoseconds. It starts over with each recording and is
/// not shifted by pre-skip or CodecDelay.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MediaTime(pub i64);

impl MediaTime {
    /// The moment `ms` milliseconds after the timeline's zero.
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms.saturating_mul(NS_PER_MS))
    }

    /// Whole milliseconds after the timeline's zero, rounded down.
    pub const fn ms_floor(self) -> i64 {
        self.0.div_euclid(NS_PER_MS)
    }

    /// The moment that many samples later.
    pub fn plus(self, later: Samples) -> Self {
        let ns = i64::try_from(later.0.saturating_mul(NS_PER_SAMPLE)).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(ns))
    }

    /// How much audio fits between an earlier moment and this one, to the nearest sample; none if it is not earlier.
    pub fn since(self, earlier: Self) -> Samples {
        let ns = u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0);
        Samples(ns.saturating_add(NS_PER_SAMPLE / 2) / NS_PER_SAMPLE)
    }
}

/// A moment in Unix epoch milliseconds.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EpochMs(pub u64);

impl EpochMs {
    /// The millisecond in which audio of this length that starts now has ended (rounded down).
    pub const fn plus(self, later: Samples) -> Self {
        Self(self.0.saturating_add(later.ms_floor()))
    }

    /// The moment that many milliseconds later.
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds since an earlier moment, 0 if it is not earlier.
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for EpochMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_round_the_way_their_names_say() {
        assert_eq!(Samples::from_ms(2), Samples(32));
        assert_eq!((Samples(33).ms_floor(), Samples(33).ms_ceil()), (2, 3));
        assert_eq!((Samples(32).ms_floor(), Samples(32).ms_ceil()), (2, 2));
    }

    #[test]
    fn ticks_round_to_the_nearest_sample() {
        assert_eq!(OpusTicks(312).to_samples(), Samples(104)); // Firefox's pre-skip
        assert_eq!(OpusTicks(313).to_samples(), Samples(104));
        assert_eq!(OpusTicks(314).to_samples(), Samples(105));
        assert_eq!(OpusTicks::from_ns(6_500_000), OpusTicks(312)); // and its CodecDelay: the same 6.5 ms
        assert_eq!(OpusTicks::from_ns(u64::MAX), OpusTicks(u32::MAX));
    }

    #[test]
    fn media_time_counts_samples_exactly_and_signs_are_right() {
        let start = MediaTime::from_ms(-1);
        assert_eq!(start.plus(Samples(16)), MediaTime(0));
        assert_eq!(MediaTime(0).since(start), Samples(16));
        assert_eq!(start.since(MediaTime(0)), Samples(0));
        assert_eq!((MediaTime(-1).ms_floor(), MediaTime(1_999_999).ms_floor()), (-1, 1));
    }

    #[test]
    fn nothing_wraps_at_the_ends_of_the_range() {
        assert_eq!(Samples(1) - Samples(2), Samples(0));
        assert_eq!(Samples(u64::MAX) + Samples(1), Samples(u64::MAX));
        assert_eq!(MediaTime(i64::MAX).plus(Samples(u64::MAX)), MediaTime(i64::MAX));
        assert_eq!(MediaTime(i64::MAX).since(MediaTime(i64::MIN)).0, i64::MAX as u64 / 62_500);
        assert_eq!(EpochMs(u64::MAX).plus(Samples::from_ms(1)), EpochMs(u64::MAX));
    }
}
