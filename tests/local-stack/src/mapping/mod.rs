//! The SQS FIFO event source mapping: polls the queue, invokes the function, deletes what succeeded.
//!
//! The rules are Lambda's (AWS Lambda developer guide, "Using Lambda with Amazon SQS" and "Handling errors for an SQS event source"):
//! at most 10 records a batch and no batching window; a batch may mix message groups; within a group the queue keeps the order; up to N
//! batches at once; with ReportBatchItemFailures the poller deletes the records that the function did not report and leaves the
//! visibility of all others alone. [`settle`] is the rule for the answer, [`event`] the shape of the request, [`poller`] the loop.

pub mod disturb;
pub mod event;
mod poller;
pub mod settle;
mod stats;

pub use disturb::{Disturbance, Duplicate};
pub use poller::{Mapping, MappingConfig};
pub use stats::{GroupStats, MappingStats};
