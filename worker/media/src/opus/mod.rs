//! Opus: how long a packet is, and packets to 16 kHz mono PCM.
//!
//! A decoder's output depends on the packets before, and no binding can store a decoder's state; so another process
//! takes a stream up with a fresh [`Decoder`] and a [pre-roll](PRE_ROLL): the last packets, decoded and thrown away.

mod decoder;
mod packet;
mod pre_roll;

pub use decoder::{DecodeError, Decoder, MAX_CONCEALED, OutputGain};
pub use packet::{MAX_PACKET, MAX_PACKET_BYTES, PacketError, packet_samples};
pub use pre_roll::{PRE_ROLL, PRE_ROLL_SILK, pre_roll_with};
