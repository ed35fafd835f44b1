//! What Kinesis Video accepts and how it answers, as plain values: no sockets, no clock, no async.
//! Time comes in as an argument, in milliseconds since 1970.

pub mod ack;
pub mod document;
pub mod ebml;
pub mod fragment;
pub mod quota;
pub mod schema;
pub mod stream;
pub mod tracks;
