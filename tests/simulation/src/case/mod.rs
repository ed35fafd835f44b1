//! A case: speakers and what goes wrong, all of it drawn from a seed, and small enough to print.

pub mod blobs;
pub mod kinds;
pub mod script;
mod services;
mod speaker;

use fastrand::Rng;
use writer::Config;

use self::kinds::{Kind, Kinds};
use self::speaker::speaker;
use crate::evidence::Evidence;
use crate::faults::{Failure, Fate, Fault, On, Op};
use crate::invariants::{Violation, check};
use crate::once;
use crate::run::{Double, Outcome, Scenario, run};
use crate::speech::file::File;
use crate::speech::session::{BEGIN_MS, Bad, Chunk, Passage, Session, Take};
use crate::speech::tape::{TAPES, tape};
use crate::world::Services;

/// Acknowledgement errors that the service may answer with (aws-facts 1.4), and one that is not documented.
const ACKS: [u32; 8] = [4000, 4003, 4004, 4006, 4008, 5000, 5001, 4999];

/// Speakers and what goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Where it comes from; it also decides latencies and how deliveries are put together.
    pub seed: u64,
    /// Concurrent invocations.
    pub processes: usize,
    /// Speakers.
    pub sessions: Vec<Session>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// Deliveries made twice.
    pub doubles: Vec<Double>,
    /// Nothing goes wrong with services and workers, and deliveries hold as many records as they can: the live audio is held
    /// against what is promised of it.
    pub undisturbed: bool,
}

impl Case {
    /// Nobody speaks, and nothing goes wrong.
    pub fn quiet() -> Self {
        let (sessions, faults, doubles) = (Vec::new(), Vec::new(), Vec::new());
        Self { seed: 1, processes: 2, sessions, faults, doubles, undisturbed: false }
    }

    /// When the first session begins.
    pub fn begins_ms(&self) -> u64 {
        self.sessions.iter().map(|session| session.begins_ms).min().unwrap_or(BEGIN_MS)
    }

    /// Draws a case, with some kinds of trouble.
    pub fn draw(seed: u64, kinds: Kinds) -> Self {
        let mut case = Self::draw_base(seed);
        if !kinds.of_speakers().is_empty() {
            case.trouble(kinds);
        }
        if kinds.iter().any(Kind::is_of_services) {
            services::trouble(&mut case, kinds);
        }
        case
    }

    /// Most sessions become speakers with some of these kinds; in every other case no service fails.
    fn trouble(&mut self, kinds: Kinds) {
        let mut rng = Rng::with_seed(!self.seed);
        for (number, session) in self.sessions.iter_mut().enumerate() {
            if number == 0 || rng.bool() {
                *session = speaker(&mut rng, number, kinds);
            }
        }
        self.undisturbed = rng.bool();
        if self.undisturbed {
            self.faults.clear();
            self.doubles.clear();
        }
    }

    /// Draws a case with none of them.
    fn draw_base(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let sessions: Vec<Session> = (0..few(&mut rng, 3)).map(|n| session(&mut rng, n)).collect();
        let mut case = Self { seed, processes: rng.usize(1..=4), sessions, ..Self::quiet() };
        let chunks = case.chunks();
        let calls = chunks as u64 * 6;
        if rng.u8(0..10) < 4 {
            case.faults.extend((0..few(&mut rng, 4)).map(|_| crash(&mut rng, calls)));
        }
        if rng.u8(0..10) < 5 {
            let faults: Vec<Fault> = (0..few(&mut rng, 6)).map(|_| failing_call(&mut rng, &case)).collect();
            case.faults.extend(faults);
        }
        if rng.u8(0..10) < 3 {
            let outage = outage(&mut rng, &case);
            case.faults.push(outage);
        }
        if rng.u8(0..10) < 3 {
            case.doubles = (0..few(&mut rng, 3))
                .map(|_| Double { nth: rng.u64(0..chunks as u64), after_ms: rng.u64(1..3_000) })
                .collect();
        }
        case
    }

    /// Chunks of all sessions.
    pub fn chunks(&self) -> usize {
        self.sessions.iter().flat_map(|s| &s.takes).map(|t| t.chunks.len()).sum()
    }

    /// The case as a scenario.
    pub fn scenario(&self, trace: bool) -> Scenario {
        let mut arrivals: Vec<_> = self.sessions.iter().flat_map(Session::arrivals).collect();
        arrivals.sort_by_key(|arrival| arrival.at_ms);
        Scenario {
            seed: self.seed,
            services: Services::default(),
            config: Config { retry_jitter: 0.0, ..Config::default() },
            processes: self.processes,
            arrivals,
            doubles: self.doubles.clone(),
            faults: self.faults.clone(),
            full_deliveries: self.undisturbed,
            redrives: 3,
            trace,
            ..Scenario::default()
        }
    }

    /// Runs it and holds what is left against the promises.
    pub fn judge(&self) -> Vec<Violation> {
        self.judge_traced(false).1
    }

    /// As [`Case::judge`], with the run.
    pub fn judge_traced(&self, trace: bool) -> (Outcome, Vec<Violation>) {
        let mut outcome = run(&self.scenario(trace));
        let mut violations = Vec::new();
        if self.persists_too_late() {
            violations.extend(once::read_once(&mut outcome));
        }
        let evidence =
            Evidence { undisturbed: self.undisturbed, ..Evidence::gather(&self.sessions, &outcome, true) };
        violations.extend(check(&evidence));
        drop(evidence);
        (outcome, violations)
    }

    /// Whether a fragment may be persisted later than the writer waits for: then it may be there twice, once for a reader.
    fn persists_too_late(&self) -> bool {
        let within_ms = Config::default().persisted_within_ms;
        self.faults.iter().any(|fault| matches!(fault.fate, Fate::FailLate(_, ms) if ms > within_ms))
    }
}

/// A page's first chunk: if it came after a chunk whose index the last page was just waiting for, or after another page,
/// nobody could tell whose is whose.
fn in_time(chunk: &mut Chunk, first_page: bool, chunks_before: usize) {
    chunk.passage = match chunk.passage {
        Passage::Sent(ms) if first_page || chunks_before > 6 => Passage::Sent(ms.min(1_200)),
        Passage::Sent(ms) => Passage::Sent(ms.min(200)),
        passage if first_page => passage,
        _ => Passage::Sent(40),
    };
}

/// 1 to `most`, small numbers first.
fn few(rng: &mut Rng, most: usize) -> usize {
    let most = rng.usize(1..=most);
    rng.usize(1..=most)
}

fn session(rng: &mut Rng, number: usize) -> Session {
    let firefox = rng.bool();
    let mut tapes: Vec<usize> = (0..TAPES).map(|tape| tape + usize::from(firefox) * TAPES).collect();
    rng.shuffle(&mut tapes);
    let mut session = Session {
        name: format!("s{number}"),
        begins_ms: BEGIN_MS + rng.u64(0..3_000),
        skew_ms: *rng.choice(&[0, 0, 0, -3_000, 1_500, 45_000]).unwrap_or(&0),
        clock_set: Vec::new(),
        tells_connection: rng.bool(),
        takes: Vec::new(),
        end_after_ms: rng.bool().then(|| rng.u64(20..400)),
        ended: None,
        kinds: Kinds::NONE,
    };
    let (mut connection, mut at_ms, mut on_page, mut before) = (0, 0, 0, 0);
    for tape in tapes.into_iter().take(few(rng, 4)) {
        let new_page = !session.takes.is_empty() && rng.u8(0..3) == 0;
        connection += u32::from(new_page || rng.u8(0..5) == 0);
        on_page = if new_page { 0 } else { on_page };
        let mut take = take(rng, tape, new_page, connection, at_ms);
        if on_page == 0 {
            in_time(&mut take.chunks[0], session.takes.is_empty(), before);
        }
        before = take.chunks.len() + on_page;
        on_page = before;
        at_ms = take.chunks.last().map_or(at_ms, |chunk| chunk.handed_out_ms) + rng.u64(20..400);
        at_ms += if new_page || rng.u8(0..4) == 0 { rng.u64(500..8_000) } else { 0 };
        session.takes.push(take);
    }
    session
}

fn take(rng: &mut Rng, number: usize, new_page: bool, connection: u32, begin_ms: u64) -> Take {
    let uid = rng.u64(..);
    let count = few(rng, 24);
    let browser = tape(number).browser;
    let ends = File::of(number, uid, None).ends;
    let mut take = Take {
        tape: number,
        uid,
        muxer: None,
        new_page,
        connection,
        reconnects: Vec::new(),
        chunks: Vec::new(),
    };
    let ragged = rng.u8(0..4) == 0;
    let mischief = rng.u8(0..3) == 0;
    let (mut packets, mut paused_ms) = (0, 0);
    let packet_ms = browser.frames_per_packet() as u64 * 20;
    for n in 0..count {
        let last = n + 1 == count;
        let usual = browser.packets_per_chunk() - usize::from(n == 0);
        packets += if last { rng.usize(1..=usual) } else { usual };
        if packets + 2 >= ends.len() {
            break;
        }
        let over = match (ragged, last) {
            (_, true) => 0,
            (true, _) => rng.usize(0..ends[packets + 1] - ends[packets]),
            (false, _) => usize::from(browser == super::speech::webm::Browser::Chromium),
        };
        if n > 0 && rng.u8(0..30) == 0 {
            paused_ms += rng.u64(700..9_000);
        }
        let handed_out_ms = begin_ms + paused_ms + packets as u64 * packet_ms + rng.u64(0..30);
        let before_ms = take.chunks.last().map_or(0, |last: &Chunk| last.handed_out_ms);
        take.chunks.push(Chunk {
            passage: if mischief { passage(rng) } else { Passage::Sent(rng.u64(15..90)) },
            resent_after_ms: (mischief && rng.u8(0..10) == 0).then(|| rng.u64(50..9_000)),
            ..Chunk::new(ends[packets] + over, before_ms.max(handed_out_ms))
        });
    }
    take
}

fn passage(rng: &mut Rng) -> Passage {
    let bad = [Bad::NotJson, Bad::NotBase64, Bad::Noise, Bad::Stub];
    match rng.u8(0..40) {
        0 => Passage::Lost,
        1 => Passage::Bad(*rng.choice(&bad).unwrap_or(&Bad::NotJson)),
        2 | 3 => Passage::Sent(rng.u64(300..1_200)),
        4 => Passage::Sent(rng.u64(1_200..30_000)),
        _ => Passage::Sent(rng.u64(15..90)),
    }
}

fn crash(rng: &mut Rng, calls: u64) -> Fault {
    let fate = if rng.bool() { Fate::CrashBefore } else { Fate::CrashAfter };
    Fault { on: On::Call(rng.u64(0..calls)), fate }
}

fn failure(rng: &mut Rng, op: Op) -> Failure {
    match rng.u8(0..8) {
        0..3 if op == Op::Put => Failure::Ack(*rng.choice(&ACKS).unwrap_or(&5000)),
        0 => Failure::Denied,
        1 | 2 => Failure::Throttled,
        3 => Failure::Internal,
        4 | 5 => Failure::TimedOut,
        _ => Failure::Disconnected,
    }
}

fn fate(rng: &mut Rng, op: Op) -> Fate {
    let failure = failure(rng, op);
    match rng.u8(0..7) {
        0 if failure.outcome_known() => Fate::Fail(failure),
        0 => Fate::FailLate(failure, rng.u64(1..400)),
        1 => Fate::Slow(rng.u64(100..6_000)),
        2 | 3 if !failure.outcome_known() => Fate::FailAfter(failure),
        _ => Fate::Fail(failure),
    }
}

fn failing_call(rng: &mut Rng, case: &Case) -> Fault {
    let op = *rng
        .choice(&[Op::Put, Op::Put, Op::Save, Op::Park, Op::Find, Op::Hide, Op::SaveSnapshot, Op::Load])
        .unwrap_or(&Op::Put);
    let session = match op {
        Op::Hide => String::new(),
        _ => case.sessions[rng.usize(0..case.sessions.len())].name.clone(),
    };
    let n = rng.u64(0..(case.chunks() as u64 / 2).max(2));
    Fault { on: On::Nth { op, session, n }, fate: fate(rng, op) }
}

fn outage(rng: &mut Rng, case: &Case) -> Fault {
    let op =
        *rng.choice(&[Op::Put, Op::Put, Op::Put, Op::Save, Op::Load, Op::Park, Op::Find]).unwrap_or(&Op::Put);
    let session = rng.bool().then(|| case.sessions[rng.usize(0..case.sessions.len())].name.clone());
    let from_ms = BEGIN_MS + rng.u64(0..8_000);
    let to_ms = from_ms + rng.u64(500..60_000);
    Fault { on: On::During { op, session, from_ms, to_ms }, fate: Fate::Fail(failure(rng, op)) }
}
