//! The writer's ports on the models: one [`Worker`] is one process, which a fault can kill at any call.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ingest::message::SessionId;
use media::fragment::read::ReadFragment;
use media::time::EpochMs;
use writer::event::{Event, Telemetry};
use writer::ports::{
    self, Found, Parked, ParkedNote, Persisted, Ports, Queue, Result, Saved, SessionStatus, Sessions, Store,
    Stored, Streams,
};

use crate::clock::{Clock, lock};
use crate::faults::{Failure, Fate, Op};
use crate::model::queue::Dead;
use crate::model::stream;
use crate::world::{Shared, World};

/// How long a caller waits before it takes a lost answer for a time-out.
const TIME_OUT_MS: u64 = 1_000;

/// One worker process's view of the world.
#[derive(Clone)]
pub struct Worker {
    world: Shared,
    clock: Clock,
    dead: Arc<AtomicBool>,
}

impl Worker {
    /// A new process.
    pub fn new(world: Shared, clock: Clock) -> Self {
        Self { world, clock, dead: Arc::default() }
    }

    /// Whether a fault killed it.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Dies: the future that awaits this never goes on, and whoever drives it drops it.
    async fn die<T>(&self) -> T {
        self.dead.store(true, Ordering::Relaxed);
        pending().await
    }

    /// One call: there, its effect, and back; or what a fault makes of it.
    async fn call<T: Send + 'static>(
        &self,
        op: Op,
        session: &str,
        effect: impl FnOnce(&mut World, u64) -> T + Send + 'static,
    ) -> Result<T> {
        let (fate, there_ms, back_ms) = {
            let mut world = lock(&self.world);
            let range = world.services.call_ms;
            let fate = world.fate(op, session, self.clock.now_ms());
            (fate, world.draw(range), world.draw(range))
        };
        self.clock.sleep_ms(there_ms).await;
        let now_ms = self.clock.now_ms();
        match fate {
            None => {
                let result = effect(&mut lock(&self.world), now_ms);
                self.clock.sleep_ms(back_ms).await;
                Ok(result)
            }
            Some(Fate::Slow(ms)) => {
                let result = effect(&mut lock(&self.world), now_ms);
                self.clock.sleep_ms(back_ms + ms).await;
                Ok(result)
            }
            Some(Fate::CrashBefore) => self.die().await,
            Some(Fate::CrashAfter) => {
                effect(&mut lock(&self.world), now_ms);
                self.die().await
            }
            Some(Fate::Fail(failure)) => self.fail(op, failure, back_ms).await,
            Some(Fate::Panic) => panic!("injected: {op:?} {session}"),
            Some(Fate::FailAfter(failure) | Fate::Torn(failure)) => {
                effect(&mut lock(&self.world), now_ms);
                self.fail(op, failure, back_ms).await
            }
            Some(Fate::FailLate(failure, ms)) => {
                lock(&self.world).at(now_ms + ms, move |world, now_ms| _ = effect(world, now_ms));
                self.fail(op, failure, back_ms).await
            }
        }
    }

    async fn fail<T>(&self, op: Op, failure: Failure, back_ms: u64) -> Result<T> {
        let waited_ms = if failure == Failure::TimedOut { TIME_OUT_MS } else { back_ms };
        self.clock.sleep_ms(waited_ms).await;
        Err(failure.of(op, waited_ms))
    }

    /// The invocation's answer is on its way; a fault may still lose it.
    pub async fn answer(&self) {
        let _ = self.call(Op::Answer, "", |_, _| ()).await;
    }
}

/// How one PutMedia goes.
struct Upload {
    /// When the service persists the fragment, from the end of the body; `None`: never.
    persist_ms: Option<u64>,
    /// When the caller knows, from the end of the body.
    answer_ms: u64,
    /// What the caller sees instead of PERSISTED.
    failure: Option<Failure>,
    /// How long the connection keeps its place after the caller is gone.
    linger_ms: u64,
    crash: bool,
    /// Only a beginning of the body arrives.
    torn: bool,
}

impl Worker {
    fn upload(&self, session: &str) -> (Option<Fate>, Upload) {
        let mut world = lock(&self.world);
        let services = world.services;
        let fate = world.fate(Op::Put, session, self.clock.now_ms());
        let acked_ms = world.draw(services.put_ms);
        let mut upload = Upload {
            persist_ms: Some(acked_ms / 2),
            answer_ms: acked_ms,
            failure: None,
            linger_ms: world.draw((0, services.linger_ms)),
            crash: false,
            torn: false,
        };
        let late_ms = world.draw((0, services.persist_lag_ms));
        match &fate {
            None => {}
            Some(Fate::Slow(ms)) => upload.answer_ms += ms,
            Some(Fate::Panic) => panic!("injected: Put {session}"),
            Some(Fate::CrashBefore) => (upload.persist_ms, upload.crash) = (None, true),
            Some(Fate::CrashAfter) => (upload.persist_ms, upload.crash) = (Some(late_ms), true),
            Some(Fate::Fail(failure)) => {
                (upload.persist_ms, upload.failure) = (None, Some(failure.clone()));
            }
            Some(Fate::FailAfter(failure)) => upload.failure = Some(failure.clone()),
            Some(Fate::FailLate(failure, ms)) => {
                upload.persist_ms = Some(acked_ms / 2 + late_ms + ms);
                upload.failure = Some(failure.clone());
            }
            Some(Fate::Torn(failure)) => {
                (upload.failure, upload.torn) = (Some(failure.clone()), true);
            }
        }
        (fate, upload)
    }

    async fn put_media(
        &self,
        session: &SessionId,
        at: EpochMs,
        fragment: Vec<u8>,
        within_ms: u64,
    ) -> Result<Persisted> {
        let name = session.as_str();
        lock(&self.world).keep(|| format!("put {name} {}", at.0), || fragment.clone());
        lock(&self.world).streams.note_try(name, at, self.clock.now_ms());
        let (_, upload) = self.upload(name);
        let connect_ms = lock(&self.world).services.call_ms.0;
        self.clock.sleep_ms(connect_ms.min(within_ms)).await;
        let now_ms = self.clock.now_ms();
        // The service holds the connection for as long as the whole exchange takes, whether the caller lives or not.
        let until_ms = now_ms + connect_ms + upload.answer_ms.min(within_ms) + upload.linger_ms;
        lock(&self.world).streams.connect(name, now_ms, until_ms)?;
        self.clock.sleep_ms(connect_ms).await;
        let now_ms = self.clock.now_ms();
        let media = match stream::Streams::check(&fragment, at, now_ms) {
            Ok(media) => media,
            Err(refused) => {
                lock(&self.world).streams.disconnect(name, now_ms);
                return Err(refused);
            }
        };
        let media = if upload.torn { beginning(media) } else { media };
        if let Some(persist_ms) = upload.persist_ms {
            self.persist_at(now_ms + persist_ms, name, media);
        }
        if upload.crash {
            return self.die().await;
        }
        let started_ms = now_ms;
        let answer_ms = if upload.failure == Some(Failure::TimedOut) { within_ms } else { upload.answer_ms };
        self.clock.sleep_ms(answer_ms.min(within_ms)).await;
        let now_ms = self.clock.now_ms();
        if let Some(failure) = &upload.failure {
            let linger_ms = if failure.outcome_known() { 0 } else { upload.linger_ms };
            lock(&self.world).streams.disconnect(name, now_ms + linger_ms);
            return Err(failure.of(Op::Put, now_ms - started_ms));
        }
        if upload.answer_ms > within_ms {
            return Err(Failure::TimedOut.of(Op::Put, within_ms));
        }
        let mut world = lock(&self.world);
        world.streams.disconnect(name, now_ms);
        let stream = world.streams.by_session.get(name);
        let number = stream.and_then(|s| s.fragments.iter().rev().find(|f| f.at == at)).map(|f| f.number);
        Ok(Persisted {
            fragment_number: number.unwrap_or_default().to_string(),
            acknowledged_after_ms: Some(now_ms - started_ms),
        })
    }
}

impl Worker {
    /// The service persists the fragment then, whether its sender lives or not.
    fn persist_at(&self, at_ms: u64, session: &str, media: ReadFragment) {
        let name = session.to_owned();
        lock(&self.world).at(at_ms, move |world, now_ms| {
            let lag_ms = world.services.list_lag_ms;
            let listed_ms = now_ms + world.draw((0, lag_ms));
            let runs = runs(&media);
            let number = world.streams.persist(&name, media, now_ms, listed_ms);
            world.note(now_ms, format!("  {name}: fragment {number}: {runs}"));
        });
    }
}

/// What is left of a fragment whose connection breaks amid its body.
fn beginning(mut media: ReadFragment) -> ReadFragment {
    media.blocks.truncate(media.blocks.len() / 2);
    media
}

/// A fragment's stretches of audio, for the trace: when each begins, and how many samples it has.
fn runs(media: &ReadFragment) -> String {
    let runs = crate::evidence::runs(media);
    runs.iter().map(|run| format!("{}+{} ", run.at_ms, run.pcm.len())).collect()
}

impl Queue for Worker {
    async fn hide(&self, receipt_handles: &[String], seconds: u32) -> Result<()> {
        let handles = receipt_handles.to_vec();
        self.call(Op::Hide, "", move |world, now_ms| {
            handles.iter().for_each(|handle| world.queue.hide(handle, seconds, now_ms));
        })
        .await
    }

    async fn delete(&self, receipt_handles: &[String]) -> Result<()> {
        let handles = receipt_handles.to_vec();
        self.call(Op::Delete, "", move |world, now_ms| {
            for handle in &handles {
                let deleted = world.queue.delete(handle, now_ms);
                world.note(now_ms, format!("  delete {handle} deleted={deleted}"));
            }
        })
        .await
    }

    async fn park(&self, messages: &[Parked]) -> Result<()> {
        let messages = messages.to_vec();
        let session = messages.first().map(|m| m.group_id.clone()).unwrap_or_default();
        for message in &messages {
            let (id, attributes) = (&message.message_id, &message.attributes);
            lock(&self.world)
                .keep(|| format!("park {id} {attributes:?}"), || message.body.clone().into_bytes());
        }
        self.call(Op::Park, &session, move |world, now_ms| {
            for message in messages {
                let attributes = message.attributes.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
                world.queue.park(Dead {
                    original_id: message.message_id,
                    group: message.group_id,
                    body: message.body,
                    attributes,
                    since_ms: now_ms,
                });
            }
        })
        .await
    }
}

impl Store for Worker {
    async fn load(&self, session: &SessionId) -> Result<Option<Stored>> {
        let name = session.as_str().to_owned();
        self.call(Op::Load, session.as_str(), move |world, _| world.store.load(&name)).await
    }

    async fn save(&self, session: &SessionId, expected: Option<u64>, bytes: &[u8]) -> Result<Saved> {
        let (name, bytes) = (session.as_str().to_owned(), bytes.to_vec());
        lock(&self.world).keep(|| format!("save {name} on {expected:?}"), || bytes.clone());
        let save = move |world: &mut World, _| world.store.save(&name, expected, bytes);
        self.call(Op::Save, session.as_str(), save).await?
    }

    fn stamp(&self) -> u64 {
        lock(&self.world).stamp()
    }

    async fn load_snapshot(&self, session: &SessionId, key: &str) -> Result<Option<Vec<u8>>> {
        let (name, key) = (session.as_str().to_owned(), key.to_owned());
        let load = move |world: &mut World, now_ms| world.store.load_snapshot(&name, &key, now_ms);
        self.call(Op::LoadSnapshot, session.as_str(), load).await
    }

    async fn save_snapshot(
        &self,
        session: &SessionId,
        key: &str,
        bytes: &[u8],
        keep_seconds: u64,
    ) -> Result<()> {
        let (name, key, bytes) = (session.as_str().to_owned(), key.to_owned(), bytes.to_vec());
        lock(&self.world).keep(|| format!("snapshot {name} {key} for {keep_seconds} s"), || bytes.clone());
        self.call(Op::SaveSnapshot, session.as_str(), move |world, now_ms| {
            world.store.save_snapshot(&name, &key, bytes, now_ms + keep_seconds * 1000)
        })
        .await?
    }

    async fn note_parked(&self, session_id: &str, notes: &[ParkedNote]) -> Result<()> {
        for note in notes {
            lock(&self.world).keep(|| format!("note {session_id} {note:?}"), Vec::new);
        }
        Ok(())
    }
}

impl Sessions for Worker {
    async fn status(&self, session: &SessionId) -> Result<SessionStatus> {
        let name = session.as_str().to_owned();
        self.call(Op::Status, session.as_str(), move |world, _| {
            world.sessions.get(&name).copied().unwrap_or(SessionStatus::Unknown)
        })
        .await
    }
}

impl Streams for Worker {
    async fn put(
        &self,
        session: &SessionId,
        at: EpochMs,
        fragment: Vec<u8>,
        within_ms: u64,
    ) -> Result<Persisted> {
        self.put_media(session, at, fragment, within_ms).await
    }

    async fn find(&self, session: &SessionId, at: EpochMs) -> Result<Vec<Found>> {
        let name = session.as_str().to_owned();
        let find = move |world: &mut World, now_ms| world.streams.find(&name, at, now_ms);
        self.call(Op::Find, session.as_str(), find).await
    }
}

impl ports::Clock for Worker {
    fn now(&self) -> EpochMs {
        EpochMs(self.clock.now_ms())
    }

    async fn sleep_ms(&self, ms: u64) {
        self.clock.sleep_ms(ms).await;
    }
}

impl Telemetry for Worker {
    fn emit(&self, event: &Event) {
        let now_ms = self.clock.now_ms();
        let mut world = lock(&self.world);
        world.note(now_ms, format!("  {event:?}"));
        world.events.push((now_ms, event.clone()));
    }
}

impl Ports for Worker {
    type Queue = Self;
    type Store = Self;
    type Sessions = Self;
    type Streams = Self;
    type Clock = Self;
    type Telemetry = Self;
    fn queue(&self) -> &Self {
        self
    }
    fn store(&self) -> &Self {
        self
    }
    fn sessions(&self) -> &Self {
        self
    }
    fn streams(&self) -> &Self {
        self
    }
    fn clock(&self) -> &Self {
        self
    }
    fn telemetry(&self) -> &Self {
        self
    }
}
