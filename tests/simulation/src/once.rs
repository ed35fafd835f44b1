//! A fragment that is stored twice because it was persisted later than promised: once for a reader, and reported.

use std::collections::BTreeMap;

use writer::event::Event;

use crate::invariants::Violation;
use crate::model::stream::Fragment;
use crate::run::Outcome;

/// Leaves each fragment once, as a reader does: the same producer time and chunk range are one, and of two the larger. Returns how many
/// it leaves out, of all sessions.
pub fn leave_once(outcome: &mut Outcome) -> usize {
    outcome.world.streams.by_session.values_mut().map(|stream| once(&mut stream.fragments).len()).sum()
}

/// Returns when each second copy was stored.
fn once(stored: &mut Vec<Fragment>) -> Vec<u64> {
    let bytes = |f: &Fragment| f.media.blocks.iter().map(|(_, pcm)| pcm.len()).sum::<usize>();
    let mut once: BTreeMap<_, Fragment> = BTreeMap::new();
    let mut copies = Vec::new();
    for fragment in stored.drain(..) {
        let tag = |name: &str| fragment.media.tags.get(name).cloned();
        let identity = (fragment.at, tag("numbering"), tag("chunkFirst"), tag("chunkLast"));
        let Some(known) = once.get(&identity) else {
            once.insert(identity, fragment);
            continue;
        };
        copies.push(known.stored_ms.max(fragment.stored_ms));
        if bytes(known) < bytes(&fragment) {
            once.insert(identity, fragment);
        }
    }
    stored.extend(once.into_values());
    stored.sort_by_key(|fragment| fragment.number);
    copies
}

/// How often the writer has reported a fragment that is stored twice.
pub fn reported(outcome: &Outcome) -> usize {
    outcome.world.events.iter().filter(|(_, event)| matches!(event, Event::FragmentTwice { .. })).count()
}

/// A copy is listed so soon after it is stored.
const LISTED_MS: u64 = 2_000;

/// [`leave_once`]; breaks promise 1 where a copy was not reported, although the session was still looked at when it was listed.
pub fn read_once(outcome: &mut Outcome) -> Option<Violation> {
    let reported = reported(outcome);
    let (mut copies, mut due) = (0, 0);
    let world = &mut outcome.world;
    for (session, stream) in &mut world.streams.by_session {
        let of_session = world.events.iter().filter(|(_, event)| session_of(event).as_ref() == Some(session));
        let looked_ms = of_session.map(|(at_ms, _)| *at_ms).max().unwrap_or_default();
        let stored = once(&mut stream.fragments);
        copies += stored.len();
        due += stored.iter().filter(|stored_ms| *stored_ms + LISTED_MS < looked_ms).count();
    }
    let what = format!("{copies} fragments are stored twice, and {reported} are reported");
    (!(due..=copies).contains(&reported)).then_some(Violation { promise: 1, what })
}

fn session_of(event: &Event) -> Option<String> {
    serde_json::to_value(event).ok()?.get("sessionId")?.as_str().map(str::to_owned)
}
