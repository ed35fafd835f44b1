//! What the mapping has done so far.

use std::collections::BTreeMap;

/// Counts of one message group, which is one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupStats {
    /// Invocations that had at least one record of the group.
    pub invocations: u64,
    /// Records handed to the function, repeated deliveries included.
    pub records: u64,
    /// Records that stayed in the queue because they were reported as failed or the whole batch failed.
    pub failed: u64,
    /// Records deleted.
    pub deleted: u64,
}

/// Counts of the mapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MappingStats {
    /// Batches received.
    pub batches: u64,
    /// Invocations, those of duplicated deliveries included.
    pub invocations: u64,
    /// Invocations without a usable answer: an error, a timeout, a crash, or a broken partial batch response.
    pub whole_batch_failures: u64,
    /// Deletes that SQS refused; those messages will come again.
    pub delete_failures: u64,
    /// Receives that SQS refused or that got no answer.
    pub receive_failures: u64,
    /// Deliveries that were disturbed on purpose.
    pub disturbed: u64,
    /// Counts per message group.
    pub groups: BTreeMap<String, GroupStats>,
}
