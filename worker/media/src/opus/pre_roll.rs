//! How much of a stream's past a fresh decoder must hear. `docs/pre-roll.md` has the measurement.

use crate::time::Samples;

/// How much audio before a batch its packets must cover for a fresh decoder to go on as if it had never stopped. CELT
/// streams, the browsers' default, are then equal sample for sample; SILK and hybrid ones differ (48 dB SNR or better), and
/// need [`PRE_ROLL_SILK`] to be equal.
pub const PRE_ROLL: Samples = Samples::from_ms(1_000);

/// The same for SILK and hybrid packets: what the speech decoder predicts from fades more slowly.
pub const PRE_ROLL_SILK: Samples = Samples::from_ms(2_000);

/// The first CELT configuration of a TOC (RFC 6716 table 2); SILK and hybrid ones are below.
const FIRST_CELT: u8 = 16;

/// How long a pre-roll must be that this packet is a part of.
pub fn pre_roll_with(packet: &[u8]) -> Samples {
    match packet.first() {
        Some(toc) if toc >> 3 < FIRST_CELT => PRE_ROLL_SILK,
        _ => PRE_ROLL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speech_modes_need_the_longer_pre_roll() {
        assert_eq!(pre_roll_with(&[0xfb, 3]), PRE_ROLL, "what Chromium sends by default");
        assert_eq!(pre_roll_with(&[15 << 3]), PRE_ROLL_SILK, "hybrid");
        assert_eq!(pre_roll_with(&[9 << 3]), PRE_ROLL_SILK, "SILK");
        assert_eq!(pre_roll_with(&[]), PRE_ROLL);
    }
}
