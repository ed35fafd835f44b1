//! Everything outside the workers: the models, what goes wrong, what was seen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use writer::event::Event;
use writer::ports::SessionStatus;

use crate::faults::{Call, Fate, Fault, Op};
use crate::model::queue::{Queue, QueueConfig};
use crate::model::store::Store;
use crate::model::stream::Streams;

/// Something that happens by itself later.
type Later = Box<dyn FnOnce(&mut World, u64) + Send>;

/// How the services behave.
#[derive(Clone, Copy, Debug)]
pub struct Services {
    /// The queue's attributes.
    pub queue: QueueConfig,
    /// A call's time, to and fro, in ms: at least and at most.
    pub call_ms: (u64, u64),
    /// PutMedia's time from the connection to PERSISTED.
    pub put_ms: (u64, u64),
    /// How long a fragment may stay unseen by ListFragments, from PERSISTED.
    pub list_lag_ms: u64,
    /// How long after a broken connection the service may still persist what it received.
    pub persist_lag_ms: u64,
    /// How long a broken connection may keep the stream's one place.
    pub linger_ms: u64,
}

impl Default for Services {
    fn default() -> Self {
        Self {
            queue: QueueConfig { visibility_ms: 15_000, max_receive_count: 100 },
            call_ms: (2, 20),
            put_ms: (60, 400),
            list_lag_ms: 1_400,
            persist_lag_ms: 500,
            linger_ms: 1_500,
        }
    }
}

/// The world; workers share it behind one lock.
pub struct World {
    /// How the services behave.
    pub services: Services,
    /// SQS.
    pub queue: Queue,
    /// DynamoDB.
    pub store: Store,
    /// Kinesis Video.
    pub streams: Streams,
    /// The Sessions table.
    pub sessions: BTreeMap<String, SessionStatus>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// Every event of every worker, with its time.
    pub events: Vec<(u64, Event)>,
    /// Every call and its fate, if wanted.
    pub trace: Option<Vec<String>>,
    /// All that was handed to a service to keep, if wanted: what it is, and its bytes.
    pub journal: Option<Vec<(String, Vec<u8>)>>,
    /// Calls so far.
    pub calls: u64,
    rng: fastrand::Rng,
    calls_by_op: BTreeMap<Op, u64>,
    calls_by_session: BTreeMap<(Op, String), u64>,
    later: BTreeMap<(u64, u64), Later>,
    scheduled: u64,
    stamps: u64,
}

/// The world, shared.
pub type Shared = Arc<Mutex<World>>;

impl World {
    /// A world in which nothing has happened.
    pub fn new(services: Services, faults: Vec<Fault>, seed: u64) -> Self {
        Self {
            services,
            queue: Queue::new(services.queue),
            store: Store::default(),
            streams: Streams::default(),
            sessions: BTreeMap::new(),
            faults,
            events: Vec::new(),
            trace: None,
            journal: None,
            calls: 0,
            rng: fastrand::Rng::with_seed(seed),
            calls_by_op: BTreeMap::new(),
            calls_by_session: BTreeMap::new(),
            later: BTreeMap::new(),
            scheduled: 0,
            stamps: 0,
        }
    }

    /// A number from `range.0` to `range.1`, both included.
    pub fn draw(&mut self, range: (u64, u64)) -> u64 {
        self.rng.u64(range.0..=range.1)
    }

    /// Counts a call; returns its fate, `None` where nothing is wrong with it.
    pub fn fate(&mut self, op: Op, session: &str, now_ms: u64) -> Option<Fate> {
        let nth = count(self.calls_by_session.entry((op, session.to_owned())).or_default());
        let nth_of_all = count(self.calls_by_op.entry(op).or_default());
        let call = Call { op, session, number: count(&mut self.calls), nth, nth_of_all, now_ms };
        let fate = self.faults.iter().find(|fault| fault.hits(&call)).map(|fault| fault.fate.clone());
        if self.trace.is_some() {
            let fate = fate.as_ref().map_or(String::new(), |fate| format!(" -> {fate:?}"));
            self.note(now_ms, format!("call {} {op:?} {session}{fate}", self.calls - 1));
        }
        fate
    }

    /// A number that was not given before.
    pub fn stamp(&mut self) -> u64 {
        self.stamps += 1;
        self.stamps
    }

    /// Writes a line of the trace, if wanted.
    pub fn note(&mut self, now_ms: u64, line: String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{now_ms} {line}"));
        }
    }

    /// Keeps what a service was handed, if wanted.
    pub fn keep(&mut self, what: impl FnOnce() -> String, bytes: impl FnOnce() -> Vec<u8>) {
        if let Some(journal) = &mut self.journal {
            journal.push((what(), bytes()));
        }
    }

    /// Lets something happen at `at_ms`, whoever lives then.
    pub fn at(&mut self, at_ms: u64, what: impl FnOnce(&mut Self, u64) + Send + 'static) {
        self.scheduled += 1;
        self.later.insert((at_ms, self.scheduled), Box::new(what));
    }

    /// When the next thing happens by itself.
    pub fn next_ms(&self) -> Option<u64> {
        self.later.first_key_value().map(|((at, _), _)| *at)
    }

    /// Lets happen what is due.
    pub fn happen(&mut self, now_ms: u64) {
        while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= now_ms) {
            let ((at_ms, _), what) = entry.remove_entry();
            what(self, at_ms);
        }
    }
}

/// Counts one more; returns how many there were before.
fn count(counter: &mut u64) -> u64 {
    *counter += 1;
    *counter - 1
}
