//! The six promises of SPECIFICATION.md as functions of the [`Evidence`]: each returns what breaks it.

use std::collections::BTreeMap;
use std::fmt;

use crate::case::kinds::Kind;
use crate::evidence::{Evidence, Heard, SessionEvidence};
use crate::flow;
use crate::model::queue::Dead;
use crate::model::store::MAX_ITEM_BYTES;
use crate::speech::session::{Bad, Passage};

/// Samples of a millisecond.
const PER_MS: u64 = 16;
/// How far a frame's time may be from the speaker's clock: a lag that joins the audio, and the jitter of its events.
const CLOCK_TOLERANCE_MS: u64 = 1_000;
/// How far a recording may lag behind the speaker's clock before that counts as a pause.
const LAG_MS: u64 = 600;
/// What the events of a recorder jitter by.
const JITTER_MS: u64 = 300;
/// A pause is longer than this.
const PAUSE_JITTER_MS: u64 = 200;

/// The promises of [`flow::live`]; SPECIFICATION.md gives this number to another one.
const LIVE: u8 = 7;

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which of SPECIFICATION.md's first six; 7 for [`flow::live`].
    pub promise: u8,
    /// What is wrong, for a person.
    pub what: String,
}

impl Violation {
    /// The violation without its numbers: two that look alike have one cause.
    pub fn kind(&self) -> (u8, String) {
        (self.promise, self.what.chars().filter(|c| !c.is_ascii_digit()).collect())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "promise {}: {}", self.promise, self.what)
    }
}

/// Holds the evidence against all promises.
pub fn check(evidence: &Evidence<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for session in &evidence.sessions {
        let mut hold = |promise: u8, results: Vec<String>| {
            let name = &session.session.name;
            found.extend(
                results.into_iter().map(|what| Violation { promise, what: format!("{name}: {what}") }),
            );
        };
        hold(1, nothing_lost_nothing_twice(session));
        hold(2, batching_does_not_change_the_sound(session));
        hold(3, time_is_true(session));
        if evidence.redriven {
            hold(6, redrive_restores(session));
        }
        if !session.session.kinds.is_empty() && evidence.undisturbed {
            hold(LIVE, flow::live(evidence, session));
        }
    }
    found.extend(bounded(evidence).into_iter().map(|what| Violation { promise: 5, what }));
    found
}

/// 1. Every chunk that entered the queue is in exactly one persisted fragment, or in the DLQ with a reason.
pub fn nothing_lost_nothing_twice(session: &SessionEvidence<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    let mut times: BTreeMap<(usize, usize), u32> = BTreeMap::new();
    for heard in &session.heard {
        if let Some((take, frame)) = place(session, heard) {
            *times.entry((take, frame)).or_default() += 1;
        }
    }
    let mut lost = Vec::new();
    for spoken in &session.spoken {
        let name = &session.facts[spoken.chunk].name;
        match times.get(&(spoken.take, spoken.frame)).copied().unwrap_or_default() {
            0 if session.is_due(spoken) && !is_noisy(session, spoken.take) => {
                lost.push(format!("frame {} of chunk {name} is lost", spoken.frame));
            }
            0 | 1 => {}
            n => broken.push(format!("frame {} of chunk {name} is there {n} times", spoken.frame)),
        }
    }
    if lost.len() > unrecognisable(session) {
        broken.append(&mut lost);
    }
    for (i, fact) in session.facts.iter().enumerate() {
        if matches!(fact.passage, Passage::Bad(bad) if bad != Bad::Noise) && !session.dead.contains_key(&i) {
            broken.push(format!("the bad message of chunk {} is not in the DLQ", fact.name));
        }
    }
    for (i, dead) in &session.dead {
        if dead.attributes.get("reason").is_none_or(String::is_empty) {
            broken.push(format!("chunk {} is in the DLQ without a reason", session.facts[*i].name));
        }
    }
    broken
}

/// Frames that are there but were decoded behind another page's audio, where it is unknown whose chunk it was: no tape has
/// that sound.
fn unrecognisable(session: &SessionEvidence<'_>) -> usize {
    match session.pages_mix() {
        true => session.heard.iter().filter(|heard| heard.id.is_none()).count(),
        false => 0,
    }
}

/// 2. However the chunks fall into batches, the PCM equals one pass; after a loss, a decoder's cold start.
pub fn batching_does_not_change_the_sound(session: &SessionEvidence<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    for heard in &session.heard {
        let at_ms = heard.at / PER_MS;
        let Some(id) = heard.id else {
            let noisy =
                session.facts.iter().any(|f| matches!(f.passage, Passage::Bad(Bad::Noise | Bad::Stub)));
            if !noisy && !session.pages_mix() {
                broken.push(format!("20 ms at {at_ms} in fragment {} are in no recording", heard.number));
            }
            continue;
        };
        let Some(take) = session.take_of(id.tape) else {
            broken.push(format!("20 ms at {at_ms} are of another session"));
            continue;
        };
        let Some(since) = id.cold_since else { continue };
        let start = session.spoken_at((take, since));
        let after = |chunk: &usize| {
            let fact = &session.facts[*chunk];
            fact.take == take && start.is_some_and(|start| fact.bytes.start <= start.needs.end)
        };
        if !session.disturbed.iter().chain(&session.left_parked).any(after) {
            let frame = id.frame;
            broken.push(format!("frame {frame} of take {take} is decoded cold since {since}, after no loss"));
        }
    }
    broken
}

/// A block of 100 ms is stamped up to 1.5 ms closer where the sample clock drifts; times are whole ms.
const SCALED: u64 = 3 * PER_MS;

/// 3. Producer timestamps increase, never overlap, never lie in the future, and follow the speaker's clock.
pub fn time_is_true(session: &SessionEvidence<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    for fragment in session.fragments {
        if fragment.at.0 > fragment.stored_ms {
            broken.push(format!("fragment {} lies in the future: {}", fragment.number, fragment.at));
        }
    }
    let mut before: Option<&Heard> = None;
    for heard in &session.heard {
        if let Some(before) = before {
            if heard.at + SCALED < before.at + before.samples {
                let (a, b) = (before.at / PER_MS, heard.at / PER_MS);
                broken.push(format!(
                    "fragments {} and {} overlap: {a} and {b} ms",
                    before.number, heard.number
                ));
            }
            if let (Some(a), Some(b)) = (place(session, before), place(session, heard)) {
                broken.extend(follows(session, before, heard, a, b));
            }
        }
        before = Some(heard);
        if session.session.kinds.is_empty() {
            broken.extend(off_the_clock(session, heard));
        }
    }
    if !session.session.kinds.is_empty() {
        broken.extend(flow::true_time(session));
    }
    broken
}

/// Neighbours in time must be in the order in which they were spoken, and without a hole where nothing is missing.
fn follows(
    session: &SessionEvidence<'_>,
    before: &Heard,
    heard: &Heard,
    a: (usize, usize),
    b: (usize, usize),
) -> Option<String> {
    if a >= b {
        return Some(format!("take {} frame {} comes after take {} frame {}", b.0, b.1, a.0, a.1));
    }
    let hole_ms = heard.at.saturating_sub(before.at + before.samples) / PER_MS;
    let next = a.0 == b.0 && a.1 + 1 == b.1;
    if !session.session.kinds.is_empty() {
        return None; // a hole shows in the true time of what follows it
    }
    let jitter_ms = match session.disturbed.range(session.chunks_of(a.0)).next() {
        None => 1,
        // A clock ahead of the queue's is known as well as the fastest chunk so far shows it: what comes late knows it better.
        Some(_) if session.session.skew_ms > 0 => u64::MAX,
        Some(first) if *first == session.chunks_of(a.0).start => LAG_MS, // its header: it is unknown which recording it is
        Some(_) => JITTER_MS,
    };
    let apart = next && hole_ms > jitter_ms && !paused(session, a, b, heard);
    apart.then(|| format!("a hole of {hole_ms} ms between frames {} and {} of take {}", a.1, b.1, a.0))
}

/// Whether a chunk of the take came out of order: if only clocks show its place, their jitter stays.
fn late(session: &SessionEvidence<'_>, take: usize) -> bool {
    session.disturbed.range(session.chunks_of(take)).next().is_some()
}

/// Whether the speaker's clock shows more time than the recording does: between the two frames, or before them, and the
/// audio was still behind by that.
fn paused(session: &SessionEvidence<'_>, a: (usize, usize), b: (usize, usize), heard: &Heard) -> bool {
    let at = |place| session.spoken_at(place).map(|s| s.at_ms);
    let between = at(a).zip(at(b)).is_none_or(|(a, b)| b > a + 20 + PAUSE_JITTER_MS);
    let of_take = |h: &&Heard| place(session, h).is_some_and(|(take, _)| take == b.0);
    let first = session.heard.iter().find(of_take);
    let behind = first.and_then(|first| {
        let spoken_ms = at(b)?.checked_sub(at(place(session, first)?)?)?;
        Some((heard.at - first.at) / PER_MS <= spoken_ms + JITTER_MS)
    });
    between || behind == Some(true)
}

fn off_the_clock(session: &SessionEvidence<'_>, heard: &Heard) -> Option<String> {
    let (take, frame) = place(session, heard)?;
    let spoken = session.spoken_at((take, frame))?;
    // A clock that is ahead of the queue's is corrected as far as the queue's clock shows it.
    let ahead_ms = session.session.skew_ms.max(0) as u64;
    let off_ms = (heard.at / PER_MS).abs_diff(spoken.at_ms);
    (off_ms > CLOCK_TOLERANCE_MS + ahead_ms && !is_noisy(session, take))
        .then(|| format!("take {take} frame {frame} is {off_ms} ms off the speaker's clock"))
}

/// 5. Bounded: the queue drains, no message spins until the redrive policy takes it, no item outgrows DynamoDB.
pub fn bounded(evidence: &Evidence<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    if !evidence.outcome.drained {
        broken.push("the queue never drains".to_owned());
    }
    let largest = evidence.outcome.world.store.largest_item();
    if largest > MAX_ITEM_BYTES {
        broken.push(format!("a stored item of {largest} bytes"));
    }
    let spun = evidence.outcome.parked.iter().filter(|dead| dead.attributes["reason"] == "maxReceiveCount");
    broken.extend(
        spun.map(|dead| format!("{} was received until SQS moved it: {}", dead.original_id, dead.group)),
    );
    broken
}

/// 6. After an operator's redrive nothing is parked for a service's failure, and the audio is whole.
pub fn redrive_restores(session: &SessionEvidence<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    for (i, dead) in &session.dead {
        if matches!(session.facts[*i].passage, Passage::Sent(_)) && !has_no_place(session, *i, dead) {
            let reason = dead.attributes.get("reason").map_or("", String::as_str);
            broken.push(format!("chunk {} is still parked: {reason}", session.facts[*i].name));
        }
    }
    broken
}

/// Parked for good, and rightly so: a late chunk whose place was not kept, or that no longer fits; what was withheld behind it; what
/// noise took along; a page that was replaced; a made-up time.
fn has_no_place(session: &SessionEvidence<'_>, chunk: usize, dead: &Dead) -> bool {
    match dead.attributes["reason"].as_str() {
        _ if session.facts[chunk].is_misstamped() => true,
        "REPLACED" => session.session.kinds.has(Kind::SecondPage),
        "NO_PLACE" => late(session, session.facts[chunk].take),
        "UNDECODABLE_AUDIO" => {
            let take = session.facts[chunk].take;
            is_noisy(session, take) || session.pages_mix() || (session.gave_up_gaps && late(session, take))
        }
        _ => false,
    }
}

/// The take and frame that was heard.
fn place(session: &SessionEvidence<'_>, heard: &Heard) -> Option<(usize, usize)> {
    let id = heard.id?;
    Some((session.take_of(id.tape)?, id.frame))
}

/// Noise within a take: what libopus or the demuxer make of it is not promised.
fn is_noisy(session: &SessionEvidence<'_>, take: usize) -> bool {
    session
        .facts
        .iter()
        .any(|fact| fact.take == take && matches!(fact.passage, Passage::Bad(Bad::Noise | Bad::Stub)))
}
