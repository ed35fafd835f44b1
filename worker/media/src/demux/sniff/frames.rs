//! Formats that are nothing but frames: what their first bytes say is too short to go by, so three frames in a row must agree.

use super::foreign::Foreign;

/// Each packet of a transport stream begins with 0x47 (ISO/IEC 13818-1, 2.4.3.2).
const TS_PACKET: usize = 188;

/// The format of the frames that `bytes` begin with.
pub(super) fn of(bytes: &[u8]) -> Option<Foreign> {
    if has_frames(bytes, adts_frame) {
        Some(Foreign::Adts)
    } else if has_frames(bytes, mpeg_frame) {
        Some(Foreign::Mp3)
    } else {
        let is_packet = |n| bytes.get(n * TS_PACKET) == Some(&0x47);
        (0..5).all(is_packet).then_some(Foreign::MpegTs)
    }
}

/// Whether `bytes` begin with three frames in a row of the same fixed fields.
fn has_frames(bytes: &[u8], frame: fn(&[u8]) -> Option<(usize, u32)>) -> bool {
    let (mut at, mut fields) = (0, None);
    for _ in 0..3 {
        let Some((length, own)) = bytes.get(at..).and_then(frame) else { return false };
        if *fields.get_or_insert(own) != own {
            return false;
        }
        at += length;
    }
    true
}

/// An ADTS frame's length and fixed header (ISO/IEC 13818-7, 6.2).
fn adts_frame(bytes: &[u8]) -> Option<(usize, u32)> {
    let &[a @ 0xff, b, c, d, e, f, ..] = bytes else { return None };
    let rate = c >> 2 & 0x0f;
    let length = usize::from(d & 3) << 11 | usize::from(e) << 3 | usize::from(f) >> 5;
    let fixed = u32::from_be_bytes([a, b, c, d & 0xf0]);
    (b & 0xf6 == 0xf0 && rate < 13 && length > 7).then_some((length, fixed))
}

/// An MPEG audio frame's length, and what all frames of a stream share (ISO/IEC 11172-3, 2.4.1.3).
fn mpeg_frame(bytes: &[u8]) -> Option<(usize, u32)> {
    const KBPS: [[u32; 14]; 5] = [
        [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448], // MPEG-1 layer I
        [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],    // layer II
        [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],     // layer III
        [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],    // MPEG-2 layer I
        [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],         // layers II and III
    ];
    let &[0xff, b, c, ..] = bytes else { return None };
    let (version, layer) = (b >> 3 & 3, b >> 1 & 3); // version 3 is MPEG-1, 2 MPEG-2, 0 MPEG-2.5; layer 3 is I
    if b & 0xe0 != 0xe0 || version == 1 || layer == 0 {
        return None;
    }
    let table = match (version, layer) {
        (3, layer) => 3 - usize::from(layer),
        (_, 3) => 3,
        _ => 4,
    };
    let kbps = *KBPS[table].get(usize::from(c >> 4).checked_sub(1)?)?;
    let hz = [44_100, 48_000, 32_000].get(usize::from(c >> 2 & 3))? >> (3 - u32::from(version)).min(2);
    let padding = u32::from(c >> 1 & 1);
    let length = match (layer, version) {
        (3, _) => (12_000 * kbps / hz + padding) * 4,
        (1, 0 | 2) => 72_000 * kbps / hz + padding,
        _ => 144_000 * kbps / hz + padding,
    };
    Some((length as usize, u32::from_be_bytes([0xff, b, c & 0x0c, 0])))
}
