//! What ten chunks of 96 KB cost that were made to cost much: CPU of the real writer, in the simulation.

use std::time::Duration;

use recorder::{CHUNK_BYTES, Container, Lacing, Recorder, baits, full_of, packets};
use serde::{Deserialize, Serialize};
use simulation::hostile::{begin, burst};
use simulation::run::{Scenario, run};

use crate::batches::BenchError;
use crate::cpu;

const SESSION: &str = "hostile";
/// Chunks of a kind.
const CHUNKS: usize = 10;
/// The good recording before them has so many chunks, which are written when they come.
const BEFORE: usize = 8;
const BURST_MS: u64 = 30_000;

/// What ten chunks of a kind cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hostile {
    /// The kind.
    pub kind: String,
    /// CPU of all work on them, ms.
    pub core_ms: f64,
    /// CPU of the longest piece of work that held up everything else in its invocation, ms.
    pub longest_ms: f64,
    /// The audio that is written, s.
    pub audio_s: f64,
    /// Chunks that are parked.
    pub parked: usize,
}

/// Ten chunks, and the format that they are sent as.
struct Kind {
    name: String,
    chunks: Vec<Vec<u8>>,
    /// Ogg pages, or a WebM file, came before.
    ogg: bool,
}

impl Kind {
    fn webm(name: &str, chunks: Vec<Vec<u8>>) -> Self {
        Self { name: name.to_owned(), chunks, ogg: false }
    }
}

/// Audio in the shortest or longest packets that there are, of the n-th run of a recorder.
fn laced(n: u64, packet: &[u8], count: usize) -> Vec<u8> {
    let mut recorder = run_of(n, Recorder::plain(20_000_000));
    if let Container::Webm(webm) = &mut recorder.container {
        (webm.lacing, webm.per_block) = (Lacing::Fixed, 256);
    }
    let mut bytes = recorder.record(&vec![packet.to_vec(); count]).bytes;
    bytes.truncate(CHUNK_BYTES);
    bytes
}

fn run_of(n: u64, mut recorder: Recorder) -> Recorder {
    if let Container::Webm(webm) = &mut recorder.container {
        webm.uid += n; // a recorder draws another for each run
    }
    recorder
}

fn kinds() -> Vec<Kind> {
    let ten = |chunk: Vec<u8>| vec![chunk; CHUNKS];
    let runs = |chunk: &dyn Fn(u64) -> Vec<u8>| (1..=CHUNKS as u64).map(chunk).collect();
    let speech = |n: u64| run_of(n, Recorder::chromium()).record(&packets(60_000, 500, n)).bytes;
    let long = laced(1, &[0xe0], 47_000);
    let mut kinds = vec![
        Kind::webm("30 s of speech each", runs(&speech)),
        Kind::webm("47,000 packets of 2.5 ms each", runs(&|n| laced(n, &[0xe0], 47_000))),
        Kind::webm("more packets than there may be", runs(&|n| laced(n, &[0xe0], 95_000))),
        Kind::webm("an hour of audio each", runs(&|n| laced(n, &[0xfb, 0x06], 45_000))),
    ];
    for (name, bait) in baits() {
        let chunk = full_of(&bait);
        let with_audio: Vec<Vec<u8>> =
            [long.clone()].into_iter().chain((1..CHUNKS).map(|_| chunk.clone())).collect();
        kinds.push(Kind::webm(name, ten(chunk.clone())));
        kinds.push(Kind { ogg: true, ..Kind::webm(&format!("{name}, in Ogg"), ten(chunk)) });
        kinds.push(Kind::webm(&format!("{name}, behind 117 s of audio"), with_audio));
    }
    kinds
}

fn scenario(kind: &Kind, with_burst: bool) -> Scenario {
    let format = if kind.ogg { "ogg-opus" } else { "webm-opus" };
    let recorder = if kind.ogg { Recorder::firefox_ogg() } else { Recorder::plain(300_000) };
    let before = recorder
        .record(&packets(60_000, BEFORE * 5, 7))
        .blobs(&recorder::Cut::AtElement { timeslice_us: 300_000 });
    let hostile = burst(SESSION, before.len(), &kind.chunks, format, BURST_MS);
    let arrivals = [begin(SESSION)].into_iter();
    let mut arrivals: Vec<_> = arrivals.chain(burst(SESSION, 0, &before, format, 0)).collect();
    if with_burst {
        arrivals.extend(hostile);
    }
    Scenario { arrivals, full_deliveries: true, cpu: Some(cpu::thread), ..Scenario::default() }
}

fn measure_one(kind: &Kind) -> Result<Hostile, BenchError> {
    let (with, without) = (run(&scenario(kind, true)), run(&scenario(kind, false)));
    if !with.drained {
        return Err(BenchError::Wrong(format!("{}: the queue never drains", kind.name)));
    }
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    let samples = |outcome: &simulation::run::Outcome| {
        let stream = outcome.world.streams.by_session.get(SESSION);
        stream.map_or(0, |stream| stream.fragments.iter().map(|f| f.media.samples().0).sum::<u64>())
    };
    Ok(Hostile {
        kind: kind.name.clone(),
        core_ms: ms(with.busy.0.saturating_sub(without.busy.0)),
        longest_ms: ms(with.busy.1),
        audio_s: (samples(&with) - samples(&without)) as f64 / 16_000.0,
        parked: with.parked.len(),
    })
}

/// Measures each kind once.
///
/// # Errors
/// [`BenchError::Wrong`] if the chunks do not come to an end.
pub fn measure() -> Result<Vec<Hostile>, BenchError> {
    kinds().iter().map(measure_one).collect()
}
