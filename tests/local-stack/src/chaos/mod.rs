//! Chaos in the real processes: sessions speak while workers are killed, connections cut, answers lost and services away. Then the faults stop,
//! and what went in is counted against what the streams hold, before and after a redrive of all that was parked.
//!
//! The binaries are the ones that are deployed. Time is real: the same seed gives the same schedule of faults, not the same course of events.

pub mod dead_letters;
pub mod inject;
pub mod ledger;
pub mod pages;
pub mod redrive;
pub mod reference;
pub mod report;
pub mod schedule;
mod speak;
pub mod summary;
pub mod voices;
pub mod waits;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ingest::message::SessionId;
use media::fragment::read::ReadFragment;
use tokio::time::Instant;

use self::dead_letters::{Parked, reasons, send_all, take_all};
use self::ledger::{Account, Fragment, Key, account};
use self::redrive::{RedriveError, Redriven};
use self::reference::{Expected, Undecodable, one_pass};
use self::report::{AudioCheck, Outcome, SessionOutcome};
use self::schedule::Schedule;
use self::speak::{Script, Spoken, speak};
use crate::backend::BackendKind;
use crate::progress::Progress;
use crate::replay::read_back::{ReadBackError, read_back};
use crate::replay::recording::Recording;
use crate::replay::speaker::{SpeakError, now_ms};
use crate::resources::{ResourceError, SessionStatus};
use crate::stack::{Stack, StackConfig};

/// The writer's timeout, as deployed.
pub const WRITER_TIMEOUT: Duration = Duration::from_secs(10);
/// The queue's visibility timeout, as deployed.
pub const VISIBILITY: Duration = Duration::from_secs(15);
/// How long the queue may take to become empty once the faults have stopped, each time.
pub const DRAIN: Duration = Duration::from_secs(180);
/// How often the queue is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long sessions speak on after one stream's trouble.
pub const CALM: Duration = Duration::from_secs(30);
/// Streams that are read back at one time.
const READERS: usize = 4;

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is spoken: one after the other, session by session.
    pub recordings: Vec<Recording>,
    /// How many sessions.
    pub sessions: usize,
    /// How long they speak, and faults happen.
    pub length: Duration,
    /// Chooses the faults.
    pub seed: u64,
    /// What goes wrong.
    pub trouble: Trouble,
    /// SQS and DynamoDB, emulated.
    pub backend: BackendKind,
}

/// What goes wrong in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// All that can.
    Everything,
    /// The first session's stream answers each fragment with this ErrorId; all speak on for [`CALM`] when that is over.
    OneStream {
        /// ErrorId of the acknowledgement.
        ack: u16,
    },
}

/// Why a run has no result.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// The recording cannot be used.
    #[error(transparent)]
    Unusable(#[from] pages::Unusable),
    /// The recording cannot be decoded.
    #[error(transparent)]
    Undecodable(#[from] Undecodable),
    /// A speaker could not connect.
    #[error("session {session_id}: {source}")]
    Speak {
        /// The session.
        session_id: String,
        /// The cause.
        source: SpeakError,
    },
    /// A stream could not be read back.
    #[error(transparent)]
    ReadBack(#[from] ReadBackError),
    /// The Sessions table or a queue did not answer.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// The redrive could not be started, or did not end.
    #[error(transparent)]
    Redrive(#[from] RedriveError),
}

/// The stack for a run: small timeouts, a proxy that breaks calls, streams whose archive is late and whose cut connections linger.
pub fn stack_config(sessions: usize, backend: BackendKind) -> StackConfig {
    let mut config = StackConfig::for_sessions(sessions);
    config.backend = backend;
    config.fault_proxy = true;
    config.writer.timeout = WRITER_TIMEOUT;
    config.visibility_timeout = Some(VISIBILITY);
    config.kinesis_video.list_lag_ms = 400;
    config.kinesis_video.cut_release_ms = 2_000;
    config
}

/// Runs on a stack of [`stack_config`].
///
/// # Errors
/// [`ChaosError`]. A broken promise is not an error: the outcome tells.
pub async fn run(stack: &Stack, options: &Options, progress: &dyn Progress) -> Result<Outcome, ChaosError> {
    let began = Instant::now();
    let scripts = scripts(options)?;
    let streams: Vec<String> =
        scripts.iter().map(|script| format!("session-{}", script.session_id)).collect();
    let schedule = Arc::new(match options.trouble {
        Trouble::Everything => Schedule::new(options.seed, &streams, options.length, VISIBILITY),
        Trouble::OneStream { ack } => Schedule::one_stream(options.seed, &streams[0], ack),
    });
    let mut log = stack.log_lines();
    for script in &scripts {
        stack.put_session(&script.session_id, SessionStatus::Active).await?;
    }
    progress.phase("faults and speech");
    let over_ms = now_ms() + options.length.as_millis() as u64;
    let speaking = futures::future::try_join_all(scripts.iter().map(|script| speak(stack, script, progress)));
    let (spoken, injected) = inject::during(stack, &schedule, options.length, speaking).await;
    let sessions = sessions(spoken?)?;
    let left_before = drain(stack, progress, "draining").await?;
    let waits = waits::waits(&mut log, over_ms, |session, index| captured_ms(&sessions, session, index));
    let counted = count_and_redrive(stack, &sessions, progress).await?;
    let held_up = match options.trouble {
        Trouble::Everything => Vec::new(),
        Trouble::OneStream { .. } => waits::held_up(&waits),
    };
    Ok(Outcome {
        seed: options.seed,
        schedule: schedule.digest(),
        seconds: options.length.as_secs(),
        sessions: counted.sessions,
        injected,
        waits,
        held_up,
        park_reasons: counted.park_reasons,
        redriven: counted.redriven,
        park_reasons_after: counted.park_reasons_after,
        left_in_queue: left_before + counted.left_in_queue,
        took_ms: began.elapsed().as_millis() as u64,
    })
}

/// When a chunk of the session's first page was captured.
fn captured_ms(sessions: &[Session], session: &str, index: u64) -> Option<u64> {
    let session = sessions.iter().find(|known| known.id == session)?;
    session.keys.iter().find(|(_, key)| **key == (0, index)).map(|((_, captured_ms), _)| *captured_ms)
}

/// The count, before and after a redrive of all that was parked.
struct Counted {
    sessions: Vec<SessionOutcome>,
    park_reasons: BTreeMap<String, usize>,
    redriven: Option<Redriven>,
    park_reasons_after: BTreeMap<String, usize>,
    left_in_queue: u64,
}

async fn count_and_redrive(
    stack: &Stack,
    sessions: &[Session],
    progress: &dyn Progress,
) -> Result<Counted, ChaosError> {
    progress.phase("counting");
    let dlq_url = &stack.resources().dlq_url;
    let parked = take_all(stack.sqs(), dlq_url).await?;
    let before = look(stack, sessions, &parked, &parked).await?;
    let park_reasons = reasons(&parked);

    progress.phase("redriving");
    put_back(stack, &parked).await?;
    let redriven = if parked.is_empty() { None } else { Some(redrive::kvsw(stack).await?) };
    let left_in_queue = drain(stack, progress, "draining the redrive").await?;
    let still_parked = take_all(stack.sqs(), dlq_url).await?;
    // What followed its batch into the DLQ had come late: it comes back late, too.
    let in_order: Vec<Parked> = parked.into_iter().filter(|p| p.reason() != "BATCH_PARKED").collect();
    let after = look(stack, sessions, &still_parked, &in_order).await?;

    let outcomes = sessions.iter().zip(before).zip(after).map(|((session, before), after)| SessionOutcome {
        session_id: session.id.clone(),
        recording: session.recording.clone(),
        pages: session.pages,
        refused: session.refused,
        fragments: after.fragments,
        before: before.account,
        after: after.account,
        audio: after.audio,
    });
    let (sessions, park_reasons_after) = (outcomes.collect(), reasons(&still_parked));
    Ok(Counted { sessions, park_reasons, redriven, park_reasons_after, left_in_queue })
}

fn scripts(options: &Options) -> Result<Vec<Script>, ChaosError> {
    let script = |n: usize| {
        let length = match options.trouble {
            Trouble::Everything => options.length,
            Trouble::OneStream { .. } => options.length + CALM,
        };
        // In steps of two: the first and the last of `voices` are one recording, spoken by two pages.
        let count = options.recordings.len();
        let own: Vec<&Recording> = (0..count).map(|k| &options.recordings[(n + 2 * k) % count]).collect();
        let pages = pages::pages(&own, length, n % 2 == 1)?;
        // Spread over a second, so that no two sessions are in step.
        let delay = Duration::from_secs(1) * n as u32 / options.sessions as u32;
        Ok(Script { session_id: format!("chaos-{:02}", n + 1), pages, delay })
    };
    (0..options.sessions).map(script).collect()
}

/// A session, and what its stream must hold.
struct Session {
    id: String,
    recording: String,
    pages: usize,
    refused: usize,
    expected: Expected,
    /// Page of each chunk that was sent, by chunkIndex and timestamp.
    keys: BTreeMap<(u64, u64), Key>,
}

fn sessions(spoken: Vec<Spoken>) -> Result<Vec<Session>, ChaosError> {
    let session = |spoken: Spoken| {
        let id = SessionId::parse(&spoken.session_id).expect("the scripts' names are short and plain");
        let keys = spoken.sent.iter().map(|sent| ((sent.key.1, sent.captured_ms), sent.key));
        Ok(Session {
            keys: keys.collect(),
            expected: one_pass(&id, &spoken.sent)?,
            id: spoken.session_id,
            recording: spoken.recording,
            pages: spoken.pages,
            refused: spoken.refused,
        })
    };
    spoken.into_iter().map(session).collect()
}

/// Waits until the queue is empty; gives the messages that are left after [`DRAIN`].
async fn drain(stack: &Stack, progress: &dyn Progress, phase: &str) -> Result<u64, ChaosError> {
    progress.phase(phase);
    let end = Instant::now() + DRAIN;
    let mut empty = 0;
    loop {
        let left = stack.queue_depth().await?.total();
        progress.left(left);
        empty = if left == 0 { empty + 1 } else { 0 };
        if empty == 2 || Instant::now() >= end {
            return Ok(left);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Puts back what was taken out to be counted, in order. What follows the `~` keeps SQS from dropping a message whose
/// deduplication id it has seen within five minutes; kvsw knows the part before it.
async fn put_back(stack: &Stack, parked: &[Parked]) -> Result<(), ChaosError> {
    let again = |message: &Parked| format!("{}~counted", message.deduplication_id);
    Ok(send_all(stack.sqs(), &stack.resources().dlq_url, parked, again).await?)
}

/// What a session's stream holds at one time.
struct Found {
    account: Account,
    fragments: usize,
    audio: AudioCheck,
}

/// Reads all streams back and counts. `parked` is what the DLQ holds now, `ever` what it held, in order, before any redrive.
async fn look(
    stack: &Stack,
    sessions: &[Session],
    parked: &[Parked],
    ever: &[Parked],
) -> Result<Vec<Found>, ChaosError> {
    let config = stack.kinesis_video_sdk_config();
    let mut found = Vec::new();
    for some in sessions.chunks(READERS) {
        let reads = some.iter().map(async |session| {
            let fragments = read_back(&config, &format!("session-{}", session.id)).await?;
            Ok::<_, ChaosError>(judge(session, &fragments, &session.own(parked), &session.own(ever)))
        });
        found.extend(futures::future::try_join_all(reads).await?);
    }
    Ok(found)
}

impl Session {
    fn own(&self, parked: &[Parked]) -> BTreeSet<Key> {
        let own = parked.iter().filter(|message| message.group_id == self.id);
        own.filter_map(|message| self.keys.get(&message.chunk()?)).copied().collect()
    }
}

fn judge(session: &Session, read: &[ReadFragment], parked: &BTreeSet<Key>, ever: &BTreeSet<Key>) -> Found {
    let chunks = session.expected.chunks.iter().map(|(key, range)| (*key, range.len())).collect();
    let fragments: Vec<Fragment> = read.iter().filter_map(Fragment::of).collect();
    let mut account = account(&chunks, &fragments, parked);
    if fragments.len() < read.len() {
        account.odd.push(format!("{} fragments without tags", read.len() - fragments.len()));
    }
    let audio = AudioCheck::of(&session.expected, read, &fragments, ever);
    Found { account, fragments: read.len(), audio }
}
