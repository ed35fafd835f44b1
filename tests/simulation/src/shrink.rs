//! Makes a failing case smaller for as long as it fails alike.

use crate::case::Case;
use crate::invariants::Violation;
use crate::speech::session::{Passage, Take};

/// Runs at most.
const MOST_RUNS: usize = 2_000;
/// A chunk that is less late shows no pause.
const PASSING_MS: u64 = 400;

/// The smallest case found that still has a violation of this [`Violation::kind`].
pub fn shrink(case: &Case, violation: &Violation) -> Case {
    let kind = violation.kind();
    let mut best = case.clone();
    let mut runs = 0;
    loop {
        let smaller = smaller(&best).into_iter().find(|candidate| {
            runs += 1;
            runs <= MOST_RUNS && candidate.judge().iter().any(|found| found.kind() == kind)
        });
        match smaller {
            Some(smaller) => best = smaller,
            None => return best,
        }
    }
}

/// Cases with one thing less, the greatest things first.
fn smaller(case: &Case) -> Vec<Case> {
    let mut all = Vec::new();
    for n in 0..case.sessions.len() {
        if case.sessions.len() > 1 {
            all.push(with(case, |c| _ = c.sessions.remove(n)));
        }
        all.extend(smaller_session(case, n));
    }
    all.extend((0..case.faults.len()).map(|n| with(case, |c| _ = c.faults.remove(n))));
    all.extend((0..case.doubles.len()).map(|n| with(case, |c| _ = c.doubles.remove(n))));
    if case.processes > 1 {
        all.push(with(case, |c| c.processes = 1));
    }
    all.retain(|candidate| candidate != case && is_told(candidate));
    all
}

/// Whether what a stalled page kept back is followed by a chunk that is on time: without one it looks like a pause to everybody.
fn is_told(case: &Case) -> bool {
    let last = |take: &Take| take.chunks.last().is_none_or(|chunk| chunk.late_ms < PASSING_MS);
    case.sessions.iter().flat_map(|session| &session.takes).all(last)
}

fn smaller_session(case: &Case, n: usize) -> Vec<Case> {
    let mut all = Vec::new();
    let session = &case.sessions[n];
    for t in 0..session.takes.len() {
        if session.takes.len() > 1 {
            all.push(with(case, |c| _ = c.sessions[n].takes.remove(t)));
        }
        let chunks = session.takes[t].chunks.len();
        for keep in [chunks / 2, chunks.saturating_sub(1)] {
            if keep > 0 {
                all.push(with(case, |c| c.sessions[n].takes[t].chunks.truncate(keep)));
            }
        }
        for k in 0..chunks {
            let chunk = session.takes[t].chunks[k];
            if !matches!(chunk.passage, Passage::Sent(..100)) {
                all.push(with(case, |c| c.sessions[n].takes[t].chunks[k].passage = Passage::Sent(40)));
            }
            if chunk.resent_after_ms.or(chunk.restamped_after_ms).is_some() {
                all.push(with(case, |c| {
                    let chunk = &mut c.sessions[n].takes[t].chunks[k];
                    (chunk.resent_after_ms, chunk.restamped_after_ms) = (None, None);
                }));
            }
            if chunk.misstamped_ms != 0 {
                all.push(with(case, |c| c.sessions[n].takes[t].chunks[k].misstamped_ms = 0));
            }
        }
    }
    for set in 0..session.clock_set.len() {
        all.push(with(case, |c| _ = c.sessions[n].clock_set.remove(set)));
    }
    all.push(with(case, |c| c.sessions[n].ended = None));
    all.push(with(case, |c| c.sessions[n].skew_ms = 0));
    all.push(with(case, |c| c.sessions[n].end_after_ms = None));
    all
}

fn with(case: &Case, change: impl FnOnce(&mut Case)) -> Case {
    let mut changed = case.clone();
    change(&mut changed);
    changed
}
