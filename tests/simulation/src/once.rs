//! A fragment that is stored twice because it was persisted later than promised: once for a reader, and reported.

use std::collections::BTreeMap;

use writer::event::Event;

use crate::invariants::Violation;
use crate::model::stream::Fragment;
use crate::run::Outcome;

/// Leaves each fragment once, as a reader does: the same producer time and chunk range are one, and of two the larger. Returns how many
/// it leaves out, of all sessions.
pub fn leave_once(outcome: &mut Outcome) -> usize {
    outcome.world.streams.by_session.values_mut().map(|stream| once(&mut stream.fragments)).sum()
}

fn once(stored: &mut Vec<Fragment>) -> usize {
    let before = stored.len();
    let bytes = |f: &Fragment| f.media.blocks.iter().map(|(_, pcm)| pcm.len()).sum::<usize>();
    let mut once: BTreeMap<_, Fragment> = BTreeMap::new();
    for fragment in stored.drain(..) {
        let tag = |name: &str| fragment.media.tags.get(name).cloned();
        let identity = (fragment.at, tag("numbering"), tag("chunkFirst"), tag("chunkLast"));
        match once.get(&identity) {
            Some(known) if bytes(known) >= bytes(&fragment) => {}
            _ => _ = once.insert(identity, fragment),
        }
    }
    stored.extend(once.into_values());
    stored.sort_by_key(|fragment| fragment.number);
    before - stored.len()
}

/// How often the writer has reported a fragment that is stored twice.
pub fn reported(outcome: &Outcome) -> usize {
    outcome.world.events.iter().filter(|(_, event)| matches!(event, Event::FragmentTwice { .. })).count()
}

/// [`leave_once`]; breaks promise 1 where a copy was not reported.
pub fn read_once(outcome: &mut Outcome) -> Option<Violation> {
    let (reported, copies) = (reported(outcome), leave_once(outcome));
    let what = format!("{copies} fragments are stored twice, and {reported} are reported");
    (reported != copies).then_some(Violation { promise: 1, what })
}
