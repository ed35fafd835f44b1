//! What is told while a replay or a chaos run goes on.

/// Hears of it.
pub trait Progress: Sync {
    /// Another part of the run begins.
    fn phase(&self, _name: &str) {}
    /// Another message went out.
    fn sent(&self) {}
    /// So many chunks of so many are accounted for by now.
    fn accounted(&self, _chunks: usize, _of: usize) {}
    /// So many messages are still in the queue.
    fn left(&self, _messages: u64) {}
}

/// Tells nobody.
impl Progress for () {}
