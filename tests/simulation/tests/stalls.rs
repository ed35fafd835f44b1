//! Stalled pages and absent networks: every length, browser, way of handing out and order.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, thread};

use fastrand::Rng;
use media::time::Samples;
use simulation::case::Case;
use simulation::case::blobs::Style;
use simulation::case::kinds::{Kind, Kinds};
use simulation::case::script::{Script, Window};
use simulation::evidence::{Evidence, SessionEvidence};
use simulation::model::stream::Fragment;
use simulation::speech::session::{BEGIN_MS, Session, Take};
use simulation::speech::webm::Browser;

/// Runs of each; `STALL_RUNS=20 cargo test -p simulation --test stalls` for more.
const RUNS: u64 = 4;
/// Speech before the trouble and after it: long enough for the latency to come back.
const BEFORE_MS: u64 = 5_000;
const AFTER_MS: u64 = 22_000;
/// How far the stream's end may lie from that of the speech.
const END_WITHIN_MS: u64 = 500;
/// Kinesis Video's minimum.
const SHORTEST: Samples = Samples::from_ms(1_000);
const FRAME_MS: u64 = 20;
/// What was kept is written at least so much faster than it was spoken,
const CATCH_UP: u64 = 5;
/// until it is as live as usual.
const LIVE_MS: u64 = 4_000;

/// A page in trouble.
struct Page {
    name: String,
    script: Script,
    /// The pieces of its large blob say that they are pieces.
    tells_pieces: bool,
}

impl Page {
    /// A page of this browser in this trouble.
    fn new(name: String, browser: Browser, ms: u64, stall: Option<Style>, disorder: bool) -> Self {
        let window = Some(Window { from_ms: BEFORE_MS, to_ms: BEFORE_MS + ms, stall });
        // Firefox follows its blob with empty ones.
        let empties = stall.is_some() && browser == Browser::Firefox;
        let script = Script { window, disorder, empties, ..Script::new(browser, BEFORE_MS + ms + AFTER_MS) };
        Self { name, script, tells_pieces: false }
    }

    fn case(&self, seed: u64) -> Case {
        let mut take = self.script.play(&mut Rng::with_seed(seed), 0);
        if self.tells_pieces {
            tell_pieces(&mut take);
        }
        let kinds = Kinds::of([Kind::Stall]);
        let session = Session { kinds, end_after_ms: Some(100), ..Session::of("s", vec![take]) };
        Case { seed, sessions: vec![session], undisturbed: true, ..Case::quiet() }
    }

    /// What breaks a promise first, if anything.
    fn broken(&self, seed: u64) -> Option<String> {
        let case = self.case(seed);
        let (outcome, violations) = case.judge_traced(false);
        if let Some(violation) = violations.first() {
            return Some(violation.to_string());
        }
        let evidence = Evidence::gather(&case.sessions, &outcome, true);
        let session = &evidence.sessions[0];
        let goes_on_ms = BEGIN_MS + self.script.window.map_or(0, |window| window.to_ms);
        off_end(session).or_else(|| shreds(session, goes_on_ms)).or_else(|| self.slow(session))
    }

    /// What a network that was away had kept goes into the stream faster than it was spoken.
    fn slow(&self, session: &SessionEvidence<'_>) -> Option<String> {
        let away = self.script.window.filter(|window| window.stall.is_none())?;
        let back_ms = BEGIN_MS + away.to_ms;
        let caught_up_ms = back_ms + LIVE_MS + (away.to_ms - away.from_ms) / CATCH_UP;
        let kept = session.spoken.iter().filter(|spoken| spoken.true_ms + FRAME_MS <= back_ms);
        let last_kept = kept.map(|spoken| (spoken.take, spoken.frame)).next_back()?;
        let number = session.heard.iter().find_map(|heard| {
            let id = heard.id?;
            ((session.take_of(id.tape)?, id.frame) == last_kept).then_some(heard.number)
        })?;
        let fragment = session.fragments.iter().find(|fragment| fragment.number == number)?;
        let late_ms = fragment.stored_ms.saturating_sub(caught_up_ms);
        (late_ms > 0).then(|| {
            format!(
                "{} ms after the network came back, what was kept is not stored",
                fragment.stored_ms - back_ms
            )
        })
    }
}

/// The pieces of a large blob, which are handed out at one time, say that they are.
fn tell_pieces(take: &mut Take) {
    let mut from = 0;
    for n in 1..take.chunks.len() {
        let [piece, next] = [take.chunks[n - 1], take.chunks[n]];
        if piece.handed_out_ms == next.handed_out_ms && from < piece.until && piece.until < next.until {
            take.chunks[n - 1].continues = true;
            take.chunks[n].misstamped_ms = piece.misstamped_ms; // a blob has one time
        }
        from = piece.until;
    }
}

/// The stream ends where the speech did.
fn off_end(session: &SessionEvidence<'_>) -> Option<String> {
    let (heard, spoken) = (session.heard.last()?, session.spoken.last()?);
    let off_ms = (heard.at / 16).abs_diff(spoken.true_ms);
    (off_ms > END_WITHIN_MS).then(|| format!("the stream ends {off_ms} ms from where the speech does"))
}

/// Fragments come in order of time, and none but the last is short. (What is too short waits 20 s for the page to go on: where that
/// takes longer, it was the last for the time being.)
fn shreds(session: &SessionEvidence<'_>, goes_on_ms: u64) -> Option<String> {
    let (_, others) = session.fragments.split_last()?;
    let is_short =
        |fragment: &&Fragment| fragment.media.samples() < SHORTEST && fragment.stored_ms >= goes_on_ms;
    let short = others.iter().find(is_short);
    let short = short.map(|fragment| format!("fragment {} is under 1 s", fragment.number));
    let back = session.fragments.windows(2).find(|pair| pair[1].at < pair[0].at);
    short.or(back.map(|pair| format!("fragment {} is ingested late", pair[1].number)))
}

/// Judges some runs of each page; panics with all that broke a promise.
fn hold(pages: &[Page]) {
    let runs_of_each = env::var("STALL_RUNS").map_or(RUNS, |runs| runs.parse().unwrap());
    let (next, broken) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some(page) = pages.get((n / runs_of_each) as usize) else { break };
                    if let Some(what) = page.broken(n % runs_of_each) {
                        broken.lock().unwrap().push(format!(
                            "{}, run {}: {what}",
                            page.name,
                            n % runs_of_each
                        ));
                    }
                }
            });
        }
    });
    let mut broken = broken.into_inner().unwrap();
    broken.sort();
    let runs = pages.len() as u64 * runs_of_each;
    assert!(broken.is_empty(), "{} of {runs} runs\n{}", broken.len(), broken.join("\n"));
}

fn orders() -> [(&'static str, bool); 2] {
    [("in order", false), ("shaken by up to 60 ms", true)]
}

#[test]
fn a_stalled_page_leaves_no_jump_in_time() {
    let ways = [
        ("Chromium", Browser::Chromium, Style::SmallThenLarge { pieces: 1 }, false),
        ("Chromium in pieces", Browser::Chromium, Style::SmallThenLarge { pieces: 5 }, false),
        ("Chromium in pieces that say so", Browser::Chromium, Style::SmallThenLarge { pieces: 5 }, true),
        ("Firefox", Browser::Firefox, Style::One { pieces: 1 }, false),
        ("Firefox in pieces", Browser::Firefox, Style::One { pieces: 5 }, false),
        ("Firefox in pieces that say so", Browser::Firefox, Style::One { pieces: 5 }, true),
        ("Firefox, small blobs at once", Browser::Firefox, Style::Heap, false),
        ("Ogg", Browser::FirefoxOgg, Style::One { pieces: 1 }, false),
    ];
    let mut pages = Vec::new();
    for s in [2, 5, 10, 24, 60] {
        for (way, browser, style, tells_pieces) in ways {
            for (order, disorder) in orders() {
                let name = format!("{s} s, {way}, {order}");
                let page = Page::new(name, browser, s * 1_000, Some(style), disorder);
                pages.push(Page { tells_pieces, ..page });
            }
        }
    }
    hold(&pages);
}

#[test]
fn a_reconnect_brings_back_all_that_was_kept() {
    let mut pages = Vec::new();
    for s in [10, 60] {
        for browser in [Browser::Chromium, Browser::Firefox, Browser::FirefoxOgg] {
            for (order, disorder) in orders() {
                let name = format!("{s} s away, {browser:?}, {order}");
                pages.push(Page::new(name, browser, s * 1_000, None, disorder));
            }
        }
    }
    hold(&pages);
}

/// The same pages without trouble: what fails above is the trouble's.
#[test]
fn pages_without_trouble_break_nothing() {
    let page = |browser| {
        let page = Page::new(format!("{browser:?}"), browser, 0, None, false);
        Page { script: Script { window: None, ..page.script }, ..page }
    };
    hold(&[Browser::Chromium, Browser::Firefox, Browser::FirefoxOgg].map(page));
}
