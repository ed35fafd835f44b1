//! What comes behind a fragment that has ended already, such as the tags after a Cluster of known size.

use crate::rules::fragment::Behind;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keeps it until the fragment is stored.
#[derive(Debug, Default)]
pub(super) struct Late(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Behind>,
    stored: bool,
}

impl Late {
    /// Keeps it; gives it back if the fragment is stored already.
    pub(super) fn add(&self, behind: Behind) -> Option<Behind> {
        let mut state = self.lock();
        if state.stored {
            return Some(behind);
        }
        state.waiting.push(behind);
        None
    }

    /// Takes what has come so far.
    pub(super) fn take(&self) -> Vec<Behind> {
        std::mem::take(&mut self.lock().waiting)
    }

    /// The fragment is being stored, if nothing has come meanwhile.
    pub(super) fn end(&self) -> bool {
        let mut state = self.lock();
        state.stored = state.waiting.is_empty();
        state.stored
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
