//! From a plan to a fragment's bytes: decode, and pack with tags.

use media::fragment::{self, Block, FragmentError};
use media::opus::{DecodeError, Decoder, packet_samples};

use crate::checkpoint::Line;
use crate::fold::{Run, Step};
use crate::message::SessionId;
use crate::plan::Plan;
use crate::snapshot::Heard;

impl Plan {
    /// The fragment's bytes. `decoder` must have heard everything up to the batch; [`prime`] makes such a one.
    ///
    /// # Errors
    /// [`FragmentError`]: what the service or the format would refuse.
    pub fn render(&self, session: &SessionId, decoder: &mut Decoder) -> Result<Vec<u8>, FragmentError> {
        let block = |run: &Run, pcm| Block { at: run.at, pcm, time: run.time };
        let blocks: Vec<Block> = self.runs.iter().map(|run| block(run, decode(run, decoder))).collect();
        let chunks = self.advance.chunks;
        let line = if self.advance.line == Line::Live { "live" } else { "backfill" };
        let recording = self.advance.to.recording.clone();
        let mut tags = vec![
            ("sessionId", session.to_string()),
            ("line", line.to_owned()),
            ("recordingId", recording.unwrap_or_else(|| "unknown".into())),
            ("numbering", chunks.numbering.to_string()),
            ("chunkFirst", chunks.from.to_string()),
            ("chunkLast", chunks.last().to_string()),
            ("samples", self.advance.samples.0.to_string()),
            ("sampleRate", "16000".to_string()),
        ];
        // A chunk that is too long for one fragment is in several: these bytes of it.
        let until = self.advance.to.amid.map(|head| head.until);
        let bytes = [("chunkFirstFrom", self.advance.within), ("chunkLastTo", until)];
        tags.extend(bytes.into_iter().filter_map(|(name, at)| Some((name, at?.to_string()))));
        // The service takes ten tags. The trace context stands where its chunk begins.
        let begins = |_: &String| self.advance.within.is_none();
        tags.extend(self.advance.traceparent.clone().filter(begins).map(|context| ("traceparent", context)));
        fragment::write(&blocks, &tags)
    }
}

/// A decoder that has heard the pre-roll.
///
/// # Errors
/// [`DecodeError`] where libopus gives no decoder.
pub fn prime(pre_roll: &[Heard]) -> Result<Decoder, DecodeError> {
    let mut decoder = Decoder::new()?;
    let mut unheard = Vec::new();
    for heard in pre_roll {
        unheard.clear();
        match heard {
            Heard::Packet(packet) => _ = decoder.decode(packet, &mut unheard),
            Heard::Lost(samples) => decoder.conceal(*samples, &mut unheard),
        }
    }
    Ok(decoder)
}

/// Decodes a run. Its length is what the plan says, whatever libopus makes of a packet.
fn decode(run: &Run, decoder: &mut Decoder) -> Vec<i16> {
    let mut pcm = Vec::with_capacity(run.samples.0 as usize + 2_880);
    let mut packet_pcm = Vec::with_capacity(2_880);
    for step in &run.steps {
        match step {
            Step::Reset => {
                if let Ok(fresh) = Decoder::new() {
                    *decoder = fresh;
                }
            }
            Step::Gain(gain) => decoder.set_gain(*gain),
            Step::Conceal(lost) => decoder.conceal(*lost, &mut pcm),
            Step::Pcm(samples) => pcm.extend_from_slice(samples),
            Step::Decode { packet, skip, keep } => {
                packet_pcm.clear();
                if decoder.decode(packet, &mut packet_pcm).is_err() {
                    packet_pcm.clear();
                    decoder.conceal(packet_samples(packet).unwrap_or_default(), &mut packet_pcm);
                }
                packet_pcm.resize((skip.0 + keep.0) as usize, 0);
                pcm.extend_from_slice(&packet_pcm[skip.0 as usize..]);
            }
        }
    }
    pcm
}
