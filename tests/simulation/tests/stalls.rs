//! Stalled pages and absent networks: every length, browser, way of handing out and order.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use fastrand::Rng;
use simulation::case::Case;
use simulation::case::blobs::Style;
use simulation::case::kinds::{Kind, Kinds};
use simulation::case::script::{Script, Window};
use simulation::speech::session::Session;
use simulation::speech::webm::Browser;

/// Runs of each.
const RUNS: u64 = 20;
/// Speech before the trouble and after it: long enough for the latency to come back.
const BEFORE_MS: u64 = 5_000;
const AFTER_MS: u64 = 22_000;

/// A page of this browser in this trouble.
fn page(browser: Browser, ms: u64, stall: Option<Style>, disorder: bool) -> Script {
    let window = Some(Window { from_ms: BEFORE_MS, to_ms: BEFORE_MS + ms, stall });
    // Firefox follows its blob with empty ones.
    let empties = stall.is_some() && browser == Browser::Firefox;
    Script { window, disorder, empties, ..Script::new(browser, BEFORE_MS + ms + AFTER_MS) }
}

fn case(script: &Script, seed: u64) -> Case {
    let mut rng = Rng::with_seed(seed);
    let kinds = Kinds::of([Kind::Stall]);
    let session =
        Session { kinds, end_after_ms: Some(100), ..Session::of("s", vec![script.play(&mut rng, 0)]) };
    Case { seed, sessions: vec![session], undisturbed: true, ..Case::quiet() }
}

/// Judges [`RUNS`] of each page; panics with all that broke a promise.
fn hold(pages: &[(String, Script)]) {
    let (next, broken) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some((name, script)) = pages.get((n / RUNS) as usize) else { break };
                    if let Some(violation) = case(script, n % RUNS).judge().first() {
                        broken.lock().unwrap().push(format!("{name}, run {}: {violation}", n % RUNS));
                    }
                }
            });
        }
    });
    let mut broken = broken.into_inner().unwrap();
    broken.sort();
    let runs = pages.len() as u64 * RUNS;
    assert!(broken.is_empty(), "{} of {runs} runs\n{}", broken.len(), broken.join("\n"));
}

fn orders() -> [(&'static str, bool); 2] {
    [("in order", false), ("shaken by up to 60 ms", true)]
}

#[test]
#[ignore = "a stalled page is still taken for a pause"]
fn a_stalled_page_leaves_no_jump_in_time() {
    let ways = [
        ("Chromium", Browser::Chromium, Style::SmallThenLarge { pieces: 1 }),
        ("Chromium in pieces", Browser::Chromium, Style::SmallThenLarge { pieces: 5 }),
        ("Firefox", Browser::Firefox, Style::One { pieces: 1 }),
        ("Firefox in pieces", Browser::Firefox, Style::One { pieces: 5 }),
        ("Firefox, small blobs at once", Browser::Firefox, Style::Heap),
        ("Ogg", Browser::FirefoxOgg, Style::One { pieces: 1 }),
    ];
    let mut pages = Vec::new();
    for s in [2, 5, 10, 24, 60] {
        for (way, browser, style) in ways {
            for (order, disorder) in orders() {
                let script = page(browser, s * 1_000, Some(style), disorder);
                pages.push((format!("{s} s, {way}, {order}"), script));
            }
        }
    }
    hold(&pages);
}

#[test]
#[ignore = "a reconnect's burst in disorder is still written in shreds"]
fn a_reconnect_brings_back_all_that_was_kept() {
    let mut pages = Vec::new();
    for s in [10, 60] {
        for browser in [Browser::Chromium, Browser::Firefox, Browser::FirefoxOgg] {
            for (order, disorder) in orders() {
                pages.push((
                    format!("{s} s away, {browser:?}, {order}"),
                    page(browser, s * 1_000, None, disorder),
                ));
            }
        }
    }
    hold(&pages);
}

/// The same pages without trouble: what fails above is the trouble's.
#[test]
fn pages_without_trouble_break_nothing() {
    let mut pages = Vec::new();
    for browser in [Browser::Chromium, Browser::Firefox, Browser::FirefoxOgg] {
        let script = Script { window: None, ..page(browser, 0, None, false) };
        pages.push((format!("{browser:?}"), script));
    }
    hold(&pages);
}
