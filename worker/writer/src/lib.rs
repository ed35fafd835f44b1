//! The story of a batch, generic over its [`ports`]: group, decide, plan, lease, put, commit, answer.

pub mod event;
pub mod ports;
