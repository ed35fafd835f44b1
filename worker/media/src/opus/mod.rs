//! Opus: how long a packet is, and packets to 16 kHz mono PCM.
//!
//! A decoder's output depends on the packets before, and no binding can store a decoder's state; so another process
//! takes a stream up with a fresh [`Decoder`] and the last [`PRE_ROLL`] of packets, decoded and thrown away.

mod decoder;
mod packet;

pub use decoder::{DecodeError, Decoder, MAX_CONCEALED};
pub use packet::{MAX_PACKET, MAX_PACKET_BYTES, PacketError, packet_samples};

use crate::time::Samples;

/// How much audio before a batch its packets must cover for a fresh decoder to go on as if it had never stopped:
/// sample for sample with CELT streams (the browsers' default), within the bounds of `docs/pre-roll.md` with SILK
/// and hybrid ones.
pub const PRE_ROLL: Samples = Samples::from_ms(900);
