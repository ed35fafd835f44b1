//! How often this process has looked at the end of what a session has in the queue.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use ingest::message::SessionId;

/// Sessions remembered.
const MAX_SESSIONS: usize = 64;

/// Counts deliveries behind whose newest chunk nothing came. The queue's own count of a message's deliveries tells less: when one
/// failed, or its worker died, nobody looked.
#[derive(Default)]
pub(crate) struct Looks(Mutex<VecDeque<Look>>);

struct Look {
    session: SessionId,
    /// Sequence number of the newest chunk at hand.
    newest: u128,
    /// The last delivery that had it.
    delivery: u64,
    times: u32,
}

impl Looks {
    /// Notes a delivery; returns how many had the same newest chunk, and room for more. `full`: it had none.
    pub(crate) fn note(&self, session: &SessionId, newest: u128, delivery: u64, full: bool) -> u32 {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = looks.iter().position(|look| look.session == *session).and_then(|at| looks.remove(at));
        let times = match known.filter(|look| look.newest == newest) {
            None => u32::from(!full),
            Some(look) => look.times + u32::from(!full && look.delivery != delivery),
        };
        looks.push_back(Look { session: session.clone(), newest, delivery, times });
        if looks.len() > MAX_SESSIONS {
            looks.pop_front();
        }
        times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_a_delivery_with_room_behind_the_same_newest_chunk() {
        let looks = Looks::default();
        let [a, b] = ["a", "b"].map(|id| SessionId::parse(id).unwrap());
        assert_eq!(looks.note(&a, 7, 1, true), 0, "more may lie behind a full delivery");
        assert_eq!(looks.note(&a, 7, 2, false), 1);
        assert_eq!(looks.note(&a, 7, 2, false), 1, "the same delivery, seen twice");
        assert_eq!(looks.note(&b, 7, 2, false), 1, "another session's");
        assert_eq!(looks.note(&a, 7, 3, false), 2);
        assert_eq!(looks.note(&a, 8, 4, false), 1, "something came behind it");
    }

    #[test]
    fn only_so_many_sessions_are_remembered() {
        let looks = Looks::default();
        for n in 0..=MAX_SESSIONS as u64 {
            looks.note(&SessionId::parse(&format!("s{n}")).unwrap(), 1, n, false);
        }
        assert_eq!(looks.0.lock().unwrap().len(), MAX_SESSIONS);
    }
}
