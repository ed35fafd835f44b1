//! Blocks into frames (RFC 9559 section 10): SimpleBlock and Block have the same form.

use crate::ebml::take_vint;

/// A block's first bytes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct BlockHead {
    pub(super) track: u64,
    /// Ticks after the Cluster's Timestamp.
    pub(super) relative: i16,
    flags: u8,
}

impl BlockHead {
    /// Its track number has up to 8 bytes.
    pub(super) const MAX_LEN: usize = 11;

    /// Takes it off the start of a block's content; `None` if that is too short or names no track.
    pub(super) fn take(content: &mut &[u8]) -> Option<Self> {
        let (track, _) = take_vint(content)?;
        let (&[high, low, flags], rest) = content.split_first_chunk()?;
        *content = rest;
        Some(Self { track, relative: i16::from_be_bytes([high, low]), flags })
    }

    /// Whether the flags that have no meaning are 0, as they must be (sections 10.1 and 10.2).
    pub(super) fn is_regular(&self) -> bool {
        self.flags & 0x70 == 0
    }
}

/// A block taken apart; the frames are Opus packets.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block<'a> {
    pub(super) track: u64,
    /// Ticks after the Cluster's Timestamp.
    pub(super) relative: i16,
    frames: Frames<'a>,
}

/// Nearly all blocks have one frame, which needs no list.
#[derive(Debug, PartialEq, Eq)]
enum Frames<'a> {
    One(&'a [u8]),
    Laced(Vec<&'a [u8]>),
}

impl<'a> Block<'a> {
    /// One frame at least.
    pub(super) fn frames(&self) -> &[&'a [u8]] {
        match &self.frames {
            Frames::One(frame) => std::slice::from_ref(frame),
            Frames::Laced(frames) => frames,
        }
    }

    /// Takes a block's content apart; `None` if its header or lacing is broken.
    pub(super) fn read(mut content: &'a [u8]) -> Option<Self> {
        let BlockHead { track, relative, flags } = BlockHead::take(&mut content)?;
        let frames = match flags & 0x06 {
            0x00 => Frames::One(content),
            0x02 => Frames::Laced(xiph_lacing(content)?),
            0x04 => Frames::Laced(fixed_lacing(content)?),
            _ => Frames::Laced(ebml_lacing(content)?),
        };
        Some(Self { track, relative, frames })
    }
}

/// Section 10.3.2: each length but the last as a sum of bytes, the last of which is below 255.
fn xiph_lacing(content: &[u8]) -> Option<Vec<&[u8]>> {
    let (&more, mut content) = content.split_first()?;
    let mut lengths = Vec::with_capacity(usize::from(more));
    for _ in 0..more {
        let mut length = 0;
        loop {
            let (&byte, rest) = content.split_first()?;
            content = rest;
            length += usize::from(byte);
            if byte < 255 {
                break;
            }
        }
        lengths.push(length);
    }
    split(content, &lengths)
}

/// Section 10.3.3: the first length as it is, the others but the last as signed differences.
fn ebml_lacing(content: &[u8]) -> Option<Vec<&[u8]>> {
    let (&more, mut content) = content.split_first()?;
    let mut lengths: Vec<usize> = Vec::with_capacity(usize::from(more));
    for _ in 0..more {
        let (value, bytes) = take_vint(&mut content)?;
        let value = i64::try_from(value).ok()?;
        let length = match lengths.last() {
            None => value,
            Some(&before) => {
                let zero = (1_i64 << (7 * bytes - 1)) - 1;
                i64::try_from(before).ok()?.checked_add(value - zero)?
            }
        };
        lengths.push(usize::try_from(length).ok()?);
    }
    split(content, &lengths)
}

/// Section 10.3.4: all frames of one length.
fn fixed_lacing(content: &[u8]) -> Option<Vec<&[u8]>> {
    let (&more, content) = content.split_first()?;
    let frames = usize::from(more) + 1;
    let even = !content.is_empty() && content.len().is_multiple_of(frames);
    even.then(|| content.chunks_exact(content.len() / frames).collect())
}

/// Cuts the lengths off, the remainder is the last frame. A laced frame may not be empty.
fn split<'a>(mut content: &'a [u8], lengths: &[usize]) -> Option<Vec<&'a [u8]>> {
    let mut frames = Vec::with_capacity(lengths.len() + 1);
    for &length in lengths {
        let (frame, rest) = content.split_at_checked(length)?;
        frames.push(frame);
        content = rest;
    }
    frames.push(content);
    frames.iter().all(|frame| !frame.is_empty()).then_some(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(content: &[u8]) -> Option<Vec<&[u8]>> {
        Block::read(content).map(|block| block.frames().to_vec())
    }

    #[test]
    fn a_block_without_lacing_is_one_frame() {
        let block = Block::read(&[0x82, 0xff, 0xfe, 0x80, 1, 2]).unwrap();
        assert_eq!(block, Block { track: 2, relative: -2, frames: Frames::One(&[1, 2]) });
        assert_eq!(Block::read(&[0x40, 0x82, 0, 0, 0, 1]).unwrap().track, 130);
    }

    #[test]
    fn each_lacing_gives_its_frames() {
        let abc: Vec<&[u8]> = vec![&[1], &[2, 2], &[3]];
        assert_eq!(frames(&[0x81, 0, 0, 0x02, 2, 1, 2, 1, 2, 2, 3]), Some(abc.clone()));
        assert_eq!(frames(&[0x81, 0, 0, 0x06, 2, 0x81, 0xc0, 1, 2, 2, 3]), Some(abc)); // 1, then one more
        assert_eq!(frames(&[0x81, 0, 0, 0x04, 2, 1, 2, 3]), Some(vec![&[1][..], &[2], &[3]]));
    }

    #[test]
    fn lengths_above_254_take_more_bytes() {
        let mut xiph = vec![0x81, 0, 0, 0x02, 1, 255, 45];
        xiph.extend_from_slice(&[7; 301]);
        assert_eq!(frames(&xiph).map(|f| (f[0].len(), f[1].len())), Some((300, 1)));
        // RFC 9559 section 10.3.3, its own example: 800, 500, 1000 bytes
        let mut ebml = vec![0x81, 0, 0, 0x06, 2, 0x43, 0x20, 0x5e, 0xd3];
        ebml.extend_from_slice(&[7; 2300]);
        let lengths = frames(&ebml).map(|f| f.iter().map(|f| f.len()).collect::<Vec<_>>());
        assert_eq!(lengths, Some(vec![800, 500, 1000]));
    }

    #[test]
    fn broken_blocks_are_refused() {
        let broken: [&[u8]; 9] = [
            &[],
            &[0x81, 0, 0],                            // no flags
            &[0x00, 0, 0, 0, 1],                      // no track number
            &[0x81, 0, 0, 0x02],                      // no frame count
            &[0x81, 0, 0, 0x02, 1, 9, 1],             // longer than the block
            &[0x81, 0, 0, 0x02, 1, 1, 1],             // nothing left for the last frame
            &[0x81, 0, 0, 0x04, 1, 1, 2, 3],          // three bytes for two frames
            &[0x81, 0, 0, 0x06, 2, 0x81, 0x80, 1, 2], // one and 63 less
            &[0x81, 0, 0, 0x06, 1, 0xff, 1, 2],       // the reserved length
        ];
        for block in broken {
            assert_eq!(frames(block), None, "{block:02x?}");
        }
    }
}
