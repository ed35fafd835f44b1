//! Replays recordings as live sessions through the whole stack, waits until every chunk is accounted for, and reads back what the
//! streams hold.

mod dead_letters;
mod events;
pub mod ledger;
mod pieces;
pub mod read_back;
pub mod recording;
mod schedule;
pub mod speaker;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use media::fragment::read::ReadFragment;
use media::time::EpochMs;
use reader::audio_file::{AudioFile, AudioFormat, WriteError};
use reader::fragment::{Block, Fragment, Once, blocks};
use tokio::time::Instant;

use self::events::{Collector, SessionEvents};
use self::ledger::{Balance, Sent, Span, Whereabouts, balance};
use self::read_back::{ReadBackError, read_back};
use self::speaker::{SpeakError, Speaker, Spoken};
use crate::progress::Progress;
use crate::report::{FragmentRow, Observed, Report};
use crate::resources::{ResourceError, SessionStatus};
use crate::stack::Stack;

/// How often the ledger is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Without news for this long, the stream and the dead-letter queue are asked.
const NEWS_OVERDUE: Duration = Duration::from_secs(5);
/// Streams that are read back at one time.
const READERS: usize = 4;

/// How long to wait for chunks that are nowhere yet, after the last one was sent.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Why a replay has no result.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
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
    /// The Sessions table or the dead-letter queue did not answer.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// The result could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: std::path::PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
}

/// A session after its replay.
#[derive(Clone, Debug)]
pub struct SessionResult {
    /// The figures.
    pub report: Report,
    /// The fragments' figures.
    pub rows: Vec<FragmentRow>,
    /// The fragments, in the order of their producer times, each once.
    pub fragments: Vec<ReadFragment>,
}

impl SessionResult {
    /// The stream's sound: all blocks in the order of their times. That is one fragment after the other, but for a backfill
    /// that lies in a hole inside another fragment.
    pub fn blocks(&self) -> Vec<Block> {
        let mut all: Vec<Block> = self.fragments.iter().flat_map(blocks).collect();
        all.sort_by_key(|block| block.at);
        all
    }

    /// The samples of [`Self::blocks`], no gap filled.
    pub fn audio(&self) -> Vec<i16> {
        self.blocks().into_iter().flat_map(|block| block.pcm).collect()
    }

    /// Writes `audio.wav`, `stream.mkv`, `fragments.json` and `report.json` into `folder`, which is made.
    ///
    /// # Errors
    /// [`ReplayError::Write`].
    pub fn write(&self, folder: &Path) -> Result<(), ReplayError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| ReplayError::Write { path, source }
        };
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
        let blocks = self.blocks();
        for (name, format) in [("audio.wav", AudioFormat::Wav), ("stream.mkv", AudioFormat::Matroska)] {
            let path = folder.join(name);
            let written = write_audio(&path, format, &self.report.session_id, &blocks);
            written.map_err(std::io::Error::other).map_err(failed(&path))?;
        }
        write_json(folder, "fragments.json", &self.rows)?;
        write_json(folder, "report.json", &self.report)
    }
}

/// One file of all blocks, no gap filled. Matroska keeps their times.
fn write_audio(path: &Path, format: AudioFormat, title: &str, blocks: &[Block]) -> Result<(), WriteError> {
    let begin = blocks.first().map(|block| block.at).unwrap_or_default();
    let end = blocks.iter().map(Block::end).max().unwrap_or_default();
    let mut file = AudioFile::create(path, format, title, (begin, end), false)?;
    file.append(blocks)?;
    file.finish(path, EpochMs(end.0)).map(drop)
}

/// Writes `value` as a JSON file.
///
/// # Errors
/// [`ReplayError::Write`].
pub fn write_json(folder: &Path, name: &str, value: &impl serde::Serialize) -> Result<(), ReplayError> {
    let json = serde_json::to_string_pretty(value).map_err(std::io::Error::other);
    let path = folder.join(name);
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, json? + "\n"));
    written.map_err(|source| ReplayError::Write { path, source })
}

/// Replays all speakers side by side. Each session is put into the Sessions table first.
///
/// # Errors
/// [`ReplayError`]. Chunks that are nowhere at the deadline are not an error: the reports tell.
pub async fn replay(
    stack: &Stack,
    speakers: &[Speaker],
    deadline: Duration,
    progress: &dyn Progress,
) -> Result<Vec<SessionResult>, ReplayError> {
    for speaker in speakers {
        stack.put_session(&speaker.session_id, SessionStatus::Active).await?;
    }
    let collector = Collector::start(stack.log_lines());
    let invocations_before = invocations(stack);
    let ws_url = stack.ws_url();
    let on_sent = || progress.sent();
    let speak = speakers.iter().map(async |speaker| {
        let session_id = speaker.session_id.clone();
        let spoken = speaker.speak(&ws_url, &on_sent).await;
        spoken.map_err(|source| ReplayError::Speak { session_id, source })
    });
    let spoken = futures::future::try_join_all(speak).await?;
    let mut watch = Watch { stack, collector: &collector, parked: BTreeMap::new(), found: BTreeMap::new() };
    watch.until_settled(speakers, &spoken, deadline, progress).await?;
    let invocations = invocations(stack);
    let since = |id: &str| {
        let count = |of: &BTreeMap<String, u64>| of.get(id).copied().unwrap_or_default();
        count(&invocations) - count(&invocations_before)
    };
    let mut results = Vec::new();
    for some in speakers.iter().zip(&spoken).collect::<Vec<_>>().chunks(READERS) {
        let read = some.iter().map(async |(speaker, spoken)| {
            let (fragments, copies) = watch.fragments(&speaker.session_id).await?;
            let known = Known {
                events: collector.of(&speaker.session_id),
                parked: watch.parked.get(&speaker.session_id).cloned().unwrap_or_default(),
                invocations: since(&speaker.session_id),
                copies,
            };
            Ok::<_, ReplayError>(result(speaker, spoken, fragments, known))
        });
        results.extend(futures::future::try_join_all(read).await?);
    }
    Ok(results)
}

fn invocations(stack: &Stack) -> BTreeMap<String, u64> {
    stack.mapping_stats().groups.into_iter().map(|(id, group)| (id, group.invocations)).collect()
}

/// Waits for chunks.
struct Watch<'a> {
    stack: &'a Stack,
    collector: &'a Collector,
    /// Chunks seen in the dead-letter queue, by session.
    parked: BTreeMap<String, Vec<u64>>,
    /// Fragments seen in the streams, where asked.
    found: BTreeMap<String, Vec<Span>>,
}

impl Watch<'_> {
    /// Returns when every chunk is accounted for, or at the deadline.
    async fn until_settled(
        &mut self,
        speakers: &[Speaker],
        spoken: &[Spoken],
        deadline: Duration,
        progress: &dyn Progress,
    ) -> Result<(), ReplayError> {
        let end = Instant::now() + deadline;
        let mut news = (0, Instant::now());
        loop {
            let balances: Vec<Balance> = speakers
                .iter()
                .zip(spoken)
                .map(|(speaker, spoken)| self.balance(&speaker.session_id, &spoken.sent))
                .collect();
            let sent: usize = balances.iter().map(|balance| balance.sent).sum();
            let accounted = sent - balances.iter().map(|balance| balance.missing.len()).sum::<usize>();
            progress.accounted(accounted, sent);
            if balances.iter().all(Balance::is_settled) || Instant::now() >= end {
                return Ok(());
            }
            if accounted != news.0 {
                news = (accounted, Instant::now());
            } else if news.1.elapsed() >= NEWS_OVERDUE {
                self.ask_around(speakers, &balances).await?;
                news.1 = Instant::now();
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn balance(&self, session_id: &str, sent: &[Sent]) -> Balance {
        let mut whereabouts = self.collector.of(session_id).whereabouts();
        if let Some(found) = self.found.get(session_id) {
            whereabouts.fragments.clone_from(found);
        }
        whereabouts.parked = union(whereabouts.parked, self.parked.get(session_id));
        balance(sent, &whereabouts)
    }

    /// Looks into the dead-letter queue, and into the streams whose chunks are missing.
    async fn ask_around(&mut self, speakers: &[Speaker], balances: &[Balance]) -> Result<(), ReplayError> {
        let parked = dead_letters::parked_chunks(self.stack.sqs(), &self.stack.resources().dlq_url).await?;
        self.parked = parked.into_iter().map(|(id, chunks)| (id, chunks.into_iter().collect())).collect();
        for (speaker, balance) in speakers.iter().zip(balances) {
            if !balance.is_settled() {
                let (fragments, _) = self.fragments(&speaker.session_id).await?;
                self.found.insert(speaker.session_id.clone(), fragments.iter().filter_map(span_of).collect());
            }
        }
        Ok(())
    }

    /// What a session's stream holds, and how many fragments of it are copies of others.
    async fn fragments(&self, session_id: &str) -> Result<(Vec<ReadFragment>, usize), ReadBackError> {
        let config = self.stack.kinesis_video_sdk_config();
        let mut fragments = read_back(&config, &format!("session-{session_id}")).await?;
        let mut once = Once::default();
        fragments.retain(|read| once.is_new(&Fragment::of(read)));
        Ok((fragments, once.again()))
    }
}

fn union(mut chunks: Vec<u64>, more: Option<&Vec<u64>>) -> Vec<u64> {
    let new = more.into_iter().flatten().filter(|chunk| !chunks.contains(chunk)).copied().collect::<Vec<_>>();
    chunks.extend(new);
    chunks
}

/// What is known of a session beside its stream.
struct Known {
    events: SessionEvents,
    parked: Vec<u64>,
    invocations: u64,
    copies: usize,
}

fn result(speaker: &Speaker, spoken: &Spoken, fragments: Vec<ReadFragment>, known: Known) -> SessionResult {
    let Known { events, parked, invocations, copies } = known;
    let whereabouts = Whereabouts {
        fragments: fragments.iter().filter_map(span_of).collect(),
        gaps: events.gaps.clone(),
        parked: union(events.parked.iter().copied().collect(), Some(&parked)),
    };
    let balance = balance(&spoken.sent, &whereabouts);
    let sent_ms: BTreeMap<u64, u64> =
        spoken.sent.iter().filter_map(|sent| Some((sent.index?, sent.at_ms))).collect();
    let rows: Vec<FragmentRow> = fragments.iter().map(|f| row(f, &events, &sent_ms)).collect();
    let ages_ms = fragments.iter().flat_map(|fragment| {
        let persisted_ms = persisted_ms(fragment, &events);
        let chunks = span_of(fragment).map(|span| sent_ms.range(span.chunk_first..=span.chunk_last));
        chunks.into_iter().flatten().filter_map(move |(_, sent_ms)| persisted_ms?.checked_sub(*sent_ms))
    });
    let seen = Observed {
        deferrals: events.deferrals,
        invocations,
        fragments_copied: copies,
        refusals: spoken.refusals.clone(),
        park_reasons: events.park_reasons.iter().cloned().collect(),
        ages_ms: ages_ms.collect(),
    };
    let names = (speaker.session_id.as_str(), speaker.recording.name.as_str());
    let report = Report::new(names, speaker.speed, &balance, fragments.len(), seen);
    SessionResult { report, rows, fragments }
}

/// The fragment's chunks, from its tags.
fn span_of(fragment: &ReadFragment) -> Option<Span> {
    Fragment::of(fragment).chunks.map(|(first, last)| Span::new(first, last))
}

/// When the worker knew that it was persisted; where its log is not at hand, when the service had taken it.
fn persisted_ms(fragment: &ReadFragment, events: &SessionEvents) -> Option<u64> {
    let number = fragment.number.as_ref()?;
    events.persisted_ms.get(number).copied().or(fragment.server_ms.map(|at| at.0))
}

fn row(fragment: &ReadFragment, events: &SessionEvents, sent_ms: &BTreeMap<u64, u64>) -> FragmentRow {
    let span = span_of(fragment);
    let last_sent_ms = span.and_then(|span| sent_ms.get(&span.chunk_last).copied());
    let samples = fragment.samples();
    FragmentRow {
        fragment_number: fragment.number.clone().unwrap_or_default(),
        producer_timestamp_ms: fragment.producer_ms.unwrap_or(fragment.cluster_ms).0,
        duration_ms: samples.ms_floor(),
        samples: samples.0,
        chunk_first: span.map(|span| span.chunk_first),
        chunk_last: span.map(|span| span.chunk_last),
        persisted_after_ms: persisted_ms(fragment, events)
            .zip(last_sent_ms)
            .map(|(persisted_ms, sent_ms)| persisted_ms.saturating_sub(sent_ms)),
    }
}
