//! OpusHead (RFC 7845 section 5.1): the first page's packet in Ogg, CodecPrivate in WebM.

use super::item::SkipReason;
use crate::opus::OutputGain;
use crate::time::OpusTicks;

/// What decoding needs of an OpusHead.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct OpusHead {
    pub(super) channels: u8,
    pub(super) pre_skip: OpusTicks,
    pub(super) gain: OutputGain,
}

pub(super) const MAGIC: &[u8] = b"OpusHead";

impl OpusHead {
    /// Reads an OpusHead; `None` if the bytes are something else or too few.
    ///
    /// # Errors
    /// [`SkipReason::UnsupportedCodec`] for a version or channel mapping that one decoder cannot decode.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, SkipReason> {
        let Some(fields) = bytes.strip_prefix(MAGIC) else {
            return Ok(None);
        };
        let [
            version,
            channels,
            skip_low,
            skip_high,
            _,
            _,
            _,
            _,
            gain_low,
            gain_high,
            mapping,
            ref table @ ..,
        ] = *fields
        else {
            return Ok(None);
        };
        let unsupported = |what: String| Err(SkipReason::UnsupportedCodec(what));
        if version >> 4 != 0 {
            return unsupported(format!("OpusHead version {version}"));
        }
        if !(1..=2).contains(&channels) || !is_one_stream(mapping, channels, table) {
            return unsupported(format!("Opus with {channels} channels, mapping family {mapping}"));
        }
        let pre_skip = OpusTicks(u32::from(u16::from_le_bytes([skip_low, skip_high])));
        let gain = OutputGain(i16::from_le_bytes([gain_low, gain_high]));
        Ok(Some(Self { channels, pre_skip, gain }))
    }
}

/// Whether all channels come from one Opus stream: always in family 0; in family 1 (section 5.1.1.2) and in the family without
/// meaning (255) where the table names one stream, coupled if it is stereo.
fn is_one_stream(mapping: u8, channels: u8, table: &[u8]) -> bool {
    match (mapping, table) {
        (0, _) => true,
        (1 | 255, [1, coupled, ..]) => *coupled == channels - 1,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIREFOX: &[u8] = b"OpusHead\x01\x01\x38\x01\x80\xbb\x00\x00\x00\x00\x00";

    fn changed(at: usize, byte: u8) -> Vec<u8> {
        let mut head = FIREFOX.to_vec();
        head[at] = byte;
        head
    }

    #[test]
    fn pre_skip_is_little_endian() {
        assert_eq!(
            OpusHead::read(FIREFOX),
            Ok(Some(OpusHead { channels: 1, pre_skip: OpusTicks(312), gain: OutputGain(0) }))
        );
    }

    #[test]
    fn one_stream_is_decoded_whatever_its_mapping_family_and_gain() {
        let mapped = |channels: u8, family: u8, table: &[u8]| {
            let head = [MAGIC, &[1, channels, 0, 15, 0x80, 0xbb, 0, 0, 0x00, 0xfe, family], table].concat();
            OpusHead::read(&head).map(|head| head.unwrap())
        };
        let mono = OpusHead { channels: 1, pre_skip: OpusTicks(3840), gain: OutputGain(-512) };
        assert_eq!(mapped(1, 1, &[1, 0, 0]), Ok(mono));
        assert_eq!(mapped(1, 255, &[1, 0, 0]), Ok(mono));
        assert_eq!(mapped(2, 1, &[1, 1, 0, 1]), Ok(OpusHead { channels: 2, ..mono }));
        assert!(mapped(2, 1, &[2, 0, 0, 1]).is_err(), "two streams");
        assert!(mapped(6, 1, &[4, 2, 0, 4, 1, 2, 3, 5]).is_err());
        assert!(mapped(2, 2, &[1, 1, 0, 1]).is_err(), "ambisonics");
    }

    #[test]
    fn surround_and_future_versions_are_refused_by_name() {
        let refusal = |head: &[u8]| OpusHead::read(head).unwrap_err().to_string();
        assert!(refusal(&changed(9, 6)).contains("6 channels"));
        assert!(refusal(&changed(18, 1)).contains("mapping family 1"));
        assert!(refusal(&changed(8, 0x10)).contains("version 16"));
        assert!(refusal(&changed(9, 0)).contains("0 channels"));
    }

    #[test]
    fn other_bytes_are_no_opus_head() {
        assert_eq!(OpusHead::read(&FIREFOX[..18]), Ok(None));
        assert_eq!(OpusHead::read(b"OpusTags\x01\x01\x38\x01\x80\xbb\x00\x00\x00\x00\x00"), Ok(None));
    }
}
