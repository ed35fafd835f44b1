//! What Kinesis Video accepts and how it answers, as plain values: no sockets, no clock, no async.
//! Time comes in as an argument, in milliseconds since 1970.

pub mod ack;
pub mod blocks;
pub mod document;
pub mod ebml;
pub mod fragment;
mod open;
pub mod opening;
pub mod put_call;
pub mod quota;
pub mod schema;
pub mod stream;
pub mod tags;
pub mod tracks;
