//! What goes wrong, and when: all of it follows from the seed.
//!
//! Kinesis Video's faults are chosen per stream and attempt, kills and outages by the clock, the disturbances of deliveries and calls by
//! their number. The same seed gives the same schedule; which batch or process a fault meets is real time's doing.

use std::time::Duration;

use kvs_emulator::{Fault, FaultKind, Operation, Point};
use media::hash::Fnv;

use crate::mapping::{Disturbance, Duplicate};
use crate::proxy::{self, Call};

/// Every ErrorId that the service documents for an acknowledgement, and one that nobody knows (aws-facts 1.4 of the service's
/// API reference: PutMedia, "ErrorId").
pub const ACK_IDS: [u16; 23] = [
    4000, 4001, 4002, 4003, 4004, 4005, 4006, 4007, 4008, 4009, 4010, 4011, 4012, 4500, 4501, 4502, 4503,
    4504, 4505, 4506, 5000, 5001, 4999,
];

/// A batch is written about so often while a session speaks.
const PUT_EVERY_S: f64 = 2.2;
/// Of all attempts to put a fragment, so many meet a fault: most batches pass.
const PUT_FAULTS: f64 = 0.3;
/// The slowest persistence: within the 10 s after the last byte for which the writer promises that nothing is stored twice.
const SLOW_PERSIST_MAX_MS: u64 = 9_000;
/// Mean time between two kills of a worker process. Each kill blocks its sessions until their messages are visible again.
const KILL_EVERY_S: f64 = 5.0;
/// How long each service is away, once per run, but no longer than an eighth of it.
const DYNAMODB_AWAY: Duration = Duration::from_secs(8);
/// The same of SQS, whoever asks: the writer, and the door for what a speaker sends.
const SQS_AWAY: Duration = Duration::from_secs(6);
/// The same of Kinesis Video: every operation, on all streams.
const KINESIS_VIDEO_AWAY: Duration = Duration::from_secs(8);
/// The name of Kinesis Video's outage: its calls do not pass the proxy.
pub const KINESIS_VIDEO: &str = "KinesisVideo";

/// A kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// After the run's beginning.
    pub after: Duration,
    /// From the first moment at which a worker is at work: spreads kills over all steps of an invocation.
    pub into: Duration,
    /// Chooses the process, among those that are busy.
    pub pick: u64,
}

/// A service that is away for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Which, as in [`Call::service`], or [`KINESIS_VIDEO`].
    pub service: &'static str,
    /// From then on, after the run's beginning.
    pub from: Duration,
    /// Until then.
    pub until: Duration,
}

/// The schedule of one run.
#[derive(Clone, Debug)]
pub struct Schedule {
    seed: u64,
    visibility: Duration,
    /// Whether deliveries and calls are disturbed, too.
    everywhere: bool,
    /// Kills of worker processes, in order.
    pub kills: Vec<Kill>,
    /// Outages.
    pub outages: Vec<Outage>,
    /// Kinesis Video's faults.
    pub media: Vec<Fault>,
}

impl Schedule {
    /// The schedule of `seed` for these streams. `visibility` is the queue's: a delivery that is delayed for longer is handed to a
    /// second worker meanwhile.
    pub fn new(seed: u64, streams: &[String], length: Duration, visibility: Duration) -> Self {
        let mut random = random(seed, "run", 0);
        let kills = kills(&mut random, length);
        let away = |random: &mut fastrand::Rng, service, at: f64, time: Duration| {
            let from = length.mul_f64(at + 0.2 * random.f64());
            Outage { service, from, until: from + time.min(length / 8) }
        };
        let outages = vec![
            away(&mut random, "DynamoDB_20120810", 0.15, DYNAMODB_AWAY),
            away(&mut random, KINESIS_VIDEO, 0.4, KINESIS_VIDEO_AWAY),
            away(&mut random, "AmazonSQS", 0.65, SQS_AWAY),
        ];
        let media = media(&mut random, seed, streams, length);
        Self { seed, visibility, everywhere: true, kills, outages, media }
    }

    /// One stream's fragments meet this ErrorId for the whole run; all else is well.
    pub fn one_stream(seed: u64, stream: &str, ack: u16) -> Self {
        let kind =
            FaultKind::ErrorAck { id: ack, code: None, at: Point::Persisted, bare: false, stored: false };
        let (operation, nth, probability, count) = (None, None, None, None);
        let media = vec![Fault { stream: stream.to_owned(), operation, nth, probability, seed, count, kind }];
        let (kills, outages) = (Vec::new(), Vec::new());
        Self { seed, visibility: Duration::ZERO, everywhere: false, kills, outages, media }
    }

    /// When Kinesis Video is away, and what it answers then.
    pub fn kinesis_video_away(&self) -> Option<(Outage, Fault)> {
        let outage = *self.outages.iter().find(|outage| outage.service == KINESIS_VIDEO)?;
        let (error_type, message) = ("ServiceUnavailable".into(), "away".into());
        Some((outage, Fault::new(FaultKind::HttpError { status: 503, error_type, message })))
    }

    /// What happens to the `n`th delivery of the mapping.
    pub fn delivery(&self, n: u64) -> Disturbance {
        let mut random = random(self.seed, "delivery", n);
        let nothing = Disturbance::default();
        match random.f64() {
            _ if !self.everywhere => nothing,
            ..0.03 => Disturbance { duplicate: Duplicate::AtOnce, ..nothing },
            ..0.06 => Disturbance { duplicate: Duplicate::AfterAnswer, ..nothing },
            ..0.075 => Disturbance { drop_deletes: true, ..nothing },
            ..0.12 => Disturbance { delay: Duration::from_millis(random.u64(50..3_000)), ..nothing },
            // Visible again before its worker begins: two workers hold it, one with stale receipts.
            ..0.124 => {
                let late = self.visibility + Duration::from_millis(random.u64(200..1_500));
                Disturbance { delay: late, ..nothing }
            }
            _ => nothing,
        }
    }

    /// What happens to the `n`th call of this operation, `now` after the run's beginning.
    pub fn call(&self, call: &Call, n: u64, now: Duration) -> proxy::Fault {
        if !self.everywhere {
            return proxy::Fault::None;
        }
        let sends = call.operation == "SendMessage";
        let away =
            |outage: &Outage| outage.service == call.service && (outage.from..outage.until).contains(&now);
        if self.outages.iter().any(away) {
            return refuse(503, "ServiceUnavailable");
        }
        let mut random = random(self.seed, &call.operation, n);
        let dynamodb = call.service.starts_with("DynamoDB");
        match random.f64() {
            ..0.010 => proxy::Fault::Delay(Duration::from_millis(random.u64(20..1_000))),
            ..0.018 if dynamodb => refuse(400, "ProvisionedThroughputExceededException"),
            ..0.018 => refuse(403, "RequestThrottled"),
            ..0.024 if dynamodb => refuse(500, "InternalServerError"),
            ..0.024 => refuse(500, "InternalFailure"),
            ..0.032 => proxy::Fault::LoseAnswer,
            // Longer than the functions wait for one try.
            ..0.035 if !sends => proxy::Fault::Hang(Duration::from_millis(2_500)),
            _ => proxy::Fault::None,
        }
    }

    /// A short name for the whole schedule: equal where everything is.
    pub fn digest(&self) -> String {
        let mut text = format!("{:?} {:?} {:?}", self.media, self.kills, self.outages);
        (0..500).for_each(|n| text += &format!("{:?}", self.delivery(n)));
        for (service, operation) in [("AmazonSQS", "SendMessage"), ("DynamoDB_20120810", "PutItem")] {
            let call = Call { service: service.into(), operation: operation.into() };
            (0..500).for_each(|n| text += &format!("{:?}", self.call(&call, n, Duration::MAX)));
        }
        format!("{:08x}", Fnv::of(text.as_bytes()).value() as u32)
    }
}

/// Luck that depends on its arguments alone.
fn random(seed: u64, what: &str, n: u64) -> fastrand::Rng {
    fastrand::Rng::with_seed(Fnv::of(format!("{seed} {what} {n}").as_bytes()).value())
}

fn refuse(status: u16, code: &str) -> proxy::Fault {
    proxy::Fault::Refuse { status, code: code.into() }
}

fn kills(random: &mut fastrand::Rng, length: Duration) -> Vec<Kill> {
    let mut kills = Vec::new();
    let mut at = 0.0;
    loop {
        at += KILL_EVERY_S * (0.4 + 1.2 * random.f64());
        let after = Duration::from_secs_f64(at);
        if after >= length {
            return kills;
        }
        let into = Duration::from_millis(random.u64(..250));
        kills.push(Kill { after, into, pick: random.u64(..) });
    }
}

/// Kinesis Video's faults: every ack error once, as far as there is room, and a mix of all others.
fn media(random: &mut fastrand::Rng, seed: u64, streams: &[String], length: Duration) -> Vec<Fault> {
    let puts = (length.as_secs_f64() / PUT_EVERY_S * 0.85) as u64;
    let mut places: Vec<(usize, u64)> =
        (0..streams.len()).flat_map(|stream| (1..=puts).map(move |nth| (stream, nth))).collect();
    random.shuffle(&mut places);
    places.truncate((places.len() as f64 * PUT_FAULTS).ceil() as usize);
    // Ack errors first: a session that is blocked for long makes fewer attempts than one that is not.
    places.sort_by_key(|(_, nth)| *nth > puts / 3);
    let mut ids = ACK_IDS.to_vec();
    random.shuffle(&mut ids);
    let mut faults: Vec<Fault> = places
        .into_iter()
        .map(|(stream, nth)| {
            let kind = match ids.pop() {
                Some(id) => ack_error(random, id),
                None => put_fault(random),
            };
            let fault = Fault::new(kind).stream(&streams[stream]).nth(nth).count(1);
            fault.operation(Operation::PutMedia)
        })
        .collect();
    faults.extend(other_faults(seed));
    faults
}

fn ack_error(random: &mut fastrand::Rng, id: u16) -> FaultKind {
    let at = [Point::Buffering, Point::Received, Point::Persisted][random.usize(..3)];
    FaultKind::ErrorAck { id, code: None, at, bare: random.bool(), stored: false }
}

/// Something that happens to one PutMedia.
fn put_fault(random: &mut fastrand::Rng) -> FaultKind {
    let cut = |at, stored| FaultKind::Cut { at, stored };
    let http = |status, error_type: &str| FaultKind::HttpError {
        status,
        error_type: error_type.into(),
        message: "refused by the chaos run".into(),
    };
    match random.u8(..20) {
        0 => cut(Point::Buffering, false),
        1 => cut(Point::Received, false),
        2 => cut(Point::Received, true),
        3 => cut(Point::Persisted, false),
        4 | 5 => cut(Point::Persisted, true),
        6..=8 => FaultKind::CutAfterBytes { bytes: random.u64(1..64_000), stored: false },
        9 => FaultKind::NoAcks { stored: false },
        10 => FaultKind::NoAcks { stored: true },
        11 => FaultKind::SplitAcks,
        12 => FaultKind::MergeAcks,
        13 => FaultKind::SlowPersist { ms: random.u64(200..SLOW_PERSIST_MAX_MS) },
        14 => FaultKind::ListLag { ms: random.u64(100..1_200) },
        15 => http(503, ""),
        16 => http(500, "InternalFailure"),
        17 => http(400, ["ConnectionLimitExceededException", "InvalidEndpointException"][random.usize(..2)]),
        18 => FaultKind::Throttle,
        _ => [FaultKind::NoAnswer { done: false }, http(403, "AccessDeniedException")][random.usize(..2)]
            .clone(),
    }
}

/// What happens to the other operations, by chance.
fn other_faults(seed: u64) -> Vec<Fault> {
    use Operation::{CreateStream, DescribeStream, GetDataEndpoint, ListFragments};
    let error = FaultKind::HttpError { status: 503, error_type: String::new(), message: "away".into() };
    let of = |operation, chance: f64| {
        let kinds = [
            FaultKind::Throttle,
            error.clone(),
            FaultKind::NoAnswer { done: true },
            FaultKind::Delay { ms: 700 },
        ];
        let fault = move |kind| Fault::new(kind).operation(operation).probability(chance, seed);
        kinds.into_iter().enumerate().map(move |(i, kind)| Fault { seed: seed ^ i as u64, ..fault(kind) })
    };
    let all =
        [of(CreateStream, 0.1), of(DescribeStream, 0.05), of(GetDataEndpoint, 0.04), of(ListFragments, 0.05)];
    all.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(60);
    const VISIBILITY: Duration = Duration::from_secs(12);

    fn schedule(seed: u64, sessions: usize) -> Schedule {
        let streams: Vec<String> = (0..sessions).map(|n| format!("session-{n}")).collect();
        Schedule::new(seed, &streams, LENGTH, VISIBILITY)
    }

    #[test]
    fn the_same_seed_is_the_same_schedule_and_another_is_another() {
        assert_eq!(schedule(7, 10).digest(), schedule(7, 10).digest());
        assert_ne!(schedule(7, 10).digest(), schedule(8, 10).digest());
    }

    #[test]
    fn ten_sessions_meet_every_ack_error_and_most_of_their_batches_pass() {
        for seed in 0..50 {
            let schedule = schedule(seed, 10);
            let put = |fault: &&Fault| fault.operation == Some(Operation::PutMedia);
            let puts: Vec<&Fault> = schedule.media.iter().filter(put).collect();
            for id in ACK_IDS {
                let answered = |f: &&&Fault| matches!(f.kind, FaultKind::ErrorAck { id: i, .. } if i == id);
                assert_eq!(puts.iter().filter(answered).count(), 1, "seed {seed}: ack error {id}");
            }
            let batches = 10.0 * LENGTH.as_secs_f64() / PUT_EVERY_S;
            assert!((puts.len() as f64) < batches / 3.0, "seed {seed}: {} of {batches}", puts.len());
            assert!(schedule.kills.len() >= 6, "seed {seed}: {:?}", schedule.kills);
            assert!(schedule.kills.iter().all(|kill| kill.after < LENGTH));
        }
    }

    #[test]
    fn every_disturbance_of_deliveries_and_calls_comes_up_but_seldom() {
        let schedule = schedule(1, 1);
        let deliveries: Vec<Disturbance> = (0..2_000).map(|n| schedule.delivery(n)).collect();
        let some = |what: &dyn Fn(&Disturbance) -> bool| deliveries.iter().filter(|d| what(d)).count();
        assert!(some(&|d| d.duplicate == Duplicate::AtOnce) > 20);
        assert!(some(&|d| d.duplicate == Duplicate::AfterAnswer) > 20);
        assert!(some(&|d| d.drop_deletes) > 10);
        assert!(some(&|d| d.delay > VISIBILITY) > 2, "two workers hold one batch");
        assert!(some(&|d| *d == Disturbance::default()) > 1_600);
        let call = Call { service: "DynamoDB_20120810".into(), operation: "PutItem".into() };
        let calls: Vec<proxy::Fault> = (0..5_000).map(|n| schedule.call(&call, n, LENGTH)).collect();
        for expected in [proxy::Fault::LoseAnswer, proxy::Fault::Hang(Duration::from_millis(2_500))] {
            assert!(calls.contains(&expected), "{expected:?}");
        }
        assert!(calls.iter().filter(|fault| **fault == proxy::Fault::None).count() > 4_700);
        let outage = schedule.outages[0];
        assert_eq!(schedule.call(&call, 0, outage.from), refuse(503, "ServiceUnavailable"));
        let (outage, _) = schedule.kinesis_video_away().unwrap();
        assert_eq!(outage.until - outage.from, LENGTH / 8);
    }
}
