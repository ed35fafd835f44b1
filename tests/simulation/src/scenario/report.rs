//! The output: what is in the stream, what was parked, what was logged, and the sums.

use media::fragment::read::ReadFragment;
use media::time::Samples;
use serde::Serialize;
use serde_json::Value;
use writer::event::Event;

use crate::model::queue::Dead;
use crate::model::stream;
use crate::run::Outcome;

/// A line of the output: an object with one member, named after its kind. All times are epoch ms of the virtual clock.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Line {
    /// A fragment was persisted.
    Fragment(Fragment),
    /// A message came into the dead-letter queue.
    Parked(Parked),
    /// The writer logged an event.
    Event(Logged),
    /// The sums; the last line.
    Summary(Summary),
}

/// A persisted fragment.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fragment {
    /// Whose stream it is in.
    pub session: String,
    /// Its fragment number: counts all sessions' fragments in the order in which they were persisted, from 1.
    pub number: u64,
    /// Its producer timestamp: when its audio begins.
    pub at_ms: u64,
    /// When its audio ends, rounded up.
    pub end_ms: u64,
    /// The length of its audio in ms, holes left out; a sample is 1/16 ms.
    pub audio_ms: f64,
    /// When it was persisted.
    pub stored_ms: u64,
    /// `live` or `backfill`, from its tag.
    pub line: Option<String>,
    /// Its first chunkIndex, from its tag.
    pub chunk_first: Option<u64>,
    /// Its last chunkIndex, from its tag.
    pub chunk_last: Option<u64>,
    /// Root mean square of its samples, in steps of s16 (0 to 32,768), to one decimal place.
    pub rms: f64,
}

/// A message in the dead-letter queue. One that was redriven and parked again gives a line each time.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Parked {
    /// Its message group.
    pub session: String,
    /// The attribute `reason`; `maxReceiveCount` where the queue's redrive policy moved it.
    pub reason: String,
    /// The attribute `message`: the reason for a person.
    pub message: String,
    /// Its chunkIndex, where its body can be read.
    pub chunk_index: Option<u64>,
    /// When it came.
    pub at_ms: u64,
}

/// An event with the fields of its log line.
#[derive(Clone, Debug, Serialize)]
pub struct Logged {
    /// The event, as the telemetry adapter serializes it.
    #[serde(flatten)]
    pub event: Event,
    /// When it was logged.
    #[serde(rename = "timestampMs")]
    pub timestamp_ms: u64,
}

/// The sums of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Whether the queue was empty at the end.
    pub drained: bool,
    /// Fragments persisted.
    pub fragments: u64,
    /// The length of all audio in them.
    pub audio_ms: f64,
    /// Messages that came into the dead-letter queue.
    pub parked: u64,
    /// Messages that are there at the end.
    pub still_parked: u64,
    /// Messages that the writer dropped because their chunk was written.
    pub duplicates_dropped: u64,
    /// Gaps that the writer opened.
    pub gaps_opened: u64,
    /// The most that a fragment was persisted after the end of its audio; negative if before.
    pub max_age_ms: i64,
    /// Bytes of the largest value ever stored: a checkpoint or a snapshot.
    pub largest_item_bytes: u64,
    /// Invocations of the writer.
    pub invocations: u64,
}

/// What came of a run: all lines in order of time, the summary last.
pub fn report(outcome: &Outcome) -> Vec<Line> {
    let streams = &outcome.world.streams.by_session;
    let fragments = streams.iter().flat_map(|(session, s)| s.fragments.iter().map(|f| fragment(session, f)));
    let dead = outcome.redriven.iter().chain(&outcome.world.queue.dead);
    let events = outcome.world.events.iter();
    let mut lines: Vec<Line> = fragments.map(Line::Fragment).collect();
    lines.extend(dead.map(|dead| Line::Parked(parked(dead))));
    lines.extend(events.map(|(at, event)| Line::Event(Logged { timestamp_ms: *at, event: event.clone() })));
    let summary = summary(outcome, &lines);
    lines.sort_by_key(Line::at_ms);
    lines.push(Line::Summary(summary));
    lines
}

impl Line {
    fn at_ms(&self) -> u64 {
        match self {
            Self::Fragment(fragment) => fragment.stored_ms,
            Self::Parked(parked) => parked.at_ms,
            Self::Event(logged) => logged.timestamp_ms,
            Self::Summary(_) => u64::MAX,
        }
    }
}

fn fragment(session: &str, fragment: &stream::Fragment) -> Fragment {
    let tag = |name: &str| fragment.media.tags.get(name);
    Fragment {
        session: session.to_owned(),
        number: fragment.number,
        at_ms: fragment.at.0,
        end_ms: end_ms(&fragment.media),
        audio_ms: audio_ms(fragment.media.samples()),
        stored_ms: fragment.stored_ms,
        line: tag("line").cloned(),
        chunk_first: tag("chunkFirst").and_then(|index| index.parse().ok()),
        chunk_last: tag("chunkLast").and_then(|index| index.parse().ok()),
        rms: rms(&fragment.media.pcm()),
    }
}

fn end_ms(media: &ReadFragment) -> u64 {
    let ends = media.blocks.iter().map(|(at, bytes)| at.0 + Samples::from(bytes.len() / 2).ms_ceil());
    ends.max().unwrap_or(media.cluster_ms.0)
}

fn audio_ms(samples: Samples) -> f64 {
    samples.0 as f64 * 1_000.0 / f64::from(Samples::RATE_HZ)
}

fn rms(pcm: &[i16]) -> f64 {
    let energy: f64 = pcm.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    ((energy / pcm.len().max(1) as f64).sqrt() * 10.0).round() / 10.0
}

fn parked(dead: &Dead) -> Parked {
    let attribute = |name: &str| dead.attributes.get(name).cloned();
    let body: Option<Value> = serde_json::from_str(&dead.body).ok();
    Parked {
        session: dead.group.clone(),
        reason: attribute("reason").unwrap_or_default(),
        message: attribute("message").unwrap_or_else(|| "received too often".to_owned()),
        chunk_index: body.and_then(|body| body["chunkIndex"].as_u64()),
        at_ms: dead.since_ms,
    }
}

fn summary(outcome: &Outcome, lines: &[Line]) -> Summary {
    let mut sums = Summary {
        drained: outcome.drained,
        still_parked: outcome.world.queue.dead.len() as u64,
        largest_item_bytes: outcome.world.store.largest_item() as u64,
        invocations: outcome.invocations,
        max_age_ms: i64::MIN,
        ..Summary::default()
    };
    for line in lines {
        match line {
            Line::Fragment(fragment) => {
                sums.fragments += 1;
                sums.audio_ms += fragment.audio_ms;
                sums.max_age_ms = sums.max_age_ms.max(fragment.stored_ms as i64 - fragment.end_ms as i64);
            }
            Line::Parked(_) => sums.parked += 1,
            Line::Event(Logged { event: Event::DuplicatesDropped { messages, .. }, .. }) => {
                sums.duplicates_dropped += messages;
            }
            Line::Event(Logged { event: Event::GapOpened { .. }, .. }) => sums.gaps_opened += 1,
            Line::Event(_) | Line::Summary(_) => {}
        }
    }
    sums.max_age_ms = if sums.fragments == 0 { 0 } else { sums.max_age_ms };
    sums
}
