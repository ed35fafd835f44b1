//! Draws speakers in trouble.

use fastrand::Rng;

use super::blobs::{Sizes, Style};
use super::kinds::{Kind, Kinds};
use super::script::{SHORT_MS, Script, Window};
use crate::speech::session::{BEGIN_MS, Chunk, Ended, Passage, Session, Take};
use crate::speech::webm::Browser;

/// By how much a speaker's clock is ahead; the last ones only where clocks are the trouble.
const SKEW_MS: [i64; 8] = [0, 0, 0, -3_000, 1_500, 45_000, MOST_BEHIND_MS, MOST_AHEAD_MS];
/// The door refuses what is stamped further ahead than this, and the queue's clock replaces one that is behind by this.
const MOST_AHEAD_MS: i64 = 86_400_000;
/// See [`MOST_AHEAD_MS`].
const MOST_BEHIND_MS: i64 = -90_000_000;
/// By how much a clock is set; the first ones also while nothing is recorded. (A clock that is set back by less than a pause
/// while that lasts makes it look shorter, and nothing shows it.)
const SET_MS: [i64; 9] =
    [-86_400_000, -3_600_000, -60_000, -20_000, 3_000, 20_000, 3_600_000, 86_400_000, -3_000];
/// By how much a made-up timestamp is off: not quite up to 2^53, or back to 1970.
const HOSTILE_MS: i64 = (1 << 53) - 2_000_000_000_000;
/// No clock is set this near to a time of other trouble: the two could not be distinguished.
const APART_MS: u64 = 1_000;
/// How late the first chunk of a restarted recorder may be at the least: the audio goes on without it.
const HEADER_LATE_MS: u64 = 4_000;
/// The longest time between two chunks of a recorder that runs.
const RUNNING_MS: u64 = 500;

/// Draws a speaker with some of `kinds`.
pub fn speaker(rng: &mut Rng, number: usize, kinds: Kinds) -> Session {
    let kinds = kinds.of_speakers().draw(rng);
    let skews = if kinds.has(Kind::Clock) { &SKEW_MS[..] } else { &SKEW_MS[..6] };
    let mut session = Session {
        begins_ms: BEGIN_MS + rng.u64(0..3_000),
        skew_ms: *rng.choice(skews).unwrap_or(&0),
        tells_connection: rng.bool() || kinds.has(Kind::SecondPage) || kinds.has(Kind::Resend),
        end_after_ms: rng.bool().then(|| rng.u64(80..400)),
        kinds,
        ..Session::of(&format!("s{number}"), Vec::new())
    };
    let script = first_script(rng, kinds);
    let mut first = script.play(rng, 0);
    if kinds.has(Kind::Resend) {
        resend(rng, &mut first);
    }
    if kinds.has(Kind::Hostile) {
        misstamp(rng, &mut first.chunks);
    }
    if rng.u8(0..7) == 0 && [Kind::Stall, Kind::Burst, Kind::Disorder].iter().any(|kind| kinds.has(*kind)) {
        lose(rng, &mut first.chunks);
    }
    session.takes.extend(second(rng, kinds, &first));
    session.takes.insert(0, first);
    if kinds.has(Kind::Clock) {
        set_clock(rng, &mut session, &script);
    }
    if kinds.has(Kind::End) {
        end(rng, &mut session);
    }
    session
}

fn first_script(rng: &mut Rng, kinds: Kinds) -> Script {
    let browser = browser(rng, kinds);
    let window = window(rng, kinds, browser);
    let speech_ms = window.map_or(0, |w| w.to_ms) + rng.u64(4_000..24_000);
    let drift_ppm = if kinds.has(Kind::Drift) { rng.i64(-10_000..=10_000) } else { 0 };
    let pause_at_ms = rng.u64(1_000..speech_ms.min(SHORT_MS));
    let clear = window.is_none_or(|w| pause_at_ms + 2 * APART_MS < w.from_ms);
    Script {
        muxer: muxer(rng, kinds, browser),
        window,
        drift_ppm,
        pause: (rng.u8(0..4) == 0 && clear).then(|| (pause_at_ms, rng.u64(700..9_000))),
        sizes: sizes(rng, kinds),
        empties: kinds.has(Kind::Empty),
        disorder: kinds.has(Kind::Disorder),
        ..Script::new(browser, speech_ms)
    }
}

/// A restarted recorder, a reloaded page, or a second page beside the first one.
fn second(rng: &mut Rng, kinds: Kinds, first: &Take) -> Option<Take> {
    // A page is there until it has sent all that it sends again.
    let sent_ms = |chunk: &Chunk| chunk.handed_out_ms + chunk.restamped_after_ms.unwrap_or_default();
    let ends_ms = first.chunks.iter().map(sent_ms).max().unwrap_or_default();
    let begin_ms = if kinds.has(Kind::SecondPage) {
        // Who connects last is the speaker: the first page has spoken before over each of its connections, or the door refuses it.
        let arrives_ms = |at: &usize| first.chunks.get(*at).and_then(Chunk::arrives_ms).unwrap_or_default();
        let connected_ms = [0].iter().chain(&first.reconnects).map(|at| arrives_ms(at) + APART_MS).max();
        let earliest_ms = ends_ms.saturating_sub(20_000).max(2_000).max(connected_ms.unwrap_or_default());
        (earliest_ms + APART_MS < ends_ms).then(|| rng.u64(earliest_ms..ends_ms - APART_MS / 2))?
    } else {
        let after_ms = rng.u64(20..400) + if rng.bool() { rng.u64(500..8_000) } else { 0 };
        (rng.u8(0..5) < 2).then_some(ends_ms + after_ms)?
    };
    let is_late = begin_ms % 3 == 0 && may_be_late(kinds);
    // So soon after the first that drift has taken its time, where the recorder's clock is fast.
    let begin_ms = if is_late { ends_ms + 20 + begin_ms % 60 } else { begin_ms };
    let speech_ms = rng.u64(4_000..12_000);
    let browser = browser(rng, kinds);
    let muxer = muxer(rng, kinds, browser);
    let script = Script {
        // Mostly, a page's next recorder is of the same kind.
        muxer: muxer.map(|muxer| first.muxer.filter(|same| same % 3 > 0).unwrap_or(muxer)),
        begin_ms,
        drift_ppm: if kinds.has(Kind::Drift) { rng.i64(-10_000..=10_000) } else { 0 },
        sizes: sizes(rng, kinds),
        empties: kinds.has(Kind::Empty),
        disorder: kinds.has(Kind::Disorder),
        ..Script::new(browser, speech_ms)
    };
    let mut take = script.play(rng, 1);
    take.new_page = kinds.has(Kind::SecondPage) || rng.bool();
    take.connection = if take.new_page { 10 } else { 1 };
    if !take.new_page && is_late {
        take.chunks[0].passage = Passage::Sent(HEADER_LATE_MS + begin_ms % 8_000);
    }
    Some(take)
}

/// Whether chunks overtake each other, and nothing else hides where a late one belongs.
fn may_be_late(kinds: Kinds) -> bool {
    kinds.has(Kind::Disorder)
        && kinds.iter().all(|kind| matches!(kind, Kind::Disorder | Kind::Drift | Kind::Steady))
}

fn sizes(rng: &mut Rng, kinds: Kinds) -> Sizes {
    let sparse = kinds.has(Kind::Empty) && rng.bool();
    match () {
        () if kinds.has(Kind::Small) => Sizes::Small,
        () if sparse => Sizes::Sparse,
        () if kinds.has(Kind::Pieces) => Sizes::Large,
        () => Sizes::Usual,
    }
}

fn browser(rng: &mut Rng, kinds: Kinds) -> Browser {
    match rng.u8(0..5) {
        0..4 if kinds.has(Kind::Pcm) => Browser::Worklet,
        0 | 1 => Browser::Chromium,
        2 | 3 => Browser::Firefox,
        _ if kinds.has(Kind::Recorders) => Browser::Firefox,
        _ => Browser::FirefoxOgg,
    }
}

/// Which recorder writes what these browsers' recorders encode, if it is another one.
fn muxer(rng: &mut Rng, kinds: Kinds, browser: Browser) -> Option<u64> {
    let is_encoded = matches!(browser, Browser::Chromium | Browser::Firefox);
    (kinds.has(Kind::Recorders) && is_encoded).then(|| rng.u64(..))
}

fn window(rng: &mut Rng, kinds: Kinds, browser: Browser) -> Option<Window> {
    let stalls = kinds.has(Kind::Stall) && (rng.bool() || !kinds.has(Kind::Burst));
    if !stalls && !kinds.has(Kind::Burst) {
        return None;
    }
    let long_ms = match rng.u8(0..16) {
        0 => 60_000,
        1 => 24_000,
        2..=6 => 10_000,
        7..=11 => 5_000,
        _ => 2_000,
    };
    let from_ms = rng.u64(1_500..7_000);
    let style = match (browser, rng.u8(0..3)) {
        (Browser::Worklet, _) => Style::Heap, // samples come in blobs of the page's own size
        (Browser::Chromium, 0 | 1) => Style::SmallThenLarge { pieces: rng.usize(1..=6) },
        (_, 0) => Style::One { pieces: rng.usize(1..=6) },
        _ => Style::Heap,
    };
    Some(Window { from_ms, to_ms: from_ms + long_ms + rng.u64(0..300), stall: stalls.then_some(style) })
}

/// After a reconnect the last chunks before it are sent again, with new times.
fn resend(rng: &mut Rng, take: &mut Take) {
    let at = rng.usize(10..take.chunks.len().max(12));
    let Some(before_ms) = take.chunks.get(at - 1).and_then(Chunk::arrives_ms) else { return };
    let count = rng.usize(2..=8);
    for (n, chunk) in take.chunks[at - count..at].iter_mut().enumerate() {
        chunk.restamped_after_ms = Some(before_ms + 110 + 3 * n as u64 - chunk.handed_out_ms);
    }
    take.reconnects.push(at);
    take.reconnects.sort_unstable();
}

/// One chunk is lost; not the first ones, since what follows a lost header cannot be decoded.
fn lose(rng: &mut Rng, chunks: &mut [Chunk]) {
    if let Some(chunk) = amid(rng, chunks) {
        chunk.passage = Passage::Lost;
    }
}

fn misstamp(rng: &mut Rng, chunks: &mut [Chunk]) {
    if let Some(chunk) = amid(rng, chunks) {
        chunk.misstamped_ms = if rng.bool() { HOSTILE_MS } else { -HOSTILE_MS };
    }
}

/// Some chunk, not among the first or the last.
fn amid<'c>(rng: &mut Rng, chunks: &'c mut [Chunk]) -> Option<&'c mut Chunk> {
    let last = chunks.len().checked_sub(2).filter(|last| *last > 3)?;
    chunks.get_mut(rng.usize(3..last))
}

/// Somebody sets the clock once or twice, while a recorder runs or just before a page is loaded.
fn set_clock(rng: &mut Rng, session: &mut Session, script: &Script) {
    let apart = |ms: u64| script.window.is_none_or(|w| ms + APART_MS < w.from_ms || ms > w.to_ms + APART_MS);
    let times = |take: &Take| -> Vec<u64> {
        let pairs = take.chunks.windows(2).map(|pair| (pair[0].handed_out_ms, pair[1].handed_out_ms));
        pairs.filter(|(a, b)| *a + 10 < *b && b - a < RUNNING_MS).map(|(a, _)| a + 10).collect()
    };
    let running: Vec<u64> =
        session.takes.iter().flat_map(times).filter(|ms| *ms > 2_500 && apart(*ms)).collect();
    let reload_ms =
        session.takes.get(1).and_then(|take| take.chunks.first()).map(|chunk| chunk.handed_out_ms);
    let mut sets = Vec::new();
    for _ in 0..rng.u8(1..=2) {
        let before_page = reload_ms.filter(|_| rng.bool()).map(|ms| ms.saturating_sub(200));
        let steps = if before_page.is_some() { &SET_MS[..8] } else { &SET_MS[..] };
        let at_ms = before_page.or_else(|| rng.choice(&running).copied());
        sets.extend(at_ms.zip(rng.choice(steps).copied()));
    }
    sets.sort_unstable();
    let mut skew_ms = session.skew_ms;
    for (at_ms, by_ms) in sets {
        // One that could only be set by a part of its step stays as it is: that step would be none of the drawn ones.
        if (MOST_BEHIND_MS..=MOST_AHEAD_MS).contains(&(skew_ms + by_ms)) {
            skew_ms += by_ms;
            session.clock_set.push((at_ms, skew_ms));
        }
    }
}

/// How the table's end and the last chunk come together: nothing of them is late. Where the clock was only just set, a chunk that the
/// network keeps looks like one that was captured later.
fn end(rng: &mut Rng, session: &mut Session) {
    let set_ms = session.clock_set.iter().map(|(at_ms, _)| *at_ms).max();
    let chunks = session.takes.iter_mut().flat_map(|take| &mut take.chunks);
    let Some(last) = chunks.max_by_key(|chunk| chunk.handed_out_ms) else { return };
    let at_ms = last.handed_out_ms;
    let clock_is_known = set_ms.is_none_or(|set_ms| set_ms + APART_MS < at_ms);
    session.ended = Some(match rng.u8(0..4) {
        0 => Ended { changes_ms: at_ms + 50, told_ms: None },
        1 => Ended { changes_ms: at_ms.saturating_sub(180), told_ms: Some(at_ms.saturating_sub(200)) },
        2 if clock_is_known => {
            last.passage = Passage::Sent(5_000); // captured in time; the network keeps it
            Ended { changes_ms: at_ms + 30, told_ms: Some(at_ms) }
        }
        _ => Ended { changes_ms: at_ms + 30, told_ms: Some(at_ms) },
    });
}
