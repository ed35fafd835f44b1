//! The writer on models of queue, mapping, store and stream, on one thread and in virtual time: a seed determines a
//! run to the last millisecond. Workers die at any call, calls fail before or after their effect, deliveries
//! double; [`invariants`] then holds what is left against the six promises.

pub mod case;
mod clock;
pub mod evidence;
pub mod faults;
pub mod flow;
pub mod hostile;
pub mod invariants;
pub mod many;
pub mod model;
pub mod once;
mod ports;
pub mod real;
pub mod run;
pub mod scenario;
pub mod shrink;
pub mod speech;
pub mod world;
