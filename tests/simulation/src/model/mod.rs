//! Reference models: plain state machines that take the time as an argument.

pub mod queue;
pub mod store;
pub mod stream;
