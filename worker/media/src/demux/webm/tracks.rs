//! The Tracks element, read by the `matroska` crate behind a gate.
//!
//! That crate wants a whole file of known sizes, allocates what an element claims, and stops at an empty SeekHead. So
//! it never sees a recorder's bytes: the gate walks Tracks itself, checks that every child fits its parent, and copies
//! only the few elements on its list, with contents of their right size, into a header of its own making. The crate
//! does not know CodecDelay; the gate reads it on the way.

use std::io::Cursor;

use matroska::{Matroska, Settings, Track};
use serde::{Deserialize, Serialize};

use super::super::item::SkipReason;
use super::super::limits;
use super::super::opus_head::OpusHead;
use crate::ebml::{self, id, write};
use crate::opus::OutputGain;
use crate::time::OpusTicks;

/// Opus, and what it was called before it had a specification.
const OPUS: [&str; 2] = ["A_OPUS", "A_OPUS/EXPERIMENTAL"];

/// The Opus track of a recording, and the numbers of the tracks beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct OpusTrack {
    pub(super) number: u64,
    pub(super) others: Vec<u64>,
}

/// What a Tracks element says about its Opus track.
#[derive(Debug, PartialEq)]
pub(super) struct TrackFacts {
    pub(super) track: OpusTrack,
    pub(super) channels: u8,
    pub(super) pre_skip: OpusTicks,
    pub(super) gain: OutputGain,
    /// The codecs of the other tracks.
    pub(super) beside: Vec<String>,
}

/// Reads the content of a Tracks element.
///
/// # Errors
/// [`SkipReason::BadElement`] if it is broken, [`SkipReason::UnsupportedCodec`] if no track can be decoded.
pub(super) fn read(content: &[u8]) -> Result<TrackFacts, SkipReason> {
    let gated = gate(content)?;
    let header = write::master(id::SEGMENT, &[write::master(id::TRACKS, &gated.entries)]);
    let parsed = Matroska::open(Cursor::new(header)).map_err(|_| bad(id::TRACKS))?;
    if parsed.tracks.len() != gated.hidden.len() {
        return Err(bad(id::TRACK_ENTRY));
    }
    let is_opus = |track: &Track| track.is_audio() && OPUS.contains(&track.codec_id.as_str());
    let tracks = || parsed.tracks.iter().zip(&gated.hidden);
    let (opus, hidden) = tracks()
        .find(|(track, hidden)| is_opus(track) && !hidden.encoded)
        .ok_or_else(|| SkipReason::UnsupportedCodec(describe(tracks())))?;
    let others = || parsed.tracks.iter().filter(|track| track.number != opus.number);
    let track = OpusTrack { number: opus.number, others: others().map(|track| track.number).collect() };
    let codecs = others().map(|track| track.codec_id.clone()).collect();
    facts(track, codecs, opus, hidden)
}

/// Pre-skip is OpusHead's; CodecDelay says the same once more, and counts only where OpusHead is absent.
fn facts(
    track: OpusTrack,
    beside: Vec<String>,
    opus: &Track,
    hidden: &Hidden,
) -> Result<TrackFacts, SkipReason> {
    let head = opus.codec_private.as_deref().map(OpusHead::read).transpose()?.flatten();
    Ok(match head {
        Some(OpusHead { channels, pre_skip, gain }) => TrackFacts { track, channels, pre_skip, gain, beside },
        None => {
            let channels = match &opus.settings {
                Settings::Audio(audio) => audio.channels.clamp(1, 2) as u8,
                _ => 1,
            };
            let pre_skip = OpusTicks::from_ns(hidden.codec_delay_ns);
            TrackFacts { track, channels, pre_skip, gain: OutputGain::default(), beside }
        }
    })
}

fn describe<'a>(tracks: impl Iterator<Item = (&'a Track, &'a Hidden)>) -> String {
    let name = |(track, hidden): (&Track, &Hidden)| {
        let encoded = if hidden.encoded { " with ContentEncodings" } else { "" };
        format!("{}{encoded}", track.codec_id)
    };
    let names: Vec<String> = tracks.map(name).collect();
    if names.is_empty() { "no tracks".to_owned() } else { names.join(", ") }
}

/// What the gate lets through: a rebuilt TrackEntry for each track, and what the crate does not report of it.
#[derive(Debug, Default)]
struct Gated {
    entries: Vec<Vec<u8>>,
    hidden: Vec<Hidden>,
}

#[derive(Debug, Default)]
struct Hidden {
    codec_delay_ns: u64,
    encoded: bool,
}

fn gate(content: &[u8]) -> Result<Gated, SkipReason> {
    let mut gated = Gated::default();
    for child in ebml::children(content) {
        let (child_id, entry) = child.map_err(bad)?;
        if child_id != id::TRACK_ENTRY {
            continue;
        }
        if gated.entries.len() == limits::TRACKS {
            return Err(bad(id::TRACK_ENTRY));
        }
        let (entry, hidden) = gate_entry(entry)?;
        gated.entries.push(entry);
        gated.hidden.push(hidden);
    }
    Ok(gated)
}

fn gate_entry(content: &[u8]) -> Result<(Vec<u8>, Hidden), SkipReason> {
    let (mut kept, mut hidden) = (Vec::new(), Hidden::default());
    for child in ebml::children(content) {
        let (child_id, value) = child.map_err(bad)?;
        match child_id {
            id::TRACK_NUMBER | id::TRACK_UID | id::TRACK_TYPE => kept.push(gate_uint(child_id, value)?),
            id::CODEC_ID if value.len() <= 64 && value.is_ascii() => {
                kept.push(write::element(child_id, ebml::string(value)))
            }
            id::CODEC_ID => return Err(bad(child_id)),
            id::CODEC_PRIVATE => kept.push(write::element(child_id, value)),
            id::AUDIO => kept.push(write::master(child_id, &gate_audio(value)?)),
            id::CODEC_DELAY => hidden.codec_delay_ns = ebml::uint(value).ok_or(bad(child_id))?,
            id::CONTENT_ENCODINGS => hidden.encoded = true,
            _ => {}
        }
    }
    Ok((write::master(id::TRACK_ENTRY, &kept), hidden))
}

fn gate_audio(content: &[u8]) -> Result<Vec<Vec<u8>>, SkipReason> {
    let mut kept = Vec::new();
    for child in ebml::children(content) {
        let (child_id, value) = child.map_err(bad)?;
        match child_id {
            id::CHANNELS | id::BIT_DEPTH => kept.push(gate_uint(child_id, value)?),
            id::SAMPLING_FREQUENCY if matches!(value.len(), 4 | 8) => {
                kept.push(write::element(child_id, value))
            }
            _ => {}
        }
    }
    Ok(kept)
}

fn gate_uint(element: u32, value: &[u8]) -> Result<Vec<u8>, SkipReason> {
    ebml::uint(value).map(|number| write::uint(element, number)).ok_or(bad(element))
}

fn bad(id: u32) -> SkipReason {
    SkipReason::BadElement { id }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPUS_HEAD: &[u8] = b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00";

    fn entry(number: u64, kind: u64, codec: &str, more: &[Vec<u8>]) -> Vec<u8> {
        let mut children = vec![
            write::uint(id::TRACK_NUMBER, number),
            write::uint(id::TRACK_TYPE, kind),
            write::element(id::CODEC_ID, codec.as_bytes()),
        ];
        children.extend_from_slice(more);
        write::master(id::TRACK_ENTRY, &children)
    }

    #[test]
    fn pre_skip_comes_from_opus_head_and_is_not_counted_twice() {
        let delay = write::uint(id::CODEC_DELAY, 6_500_000);
        let head = write::element(id::CODEC_PRIVATE, OPUS_HEAD);
        let both = read(&entry(2, 2, "A_OPUS", &[head, delay.clone()])).unwrap();
        assert_eq!((both.track.number, both.channels, both.pre_skip), (2, 2, OpusTicks(312)));
        let audio = write::master(id::AUDIO, &[write::uint(id::CHANNELS, 2)]);
        let delay_only = read(&entry(2, 2, "A_OPUS", &[delay, audio])).unwrap();
        assert_eq!((delay_only.channels, delay_only.pre_skip), (2, OpusTicks(312)));
    }

    #[test]
    fn the_opus_track_is_found_beside_others() {
        let tracks =
            [entry(1, 1, "V_VP9", &[]), entry(7, 2, "A_OPUS", &[]), entry(8, 2, "A_OPUS", &[])].concat();
        let found = read(&tracks).unwrap();
        assert_eq!(found.track, OpusTrack { number: 7, others: vec![1, 8] });
        assert_eq!(found.beside, ["V_VP9", "A_OPUS"]);
    }

    #[test]
    fn a_codec_id_padded_with_zeros_is_the_same() {
        let padded = [entry(1, 1, "V_VP9\0\0", &[]), entry(7, 2, "A_OPUS\0", &[])].concat();
        let found = read(&padded).unwrap();
        assert_eq!((found.track.number, found.beside), (7, vec!["V_VP9".to_owned()]));
        let other = read(&entry(1, 2, "A_VORBIS\0", &[])).unwrap_err().to_string();
        assert!(other.contains("A_VORBIS;"), "{other:?}");
    }

    #[test]
    fn a_recording_without_opus_is_refused_by_its_codec() {
        let refusal = |tracks: &[u8]| read(tracks).unwrap_err().to_string();
        assert!(refusal(&entry(1, 2, "A_VORBIS", &[])).contains("A_VORBIS"));
        let encrypted = entry(1, 2, "A_OPUS", &[write::element(id::CONTENT_ENCODINGS, &[])]);
        assert!(refusal(&encrypted).contains("A_OPUS with ContentEncodings"));
        assert!(refusal(&[]).contains("no tracks"));
    }

    #[test]
    fn sizes_that_make_the_crate_abort_do_not_reach_it() {
        let claims_petabytes = [0xae, 0x01, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x63];
        assert_eq!(read(&claims_petabytes), Err(bad(id::TRACK_ENTRY)));
        let inner =
            write::element(id::TRACK_ENTRY, &[0x63, 0xa2, 0x01, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(read(&inner), Err(bad(id::CODEC_PRIVATE)));
        let long_uint = write::master(id::TRACK_ENTRY, &[write::element(id::TRACK_NUMBER, &[1; 9])]);
        assert_eq!(read(&long_uint), Err(bad(id::TRACK_NUMBER)));
    }
}
