//! The Lambda binaries: wiring only. What each event means is in here; what is done about it is in `writer`, and
//! how a service is called in `aws`.

pub mod authorizer;
pub mod connection;
pub mod logs;
pub mod sqs_event;
pub mod trace;
