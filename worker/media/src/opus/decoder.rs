//! libopus through `audiopus`, straight to 16 kHz mono.

use audiopus::coder::Decoder as Libopus;
use audiopus::packet::Packet;
use audiopus::{Channels, MutSignals, SampleRate};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{MAX_PACKET, PacketError, packet_samples};
use crate::time::Samples;

/// The most audio that [`Decoder::conceal`] makes up in one call.
pub const MAX_CONCEALED: Samples = Samples::from_ms(20_000);

/// libopus's concealment has faded to near silence by then; the rest of a loss is written as silence.
const EXTRAPOLATED: Samples = Samples::from_ms(200);
/// libopus conceals in multiples of 2.5 ms, and at most 20 ms sound natural in one step.
const CONCEAL_STEP: Samples = Samples(320);
const CONCEAL_UNIT: u64 = 40;

/// Why a packet could not be decoded.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// The packet's form is wrong; libopus was not asked.
    #[error(transparent)]
    Malformed(#[from] PacketError),
    /// libopus refused: memory is short, or it takes a packet for corrupt that is well-formed.
    #[error("libopus: {0}")]
    Libopus(#[from] audiopus::Error),
}

/// OpusHead's output gain, in 1/256 dB (RFC 7845 section 5.1). It belongs to the stream: players apply it, and hardly a recorder
/// sets one.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OutputGain(pub i16);

impl OutputGain {
    /// Whether the sound stays as it is.
    pub const fn is_none(&self) -> bool {
        self.0 == 0
    }
}

/// A stateful Opus decoder: packets of one recording in, in order; 16 kHz mono out. Stereo is mixed down by libopus.
#[derive(Debug)]
pub struct Decoder {
    libopus: Libopus,
}

impl Decoder {
    /// A decoder that has heard nothing yet.
    ///
    /// # Errors
    /// [`DecodeError::Libopus`] when memory is short.
    pub fn new() -> Result<Self, DecodeError> {
        Ok(Self { libopus: Libopus::new(SampleRate::Hz16000, Channels::Mono)? })
    }

    /// Plays what follows louder or softer.
    pub fn set_gain(&mut self, gain: OutputGain) {
        // libopus takes every value that the type has, and refuses no other call of this kind.
        let _ = self.libopus.set_gain(gain.0.into());
    }

    /// Decodes one packet and appends its samples to `pcm`; returns how many.
    ///
    /// # Errors
    /// [`DecodeError`] if the packet is malformed or libopus refuses it. `pcm` is then as it was, and the decoder
    /// can go on with a later packet; [`Decoder::conceal`] fills the hole.
    pub fn decode(&mut self, packet: &[u8], pcm: &mut Vec<i16>) -> Result<Samples, DecodeError> {
        let expected = packet_samples(packet)?;
        self.append(Some(packet), expected, pcm)
    }

    /// Appends `lost` samples (at most [`MAX_CONCEALED`]) in place of packets that are missing: what libopus
    /// extrapolates from the sound before, then silence.
    pub fn conceal(&mut self, lost: Samples, pcm: &mut Vec<i16>) {
        let wanted = pcm.len() + lost.min(MAX_CONCEALED).as_usize();
        let mut left = lost.min(EXTRAPOLATED);
        while !left.is_zero() {
            let step = Samples(left.min(CONCEAL_STEP).0.next_multiple_of(CONCEAL_UNIT));
            if self.append(None, step, pcm).is_err() {
                break;
            }
            left -= step;
        }
        pcm.resize(wanted, 0); // cuts what the last 2.5 ms has too much, or adds the silence
    }

    /// Decodes a pre-roll and throws the sound away. A packet that cannot be decoded is passed over.
    pub fn prime<'a>(&mut self, packets: impl Iterator<Item = &'a [u8]>) {
        let mut unheard = Vec::with_capacity(MAX_PACKET.as_usize());
        for packet in packets {
            unheard.clear();
            let _ = self.decode(packet, &mut unheard);
        }
    }

    fn append(
        &mut self,
        packet: Option<&[u8]>,
        room: Samples,
        pcm: &mut Vec<i16>,
    ) -> Result<Samples, DecodeError> {
        let before = pcm.len();
        pcm.resize(before + room.as_usize(), 0);
        let decoded = self.run(packet, &mut pcm[before..]);
        pcm.truncate(before + decoded.as_ref().copied().unwrap_or(0));
        Ok(Samples::from(decoded?))
    }

    fn run(&mut self, packet: Option<&[u8]>, output: &mut [i16]) -> Result<usize, audiopus::Error> {
        let packet = packet.map(Packet::try_from).transpose()?;
        self.libopus.decode(packet, MutSignals::try_from(output)?, false)
    }
}
