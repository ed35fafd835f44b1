//! A packet's length in time, from its table of contents (RFC 6716 section 3).
//!
//! Every rule for well-formed packets (R1 to R7 of section 3.4) is checked here, so that what passes is what libopus
//! decodes, and a block's or page's packets can be distinguished from noise.

use thiserror::Error;

use crate::time::Samples;

/// The longest time a packet may hold: 120 ms (R5).
pub const MAX_PACKET: Samples = Samples::from_ms(120);

/// The most bytes a packet without padding may have: 48 frames of 1,275 bytes, their lengths, the TOC and the count.
pub const MAX_PACKET_BYTES: usize = 48 * (MAX_FRAME_BYTES + 2) + 2;

const MAX_FRAME_BYTES: usize = 1275;

/// What breaks a packet's form; the rule's number is that of RFC 6716 section 3.4.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Error)]
pub enum PacketError {
    /// R1: there must be a TOC byte.
    #[error("the Opus packet is empty")]
    Empty,
    /// R2: no implicit frame length above 1,275 bytes.
    #[error("the Opus packet has a frame of {0} bytes, 1275 are allowed")]
    FrameTooLarge(usize),
    /// R3, R6: frames of one length that do not share the bytes evenly.
    #[error("the Opus packet's {bytes} bytes do not divide into {frames} frames of the same length")]
    Uneven {
        /// Bytes there are for the frames.
        bytes: usize,
        /// Frames that share them.
        frames: usize,
    },
    /// R4, R7: a length, the padding or the frames reach past the packet's end.
    #[error("the Opus packet ends within its {0}")]
    CutShort(&'static str),
    /// R5: no frames at all, or more than 120 ms.
    #[error("the Opus packet claims {0} frames, more than 120 ms or none")]
    FrameCount(usize),
}

/// How long a packet lasts, from its TOC (RFC 6716 sections 3.1 and 3.2), after its whole form has been checked.
///
/// # Errors
/// [`PacketError`] says which rule of section 3.4 the packet breaks.
pub fn packet_samples(packet: &[u8]) -> Result<Samples, PacketError> {
    let (&toc, rest) = packet.split_first().ok_or(PacketError::Empty)?;
    let frames = match toc & 3 {
        0 => {
            check_frame(rest.len())?;
            1
        }
        1 => {
            check_even(rest.len(), 2)?;
            2
        }
        2 => {
            let (first, rest) = frame_length(rest)?;
            let last = rest.len().checked_sub(first).ok_or(PacketError::CutShort("first frame"))?;
            check_frame(last)?;
            2
        }
        _ => check_code_3(frame_samples(toc), rest)?,
    };
    Ok(Samples(frame_samples(toc) * frames as u64))
}

/// One frame's length at 16 kHz, by configuration number (section 3.1, table 2).
fn frame_samples(toc: u8) -> u64 {
    let config = toc >> 3;
    match config {
        0..=11 => [160, 320, 640, 960][usize::from(config & 3)], // SILK: 10, 20, 40, 60 ms
        12..=15 => [160, 320][usize::from(config & 1)],          // hybrid: 10, 20 ms
        _ => [40, 80, 160, 320][usize::from(config & 3)],        // CELT: 2.5, 5, 10, 20 ms
    }
}

/// Code 3: a count byte, then perhaps padding and lengths (section 3.2.5). Returns the number of frames.
fn check_code_3(frame_samples: u64, rest: &[u8]) -> Result<usize, PacketError> {
    let (&count, mut rest) = rest.split_first().ok_or(PacketError::CutShort("frame count"))?;
    let (vbr, padded, frames) = (count & 0x80 != 0, count & 0x40 != 0, usize::from(count & 0x3f));
    if frames == 0 || frame_samples * frames as u64 > MAX_PACKET.0 {
        return Err(PacketError::FrameCount(frames));
    }
    if padded {
        rest = without_padding(rest)?;
    }
    if !vbr {
        check_even(rest.len(), frames)?;
        return Ok(frames);
    }
    let mut explicit = 0;
    for _ in 1..frames {
        let (length, after) = frame_length(rest)?;
        explicit += length;
        rest = after;
    }
    let last = rest.len().checked_sub(explicit).ok_or(PacketError::CutShort("frames"))?;
    check_frame(last)?;
    Ok(frames)
}

/// Takes the padding length and as many bytes at the packet's end away.
fn without_padding(mut rest: &[u8]) -> Result<&[u8], PacketError> {
    let mut padding = 0;
    loop {
        let (&more, after) = rest.split_first().ok_or(PacketError::CutShort("padding length"))?;
        rest = after;
        if more < 255 {
            padding += usize::from(more);
            break;
        }
        padding += 254;
    }
    let frames = rest.len().checked_sub(padding).ok_or(PacketError::CutShort("padding"))?;
    Ok(&rest[..frames])
}

/// Reads a one- or two-byte frame length (section 3.2.1).
fn frame_length(bytes: &[u8]) -> Result<(usize, &[u8]), PacketError> {
    const CUT: PacketError = PacketError::CutShort("frame lengths");
    let (&first, rest) = bytes.split_first().ok_or(CUT)?;
    if first < 252 {
        return Ok((usize::from(first), rest));
    }
    let (&second, rest) = rest.split_first().ok_or(CUT)?;
    Ok((usize::from(first) + 4 * usize::from(second), rest))
}

fn check_even(bytes: usize, frames: usize) -> Result<(), PacketError> {
    if !bytes.is_multiple_of(frames) {
        return Err(PacketError::Uneven { bytes, frames });
    }
    check_frame(bytes / frames)
}

fn check_frame(bytes: usize) -> Result<(), PacketError> {
    if bytes > MAX_FRAME_BYTES { Err(PacketError::FrameTooLarge(bytes)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_follow_table_2_of_rfc_6716() {
        let tenths_of_ms = |config: u8| packet_samples(&[config << 3]).unwrap().0 * 10 / 16;
        let silk = [100, 200, 400, 600].repeat(3);
        let hybrid = [100, 200].repeat(2);
        let celt = [25, 50, 100, 200].repeat(4);
        let table: Vec<u64> = [silk, hybrid, celt].concat();
        assert_eq!((0..32).map(tenths_of_ms).collect::<Vec<_>>(), table);
    }

    #[test]
    fn every_code_counts_its_frames() {
        let fullband_20_ms = 31 << 3;
        let samples = |packet: &[u8]| packet_samples(packet).map(|s| s.0);
        assert_eq!(samples(&[fullband_20_ms, 1, 2, 3]), Ok(320));
        assert_eq!(samples(&[fullband_20_ms | 1, 1, 2]), Ok(640));
        assert_eq!(samples(&[fullband_20_ms | 2, 1, 9, 8, 7]), Ok(640));
        assert_eq!(samples(&[fullband_20_ms | 3, 3, 1, 2, 3]), Ok(960));
        assert_eq!(samples(&[fullband_20_ms | 3, 0x80 | 3, 1, 2, 9, 8, 8, 7]), Ok(960));
        assert_eq!(samples(&[fullband_20_ms | 3, 0x40 | 3, 2, 1, 2, 3, 0, 0]), Ok(960));
        assert_eq!(samples(&[0xfb, 0x03, 0xff, 0xfe, 0xff, 0xfe, 0xff, 0xfe]), Ok(960)); // a browser's silence
    }

    #[test]
    fn each_broken_rule_is_named() {
        let celt = 31 << 3;
        assert_eq!(packet_samples(&[]), Err(PacketError::Empty));
        assert_eq!(packet_samples(&[celt | 1, 1]), Err(PacketError::Uneven { bytes: 1, frames: 2 }));
        assert_eq!(packet_samples(&[celt | 2]), Err(PacketError::CutShort("frame lengths")));
        assert_eq!(packet_samples(&[celt | 2, 252]), Err(PacketError::CutShort("frame lengths")));
        assert_eq!(packet_samples(&[celt | 2, 5, 0]), Err(PacketError::CutShort("first frame")));
        assert_eq!(packet_samples(&[celt | 3]), Err(PacketError::CutShort("frame count")));
        assert_eq!(packet_samples(&[celt | 3, 0]), Err(PacketError::FrameCount(0)));
        assert_eq!(packet_samples(&[celt | 3, 7]), Err(PacketError::FrameCount(7)));
        assert_eq!(packet_samples(&[celt | 3, 0x41]), Err(PacketError::CutShort("padding length")));
        assert_eq!(packet_samples(&[celt | 3, 0x41, 2, 0]), Err(PacketError::CutShort("padding")));
        assert_eq!(packet_samples(&[celt | 3, 0x82, 9, 0]), Err(PacketError::CutShort("frames")));
        assert_eq!(packet_samples(&[celt; 1277]), Err(PacketError::FrameTooLarge(1276)));
    }

    /// Noise with every code equally likely, so that well-formed packets are not rare.
    fn packets() -> impl Strategy<Value = Vec<u8>> {
        (any::<u8>(), proptest::collection::vec(prop_oneof![any::<u8>(), 0..4_u8, Just(0x83_u8)], 0..200))
            .prop_map(|(toc, rest)| std::iter::once(toc).chain(rest).collect())
    }

    proptest! {
        #[test]
        fn libopus_agrees_on_which_packets_are_well_formed_and_how_long_they_are(packet in packets()) {
            let samples = packet_samples(&packet).ok().map(|s| s.0);
            let mut decoder = audiopus::coder::Decoder::new(
                audiopus::SampleRate::Hz16000, audiopus::Channels::Mono).unwrap();
            let mut pcm = vec![0_i16; MAX_PACKET.as_usize()];
            let input = audiopus::packet::Packet::try_from(&packet).unwrap();
            let output = audiopus::MutSignals::try_from(&mut pcm).unwrap();
            let decoded = decoder.decode(Some(input), output, false).ok().map(|n| n as u64);
            prop_assert_eq!(samples, decoded);
        }
    }
}
