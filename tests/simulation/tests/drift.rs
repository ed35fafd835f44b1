//! A recorder whose clock is up to a percent off, for hours: no sample is dropped, doubled or stamped in the future, and the
//! audio stays live.
#![allow(clippy::unwrap_used)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use simulation::run::{Arrival, Incident, Scenario, run};
use simulation::scenario::{Fragment, Line, Summary, report};
use simulation::speech::session::BEGIN_MS;
use simulation::speech::tape::{LONG, tape};
use simulation::speech::webm::{block, header};
use writer::ports::SessionStatus;

/// Audio of a chunk: 5 packets of 60 ms.
const CHUNK_MS: u64 = 300;
const PACKETS: usize = 5;
/// The oldest live audio, of all but one in a hundred fragments.
const AGE_MS: i64 = 4_000;
/// How far a fragment may be from its true time.
const TRUE_WITHIN_MS: i64 = 600;

/// Where a fragment's time is scaled to a slower clock, its last block of 100 ms reaches so far into the next one's.
const SCALED_MS: u64 = 3;

/// When a chunk's audio has ended, in ms after the session's start; the recorder's clock is fast by `ppm`.
fn ended_ms(chunk: u64, ppm: i64) -> u64 {
    (chunk + 1) * CHUNK_MS * 1_000_000 / (1_000_000 + ppm) as u64
}

/// A Chromium page that speaks for `hours`, its tape over and over.
fn arrivals(hours: f64, ppm: i64) -> Vec<Arrival> {
    let tape = tape(LONG[0]);
    let mut arrivals =
        vec![Arrival { at_ms: BEGIN_MS, what: Incident::Status("s".into(), SessionStatus::Active) }];
    for chunk in 0..(hours * 3_600_000.0) as u64 / CHUNK_MS {
        let first = chunk as usize * PACKETS;
        let mut audio = if chunk == 0 { header(tape.browser, 1) } else { Vec::new() };
        for at in first..first + PACKETS {
            audio.extend(block(tape.browser, at, tape.packet(at % tape.packets())));
        }
        let captured_ms = BEGIN_MS + ended_ms(chunk, ppm);
        let body = json!({"action": "writeToStream", "sessionId": "s", "format": "webm-opus", "chunkIndex": chunk,
            "timestamp": captured_ms, "audioData": STANDARD.encode(audio)});
        let (group, deduplication) = ("s".to_owned(), chunk.to_string());
        let what = Incident::Message { group, deduplication, body: body.to_string() };
        arrivals.push(Arrival { at_ms: captured_ms + 40, what });
    }
    arrivals
}

fn speak(hours: f64, ppm: i64) -> (Vec<Fragment>, Summary) {
    let arrivals = arrivals(hours, ppm);
    let outcome = run(&Scenario { arrivals, full_deliveries: true, ..Scenario::default() });
    let (mut fragments, mut summary) = (Vec::new(), Summary::default());
    for line in report(&outcome) {
        match line {
            Line::Fragment(fragment) => fragments.push(fragment),
            Line::Summary(sums) => summary = sums,
            Line::Parked(_) | Line::Event(_) => {}
        }
    }
    fragments.sort_by_key(|fragment| fragment.at_ms);
    (fragments, summary)
}

fn stays_live(hours: f64, ppm: i64) {
    let (fragments, summary) = speak(hours, ppm);
    assert_eq!((summary.parked, summary.gaps_opened), (0, 0), "{ppm} ppm: messages are parked, gaps opened");
    let chunks = (hours * 3_600_000.0) as u64 / CHUNK_MS;
    assert_eq!(summary.audio_ms, (chunks * CHUNK_MS) as f64, "{ppm} ppm: audio is dropped or doubled");
    let overlap = fragments.windows(2).find(|pair| pair[1].at_ms + SCALED_MS < pair[0].end_ms);
    assert!(overlap.is_none(), "{ppm} ppm: fragments overlap: {overlap:?}");
    let truly = |chunk: u64| (BEGIN_MS + ended_ms(chunk, ppm)) as i64;
    let mut ages: Vec<i64> = Vec::new();
    for fragment in &fragments {
        let off_ms = fragment.end_ms as i64 - truly(fragment.chunk_last.unwrap());
        assert!(off_ms.abs() <= TRUE_WITHIN_MS, "{ppm} ppm: {off_ms} ms off its true time: {fragment:?}");
        assert!(fragment.at_ms <= fragment.stored_ms, "{ppm} ppm: stamped in the future: {fragment:?}");
        ages.push(fragment.stored_ms as i64 - truly(fragment.chunk_last.unwrap()));
    }
    ages.sort_unstable();
    let p99_ms = ages[ages.len() * 99 / 100];
    assert!(p99_ms <= AGE_MS, "{ppm} ppm: the audio is {p99_ms} ms old when it is stored (p99)");
}

#[test]
fn a_true_clock_stays_live_for_ten_minutes() {
    stays_live(1.0 / 6.0, 0);
}

#[test]
fn a_clock_that_is_a_percent_off_stays_live_for_hours() {
    stays_live(3.0, 10_000);
    for ppm in [-10_000, -2_000, 2_000] {
        stays_live(1.0, ppm);
    }
}
