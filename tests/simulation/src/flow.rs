//! What is promised of speakers in trouble, as functions of the [`Evidence`]: whatever a page, a network and a clock do, the
//! audio is in the stream at its true time, in fragments of 1 s or more, and soon live again.
//!
//! All but the true time is only held against runs in which no service fails: what their failures delay, park and tear apart
//! is the business of the other promises.

use std::collections::{BTreeMap, BTreeSet};

use ingest::aside::MAX_CHUNKS;
use media::time::Samples;
use writer::event::Event;

use crate::case::kinds::Kind;
use crate::evidence::{Evidence, Heard, SessionEvidence, Spoken};
use crate::model::stream::Fragment;
use crate::speech::session::{Chunk, Fact, Passage, Take};

/// Samples of a millisecond.
const PER_MS: u64 = 16;
/// Milliseconds of a frame.
const FRAME_MS: u64 = 20;
/// How far audio may be from its true time: a lag that is not a pause, and the jitter of a recorder's events.
const TRUE_WITHIN_MS: i64 = 600;
/// No fragment is shorter while its session goes on.
const SHORTEST: Samples = Samples(16_000);
/// No fragment spans more time: what lies behind a longer pause is not for the same one.
const MOST_SPAN_MS: u64 = 10_000;
/// Where less than this was at hand, two short fragments may come of it: a delivery need not show all there is.
const ENOUGH_MS: u64 = 2_000;
/// How long before a fragment was stored a chunk must have reached the queue to have been at hand for it.
const AT_HAND_MS: u64 = 1_500;
/// The oldest that live audio is when it is stored.
const MOST_AGE_MS: u64 = 4_000;
/// The same where nothing came after it for a while: what is short waits for more.
const MOST_AGE_ALONE_MS: u64 = 25_000;
/// So long after its end, trouble may still be felt.
const FELT_MS: u64 = 15_000;
/// What a page hands out within this time is one burst.
const BURST_MS: u64 = 2_000;
/// A chunk that is later than this makes trouble.
const LATE_MS: u64 = 400;
/// The door lets 40 messages of a session pass each second, and refuses a page that another one has replaced: two pages at once, or a
/// burst of small chunks, may bring more than the writer is promised to keep up with.
const TURN_MS: u64 = 25;
/// A chunk that comes so long after the one behind it is overdue.
const OVERDUE_MS: u64 = 2_500;
/// A clock that is further behind tells nothing.
const BROKEN_CLOCK_MS: i64 = 86_400_000;
/// Why the chunks of a page are parked that another one has replaced.
const REPLACED: &str = "REPLACED";
/// Why a chunk is parked whose page is not known.
const NO_PLACE: &str = "NO_PLACE";

/// What breaks the promise of true times: each recording lies where it was spoken, up to what the speaker's clock was behind when
/// the session began. (A clock that is behind can be taken for right; what is ahead shows, since nothing arrives before it is sent.)
pub fn true_time(session: &SessionEvidence<'_>) -> Vec<String> {
    let mut by_take: BTreeMap<usize, Vec<(&Heard, &Spoken)>> = BTreeMap::new();
    for heard in &session.heard {
        if let Some(spoken) = spoken(session, heard) {
            by_take.entry(spoken.take).or_default().push((heard, spoken));
        }
    }
    let mut taken_until_ms = 0_u64;
    let mut broken = Vec::new();
    for (take, frames) in by_take {
        // Where two pages spoke at once, the later one's audio begins when the earlier one's has ended.
        let begins_ms = frames.iter().map(|(_, spoken)| spoken.true_ms).min().unwrap_or_default();
        let unseen_ms = unseen_ms(session, &frames) + hidden_ms(session, &frames);
        let later_ms = taken_until_ms.saturating_sub(begins_ms).max(unseen_ms) as i64;
        let earlier_ms = outgrown_ms(session, &frames) as i64;
        broken.extend(take_off_true_time(session, take, &frames, (earlier_ms, later_ms)));
        let ends = frames.iter().map(|(heard, _)| (heard.at + heard.samples) / PER_MS);
        taken_until_ms = ends.fold(taken_until_ms, u64::max);
    }
    broken
}

/// By how much this audio may lie later than spoken, because nothing had shown better when it was placed: every chunk before it had
/// been handed out late by a page that had stalled, or held up on its way, so that a clock that is ahead seemed right.
fn unseen_ms(session: &SessionEvidence<'_>, frames: &[(&Heard, &Spoken)]) -> u64 {
    let numbers: BTreeSet<u64> = frames.iter().map(|(heard, _)| heard.number).collect();
    let of_frames = session.fragments.iter().filter(|fragment| numbers.contains(&fragment.number));
    let tried_ms = |f: &Fragment| session.first_tried_ms.get(&f.at).copied().unwrap_or(f.stored_ms);
    let placed_ms = of_frames.map(tried_ms).min();
    let chunks = session.session.takes.iter().flat_map(|take| &take.chunks).zip(&session.arrived_ms);
    let seen =
        || chunks.clone().filter_map(|(chunk, at)| Some((chunk, at.filter(|at| Some(*at) <= placed_ms)?)));
    let began_ms = session.session.begins_ms;
    let on_its_way = |(chunk, at): (&Chunk, u64)| at.saturating_sub(began_ms + chunk.handed_out_ms);
    // The queue's clock replaces one that is too far behind, as if that were ahead.
    let ahead_ms = match session.session.skew_ms {
        behind_ms if behind_ms < -BROKEN_CLOCK_MS => u64::MAX,
        skew_ms => skew_ms.max(0).unsigned_abs(),
    };
    let late_ms = seen().map(|(chunk, _)| chunk.late_ms).min().unwrap_or_default();
    late_ms + seen().map(on_its_way).min().unwrap_or_default().min(ahead_ms)
}

/// By how much this audio may lie later than spoken, because a page that had stalled kept the end of what it recorded: all that it handed
/// out with a chunk came so late. What it handed out when another page had replaced it is parked, and shows nothing.
fn hidden_ms(session: &SessionEvidence<'_>, frames: &[(&Heard, &Spoken)]) -> u64 {
    let chunks: Vec<&Chunk> = session.session.takes.iter().flat_map(|take| &take.chunks).collect();
    let sound: BTreeSet<usize> = session.spoken.iter().map(|spoken| spoken.chunk).collect();
    let shows = |chunk: &usize| session.arrived_ms[*chunk].is_some() && !is_replaced(session, *chunk);
    let with = |first: usize| {
        let burst = chunks[first].handed_out_ms..=chunks[first].handed_out_ms + BURST_MS;
        let of_burst = |chunk: &usize| {
            burst.contains(&chunks[*chunk].handed_out_ms) && session.page(*chunk) == session.page(first)
        };
        let late = sound.iter().filter(|chunk| shows(chunk) && of_burst(chunk));
        late.map(|chunk| chunks[*chunk].late_ms).min().unwrap_or_default()
    };
    let of_frames: BTreeSet<usize> = frames.iter().map(|(_, spoken)| spoken.chunk).collect();
    let late = of_frames.into_iter().filter(|chunk| chunks[*chunk].late_ms > LATE_MS);
    late.map(with).max().unwrap_or_default()
}

fn is_replaced(session: &SessionEvidence<'_>, chunk: usize) -> bool {
    let reason = session.parked.get(&chunk).and_then(|dead| dead.attributes.get("reason"));
    reason.is_some_and(|reason| reason == REPLACED)
}

/// By how much this audio may lie earlier than spoken: a page that had stalled handed out more chunks at once than can be set aside, so
/// that a pause just before them shows only once the first of them are written.
fn outgrown_ms(session: &SessionEvidence<'_>, frames: &[(&Heard, &Spoken)]) -> u64 {
    let chunks: Vec<&Chunk> = session.session.takes.iter().flat_map(|take| &take.chunks).collect();
    let handed_out = |ms: u64| chunks.iter().filter(|chunk| chunk.handed_out_ms == ms).count() as u64;
    let outgrows = |spoken: &Spoken| handed_out(chunks[spoken.chunk].handed_out_ms) > MAX_CHUNKS;
    let pauses = frames.windows(2).map(|pair| {
        let (before, behind) = (pair[0].1, pair[1].1);
        (behind.true_ms.saturating_sub(before.true_ms + FRAME_MS), behind)
    });
    pauses
        .filter(|(ms, behind)| *ms > FRAME_MS && outgrows(behind))
        .map(|(ms, _)| ms)
        .max()
        .unwrap_or_default()
}

/// It may lie so much earlier and later than spoken.
fn take_off_true_time(
    session: &SessionEvidence<'_>,
    take: usize,
    frames: &[(&Heard, &Spoken)],
    (earlier_ms, later_ms): (i64, i64),
) -> Vec<String> {
    let off_ms = |(heard, spoken): &(&Heard, &Spoken)| (heard.at / PER_MS) as i64 - spoken.true_ms as i64;
    let mut sorted: Vec<i64> = frames.iter().map(off_ms).collect();
    sorted.sort_unstable();
    let usual_ms = sorted[sorted.len() / 2];
    let within_ms = TRUE_WITHIN_MS + later_ms;
    let mut broken = Vec::new();
    if !(session.session.skew_ms.min(0) - TRUE_WITHIN_MS - earlier_ms..=within_ms).contains(&usual_ms) {
        broken.push(format!("take {take} is {usual_ms} ms off its true time"));
    }
    let wrong = || frames.iter().filter(|frame| (off_ms(frame) - usual_ms).abs() > within_ms + earlier_ms);
    if let Some(first) = wrong().next() {
        let (count, apart_ms) = (wrong().count(), off_ms(first) - usual_ms);
        broken.push(format!(
            "{count} frames of take {take} are apart from the rest, the first, frame {}, by {apart_ms} ms",
            first.1.frame
        ));
    }
    broken
}

/// What breaks the promise of live audio, in a run in which no service fails.
pub fn live(evidence: &Evidence<'_>, session: &SessionEvidence<'_>) -> Vec<String> {
    let trouble = evidence.sessions.iter().flat_map(trouble).collect();
    let flow = Flow::of(session, trouble);
    let mut broken = parked(session);
    broken.extend(gaps(evidence, session));
    broken.extend(flow.short());
    broken.extend(flow.order());
    broken.extend(flow.age());
    broken
}

fn spoken<'e>(session: &'e SessionEvidence<'_>, heard: &Heard) -> Option<&'e Spoken> {
    let id = heard.id?;
    session.spoken_at((session.take_of(id.tape)?, id.frame))
}

/// Nothing of what a speaker sends is parked, but what comes from a page that was replaced.
fn parked(session: &SessionEvidence<'_>) -> Vec<String> {
    let taken_over_ms = taken_over_ms(session);
    let rightly = |fact: usize, reason: &str| {
        let after = taken_over_ms.is_some_and(|ms| session.arrived_ms[fact].is_some_and(|at| at + 100 >= ms));
        // Where its clock was set meanwhile, a replaced page's chunk looks like a late one.
        let replaced = reason == REPLACED || (reason == NO_PLACE && session.session.kinds.has(Kind::Clock));
        replaced && session.facts[fact].take == 0 && after
    };
    let reason =
        |attributes: &BTreeMap<String, String>| attributes.get("reason").cloned().unwrap_or_default();
    let mut broken = Vec::new();
    for (fact, dead) in &session.parked {
        let reason = reason(&dead.attributes);
        if !rightly(*fact, &reason) && !is_lost(&session.facts[*fact]) {
            broken.push(format!("chunk {} is parked: {reason}", session.facts[*fact].name));
        }
    }
    for dead in &session.parked_again {
        broken.push(format!("a chunk that came again is parked: {}", reason(&dead.attributes)));
    }
    broken
}

/// When the second page's first chunk reached the queue, where two pages spoke at once.
fn taken_over_ms(session: &SessionEvidence<'_>) -> Option<u64> {
    let of_second = |(fact, _): &(&Fact, _)| fact.take == 1;
    let arrived = session.facts.iter().zip(&session.arrived_ms).filter(of_second).filter_map(|(_, at)| *at);
    arrived.min().filter(|_| session.session.kinds.has(Kind::SecondPage))
}

/// A gap is opened for chunks that are lost or overdue, and for nothing else.
fn gaps(evidence: &Evidence<'_>, session: &SessionEvidence<'_>) -> Option<String> {
    let opened = evidence.outcome.world.events.iter().filter(|(_, event)| {
        matches!(event, Event::GapOpened { session_id, .. } if *session_id == session.session.name)
    });
    let missing = (0..session.facts.len()).filter(|fact| is_missing(session, *fact));
    let (opened, lost) = (opened.count(), missing.count());
    let allowed = lost + untold_beginnings(session);
    (opened > allowed).then(|| format!("{opened} gaps are opened for {lost} lost chunks"))
}

/// Pages that begin with empty chunks while another one speaks: the same would come if that one sent its own again over a new
/// connection. They are told apart by the header behind them, and the page begins with a gap.
fn untold_beginnings(session: &SessionEvidence<'_>) -> usize {
    let untold = |take: &&Take| take.new_page && take.chunks.first().is_some_and(|first| first.until == 0);
    session.session.takes.iter().filter(untold).count()
}

/// A chunk that need not be written: it never came, or it cannot be used, or its time is made up.
fn is_lost(fact: &Fact) -> bool {
    !matches!(fact.passage, Passage::Sent(_)) || fact.is_misstamped()
}

/// A chunk that the audio need not wait for.
fn is_missing(session: &SessionEvidence<'_>, fact: usize) -> bool {
    let arrived_ms = |fact: usize| session.arrived_ms.get(fact).copied().flatten();
    let overdue =
        arrived_ms(fact).zip(arrived_ms(fact + 1)).is_some_and(|(own, next)| own > next + OVERDUE_MS);
    overdue || is_lost(&session.facts[fact])
}

/// A live fragment, with the last of its audio.
struct Written<'a> {
    fragment: &'a Fragment,
    last: &'a Spoken,
    /// Audio of the chunks after it that were at hand when it was put together, in ms.
    at_hand_ms: u64,
}

/// A session's live fragments, in the order of ingestion.
struct Flow<'a> {
    session: &'a SessionEvidence<'a>,
    written: Vec<Written<'a>>,
    /// When something kept audio from coming live, in any session of the run: from, to.
    trouble: Vec<(u64, u64)>,
}

impl<'a> Flow<'a> {
    fn of(session: &'a SessionEvidence<'a>, trouble: Vec<(u64, u64)>) -> Self {
        let mut ends: BTreeMap<u64, (&Spoken, &Spoken)> = BTreeMap::new();
        for heard in &session.heard {
            if let Some(spoken) = spoken(session, heard) {
                ends.entry(heard.number).or_insert((spoken, spoken)).1 = spoken; // in order of time
            }
        }
        let is_live =
            |fragment: &&Fragment| fragment.media.tags.get("line").is_some_and(|line| line == "live");
        let live = session.fragments.iter().filter(is_live);
        let written = live.filter_map(|fragment| {
            let (first, last) = *ends.get(&fragment.number)?;
            let at_hand_ms = at_hand_ms(session, (first, last), fragment.stored_ms);
            Some(Written { fragment, last, at_hand_ms })
        });
        Self { session, written: written.collect(), trouble }
    }

    /// No fragment is short that could have been longer.
    fn short(&self) -> Option<String> {
        let is_short = |w: &&Written<'_>| {
            let samples = w.fragment.media.samples();
            let enough = samples.ms_floor() + w.at_hand_ms >= ENOUGH_MS;
            samples < SHORTEST && enough && !self.beside_loss(w.last.chunk)
        };
        let short: Vec<&Written<'_>> = self.written.iter().filter(is_short).collect();
        let first = short.first()?;
        Some(format!(
            "{} of {} fragments are under 1 s although more was at hand, the first, number {}, of {} ms",
            short.len(),
            self.written.len(),
            first.fragment.number,
            first.fragment.media.samples().ms_floor()
        ))
    }

    /// What is lost may be waited for, and written around.
    fn beside_loss(&self, chunk: usize) -> bool {
        let near = chunk.saturating_sub(3)..(chunk + 12).min(self.session.facts.len());
        near.into_iter().any(|fact| is_missing(self.session, fact))
    }

    /// Live fragments are ingested in order of time.
    fn order(&self) -> Option<String> {
        let back = self.written.windows(2).find(|pair| pair[1].fragment.at < pair[0].fragment.at)?;
        let (before, after) = (back[0].fragment, back[1].fragment);
        Some(format!("live fragment {} lies before fragment {} in time", after.number, before.number))
    }

    /// Audio is live, but while trouble can be felt.
    fn age(&self) -> Option<String> {
        let end_ms = |w: &Written<'_>| w.last.true_ms + FRAME_MS;
        let age_ms = |w: &Written<'_>| w.fragment.stored_ms.saturating_sub(end_ms(w));
        let is_old = |w: &&Written<'_>| {
            let alone = w.fragment.media.samples().ms_floor() + w.at_hand_ms < ENOUGH_MS;
            let most_ms = if alone { MOST_AGE_ALONE_MS } else { MOST_AGE_MS };
            let felt = |(from, to): &(u64, u64)| (*from..*to + FELT_MS).contains(&end_ms(w));
            age_ms(w) > most_ms && !self.trouble.iter().any(felt)
        };
        let old: Vec<&Written<'_>> = self.written.iter().filter(is_old).collect();
        let first = old.first()?;
        Some(format!(
            "{} of {} fragments are late, the first, number {}, by {} ms",
            old.len(),
            self.written.len(),
            first.fragment.number,
            age_ms(first)
        ))
    }
}

/// The audio after a fragment of these first and last frames whose chunks, of the same page, were at hand when it was stored, and
/// which it could have held without spanning more time than one may.
fn at_hand_ms(session: &SessionEvidence<'_>, (first, last): (&Spoken, &Spoken), stored_ms: u64) -> u64 {
    let same_page = |take: usize| take == last.take || !session.session.takes[take].new_page;
    let at_hand = |spoken: &&Spoken| {
        let arrived = session.arrived_ms[spoken.chunk].is_some_and(|at| at + AT_HAND_MS < stored_ms);
        let parked = session.parked.contains_key(&spoken.chunk);
        let fits = spoken.true_ms + SHORTEST.ms_floor() < first.true_ms + MOST_SPAN_MS;
        spoken.chunk > last.chunk && same_page(spoken.take) && arrived && !parked && fits
    };
    session.spoken.iter().filter(at_hand).count() as u64 * FRAME_MS
}

/// From the end of a chunk's audio to its arrival, or its turn behind what arrived before, wherever that took long.
fn trouble(session: &SessionEvidence<'_>) -> Vec<(u64, u64)> {
    let begins_ms = session.session.begins_ms;
    let chunks = session.session.takes.iter().flat_map(|take| &take.chunks);
    let late = chunks.zip(&session.facts).zip(turns_ms(session)).filter_map(|((chunk, fact), turn_ms)| {
        let ended_ms = begins_ms + chunk.handed_out_ms - chunk.late_ms;
        let turn_ms = turn_ms.unwrap_or(ended_ms + LATE_MS);
        (is_lost(fact) || turn_ms > ended_ms + LATE_MS).then_some((ended_ms, turn_ms))
    });
    late.collect()
}

/// When it is each chunk's turn, if chunks were taken out of the queue no faster than the door lets a session's in.
fn turns_ms(session: &SessionEvidence<'_>) -> Vec<Option<u64>> {
    let arrived = session.arrived_ms.iter().enumerate().filter_map(|(chunk, at_ms)| Some(((*at_ms)?, chunk)));
    let mut in_order: Vec<(u64, usize)> = arrived.collect();
    in_order.sort_unstable();
    let mut turns_ms = vec![None; session.facts.len()];
    let mut next_ms = 0;
    for (at_ms, chunk) in in_order {
        let turn_ms = at_ms.max(next_ms);
        next_ms = turn_ms + TURN_MS;
        turns_ms[chunk] = Some(turn_ms);
    }
    turns_ms
}
