//! OpusHead (RFC 7845 section 5.1): the first page's packet in Ogg, CodecPrivate in WebM.

use super::SkipReason;
use crate::time::OpusTicks;

/// What decoding needs of an OpusHead. The output gain is left alone: no recorder sets one.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct OpusHead {
    pub(super) channels: u8,
    pub(super) pre_skip: OpusTicks,
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
        let [version, channels, skip_low, skip_high, _, _, _, _, _, _, mapping, ..] = *fields else {
            return Ok(None);
        };
        let unsupported = |what: String| Err(SkipReason::UnsupportedCodec(what));
        if version >> 4 != 0 {
            return unsupported(format!("OpusHead version {version}"));
        }
        if mapping != 0 || !(1..=2).contains(&channels) {
            return unsupported(format!("Opus with {channels} channels, mapping family {mapping}"));
        }
        let pre_skip = OpusTicks(u32::from(u16::from_le_bytes([skip_low, skip_high])));
        Ok(Some(Self { channels, pre_skip }))
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
        assert_eq!(OpusHead::read(FIREFOX), Ok(Some(OpusHead { channels: 1, pre_skip: OpusTicks(312) })));
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
