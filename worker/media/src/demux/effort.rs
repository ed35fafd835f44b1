//! How much work bytes may cause that give nothing.

use super::limits;

/// What is left of one push's [`limits::IN_VAIN`]: it keeps the cost of a push linear in its bytes, whatever they are.
#[derive(Debug)]
pub(super) struct Effort(usize);

impl Effort {
    pub(super) const fn new() -> Self {
        Self(limits::IN_VAIN)
    }

    /// Counts bytes that were looked at; the least look costs as much as 16.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.0 = self.0.saturating_sub(bytes.max(16));
    }

    pub(super) fn is_spent(&self) -> bool {
        self.0 == 0
    }
}
