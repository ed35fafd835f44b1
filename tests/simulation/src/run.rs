//! Runs a scenario: an event source mapping hands the queue's messages to worker processes until all is drained.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use ingest::message::Record;
use media::time::EpochMs;
use writer::ports::SessionStatus;
use writer::{Answer, Config, Writer};

use crate::clock::{Clock, lock};
use crate::faults::{Fault, On};
use crate::model::queue::Dead;
use crate::ports::Worker;
use crate::world::{Services, Shared, World};

/// No scenario may go on for longer once all has arrived.
const MOST_MS: u64 = 6 * 3_600_000;

/// Something that reaches the system from outside.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// When.
    pub at_ms: u64,
    /// What happened.
    pub what: Incident,
}

/// See [`Arrival`].
#[derive(Clone, Debug)]
pub enum Incident {
    /// A message is sent to the queue.
    Message {
        /// `MessageGroupId`.
        group: String,
        /// `MessageDeduplicationId`.
        deduplication: String,
        /// Its body.
        body: String,
    },
    /// The Sessions table changes.
    Status(String, SessionStatus),
}

/// A delivery that a second worker gets as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Double {
    /// The n-th delivery of the run, from 0.
    pub nth: u64,
    /// So much later.
    pub after_ms: u64,
}

/// All that determines a run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Decides latencies, and how deliveries are put together.
    pub seed: u64,
    /// How the services behave.
    pub services: Services,
    /// How the writer behaves.
    pub config: Config,
    /// Concurrent invocations.
    pub processes: usize,
    /// The function's time-out.
    pub function_ms: u64,
    /// What comes, in order of time.
    pub arrivals: Vec<Arrival>,
    /// Deliveries made twice.
    pub doubles: Vec<Double>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// Deliveries hold as many records as they can. Otherwise some hold fewer, as SQS likes.
    pub full_deliveries: bool,
    /// How often an operator redrives what services' failures have parked: 30 s after the queue has drained and the last
    /// outage is over.
    pub redrives: u32,
    /// Where the queue has not drained by then, the run ends, or goes on to its first redrive.
    pub until_ms: Option<u64>,
    /// Whether to keep a trace.
    pub trace: bool,
    /// Whether to keep all that services are handed to store.
    pub journal: bool,
    /// The CPU time so far, where it is to be known what the writer takes of it.
    pub cpu: Option<fn() -> Duration>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            seed: 0,
            services: Services::default(),
            config: Config { retry_jitter: 0.0, ..Config::default() },
            processes: 4,
            function_ms: 10_000,
            arrivals: Vec::new(),
            doubles: Vec::new(),
            faults: Vec::new(),
            full_deliveries: false,
            redrives: 0,
            until_ms: None,
            trace: false,
            journal: false,
            cpu: None,
        }
    }
}

impl Scenario {
    /// When the last stretch of failing calls is over: no operator redrives into an outage.
    fn outages_end_ms(&self) -> u64 {
        let ends = self.faults.iter().filter_map(|fault| match fault.on {
            On::During { to_ms, .. } => Some(to_ms),
            On::Call(_) | On::Nth { .. } | On::Calls { .. } => None,
        });
        ends.max().unwrap_or_default()
    }
}

/// What is left after a run.
pub struct Outcome {
    /// The world at its end.
    pub world: World,
    /// What lay in the dead-letter queue when the queue had drained, before any redrive.
    pub parked: Vec<Dead>,
    /// What redrives took out of the dead-letter queue, in that order.
    pub redriven: Vec<Dead>,
    /// Whether the queue drained: at the end, and before each redrive that did not come at `until_ms`.
    pub drained: bool,
    /// Invocations made.
    pub invocations: u64,
    /// CPU time of the writer: in all, and the longest that one invocation held up everybody else.
    pub busy: (Duration, Duration),
    /// When it ended.
    pub end_ms: u64,
}

struct Process {
    worker: Worker,
    writer: Arc<Writer<Worker>>,
}

struct Invocation {
    process: Process,
    records: Vec<Record>,
    work: Pin<Box<dyn Future<Output = Answer> + Send>>,
    woken: Arc<Woken>,
    ends_ms: u64,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Run<'a> {
    scenario: &'a Scenario,
    clock: Clock,
    world: Shared,
    idle: Vec<Process>,
    invocations: Vec<Invocation>,
    second: Vec<(u64, Vec<Record>)>,
    started: u64,
    arrived: usize,
    redriven: Vec<Dead>,
    busy: (Duration, Duration),
}

/// How long an operator waits after the last failure.
const REDRIVEN_AFTER_MS: u64 = 30_000;

/// Runs a scenario to its end.
pub fn run(scenario: &Scenario) -> Outcome {
    let begin_ms = scenario.arrivals.first().map_or(0, |arrival| arrival.at_ms);
    let mut world = World::new(scenario.services, scenario.faults.clone(), scenario.seed);
    world.trace = scenario.trace.then(Vec::new);
    world.journal = scenario.journal.then(Vec::new);
    let mut run = Run {
        scenario,
        clock: Clock::at(begin_ms),
        world: Arc::new(Mutex::new(world)),
        idle: Vec::new(),
        invocations: Vec::new(),
        second: Vec::new(),
        started: 0,
        arrived: 0,
        redriven: Vec::new(),
        busy: (Duration::ZERO, Duration::ZERO),
    };
    run.idle = (0..scenario.processes).map(|_| run.process()).collect();
    let mut drained = run.drain(scenario.until_ms.unwrap_or_else(|| run.most_ms()));
    let parked = lock(&run.world).queue.dead.clone();
    let interrupted_ms = scenario.until_ms.filter(|_| !drained);
    run.clock.advance_to(interrupted_ms.unwrap_or_else(|| scenario.outages_end_ms()));
    drained |= interrupted_ms.is_some() && scenario.redrives > 0; // what is open goes on after the redrive
    for _ in 0..scenario.redrives {
        run.pass_until(run.clock.now_ms() + REDRIVEN_AFTER_MS);
        run.redrive();
        drained &= run.drain(run.most_ms());
    }
    run.outcome(drained, parked)
}

impl Run<'_> {
    fn process(&self) -> Process {
        let worker = Worker::new(self.world.clone(), self.clock.clone());
        let writer = Arc::new(Writer::new(worker.clone(), self.scenario.config.clone()));
        Process { worker, writer }
    }

    /// When a run that has not drained is given up.
    fn most_ms(&self) -> u64 {
        let last_ms = self.scenario.arrivals.last().map_or(0, |arrival| arrival.at_ms);
        self.clock.now_ms().max(last_ms) + MOST_MS
    }

    /// Lets time pass, whatever happens meanwhile.
    fn pass_until(&mut self, now_ms: u64) {
        self.drain(now_ms);
        self.clock.advance_to(now_ms);
    }

    /// Goes on until nothing is left to do; `false` if that takes too long.
    fn drain(&mut self, until_ms: u64) -> bool {
        loop {
            let now_ms = self.clock.now_ms();
            lock(&self.world).happen(now_ms);
            self.arrive(now_ms);
            self.work(now_ms);
            self.deliver(now_ms);
            if self.invocations.iter().any(|i| i.woken.0.load(Ordering::Relaxed)) {
                continue;
            }
            match self.next_ms(now_ms) {
                None => return true,
                Some(next_ms) if next_ms > until_ms => return false,
                Some(next_ms) => self.clock.advance_to(next_ms),
            }
        }
    }

    /// The next moment at which something changes.
    fn next_ms(&self, now_ms: u64) -> Option<u64> {
        let world = lock(&self.world);
        let next = [
            self.clock.next_timer_ms(),
            self.scenario.arrivals.get(self.arrived).map(|arrival| arrival.at_ms),
            self.second.iter().map(|(at, _)| *at).min(),
            self.invocations.iter().map(|i| i.ends_ms).min(),
            world.next_ms(),
            world.queue.next_visible_ms(now_ms),
        ];
        next.into_iter().flatten().min().map(|at| at.max(now_ms + 1))
    }

    fn arrive(&mut self, now_ms: u64) {
        while let Some(arrival) = self.scenario.arrivals.get(self.arrived).filter(|a| a.at_ms <= now_ms) {
            self.arrived += 1;
            let mut world = lock(&self.world);
            match arrival.what.clone() {
                Incident::Status(session, status) => _ = world.sessions.insert(session, status),
                Incident::Message { group, deduplication, body } => {
                    let id = world.queue.send(&group, &deduplication, body, now_ms);
                    world.note(now_ms, format!("send {group} {deduplication} as {id:?}"));
                }
            }
        }
    }

    /// Drives every invocation that can go on, ends those that are done, kills those that are dead or out of time.
    fn work(&mut self, now_ms: u64) {
        let mut at = 0;
        while at < self.invocations.len() {
            let invocation = &mut self.invocations[at];
            let (mut done, mut panicked) = (None, false);
            if invocation.woken.0.swap(false, Ordering::Relaxed) {
                let waker = Waker::from(invocation.woken.clone());
                let from = self.scenario.cpu.map(|cpu| cpu());
                let poll = || invocation.work.as_mut().poll(&mut Context::from_waker(&waker));
                match catch_unwind(AssertUnwindSafe(poll)) {
                    Ok(Poll::Ready(answer)) => done = Some(answer),
                    Ok(Poll::Pending) => {}
                    Err(_) => panicked = true, // the process ends with it
                }
                if let Some((cpu, from)) = self.scenario.cpu.zip(from) {
                    let took = cpu().saturating_sub(from);
                    self.busy = (self.busy.0 + took, self.busy.1.max(took));
                }
            }
            let killed = panicked || invocation.process.worker.is_dead() || invocation.ends_ms <= now_ms;
            match done {
                Some(answer) => {
                    let invocation = self.invocations.remove(at);
                    self.acknowledge(&invocation.records, &answer, now_ms);
                    self.idle.push(invocation.process);
                }
                None if killed => {
                    self.invocations.remove(at);
                    lock(&self.world).note(now_ms, "a worker died".to_owned());
                    self.idle.push(self.process());
                }
                None => at += 1,
            }
        }
        self.idle.truncate(self.scenario.processes);
    }

    /// The mapping deletes what the answer does not name as failed.
    fn acknowledge(&self, records: &[Record], answer: &Answer, now_ms: u64) {
        let mut world = lock(&self.world);
        for record in records.iter().filter(|record| !answer.failed.contains(&record.message_id)) {
            let deleted = world.queue.delete(&record.receipt_handle, now_ms);
            world.note(now_ms, format!("ack {} deleted={deleted}", record.message_id));
        }
    }

    fn deliver(&mut self, now_ms: u64) {
        while let Some(at) = self.second.iter().position(|(at, _)| *at <= now_ms) {
            let (_, records) = self.second.remove(at);
            let process = self.idle.pop().unwrap_or_else(|| self.process());
            self.invoke(process, records);
        }
        while !self.idle.is_empty() {
            let mut world = lock(&self.world);
            if !world.queue.has_visible(now_ms) {
                return;
            }
            let full = self.scenario.full_deliveries || world.draw((0, 3)) > 0;
            let most = if full { 10 } else { world.draw((1, 10)) };
            let groups = if world.draw((0, 3)) == 0 { 1 } else { 10 };
            let first = world.draw((0, 2));
            let records = world.queue.receive(most as usize, groups, first as usize, now_ms);
            let which = world.draw((0, self.idle.len() as u64 - 1));
            drop(world);
            if records.is_empty() {
                continue;
            }
            let process = self.idle.swap_remove(which as usize);
            self.invoke(process, records);
        }
    }

    fn invoke(&mut self, process: Process, records: Vec<Record>) {
        let now_ms = self.clock.now_ms();
        let ends_ms = now_ms + self.scenario.function_ms;
        let doubles = self.scenario.doubles.iter().filter(|double| double.nth == self.started);
        self.second.extend(doubles.map(|double| (now_ms + double.after_ms, records.clone())));
        self.started += 1;
        let ids: Vec<&str> = records.iter().map(|r| r.message_id.as_str()).collect();
        lock(&self.world).note(now_ms, format!("deliver {ids:?}"));
        let (worker, writer) = (process.worker.clone(), process.writer.clone());
        let delivered = records.clone();
        let work = Box::pin(async move {
            let answer = writer.handle(delivered, EpochMs(ends_ms)).await;
            worker.answer().await;
            answer
        });
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        self.invocations.push(Invocation { process, records, work, woken, ends_ms });
    }

    /// The operator's redrive: what services' failures have parked goes back, in order.
    fn redrive(&mut self) {
        let now_ms = self.clock.now_ms();
        let mut world = lock(&self.world);
        let dead = std::mem::take(&mut world.queue.dead);
        let (again, stay): (Vec<Dead>, Vec<Dead>) = dead.into_iter().partition(Dead::is_for_redrive);
        world.queue.dead = stay;
        for dead in again {
            world.note(now_ms, format!("redrive {}", dead.original_id));
            self.redriven.push(dead.clone());
            world.queue.redrive(dead, now_ms);
        }
    }

    fn outcome(self, drained: bool, parked: Vec<Dead>) -> Outcome {
        let Self { clock, world, idle, invocations, redriven, busy, .. } = self;
        let (invocations_made, end_ms) = (self.started, clock.now_ms());
        drop((idle, invocations));
        let world = Arc::into_inner(world).expect("no worker is left that could hold the world");
        let world = world.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        Outcome { world, parked, redriven, drained, invocations: invocations_made, busy, end_ms }
    }
}
