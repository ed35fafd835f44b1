//! Scenarios as files: JSON lines in, JSON lines out. README.md beside this crate describes both.

mod file;
mod report;

pub use file::{WrongLine, parse};
pub use report::{Fragment, Line, Logged, Parked, Summary, report};
