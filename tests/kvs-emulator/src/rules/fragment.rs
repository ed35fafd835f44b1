//! One PutMedia call: a body becomes fragments, or the first reason why not.
//!
//! When does a fragment end? At the next Cluster, at the end of the body, at the end of a Cluster of known size,
//! or at the tag `AWS_KINESISVIDEO_END_OF_FRAGMENT`, which the official producer sends while it keeps the body
//! open for the last PERSISTED. Tags between two Clusters belong to the later one, tags after the last Cluster
//! to that one (the official producer writes before, the Go library after the Cluster).

use super::ack::ErrorId;
use super::document::{Block, Document, DocumentError, Part};
use super::ebml::EbmlError;
use super::schema::{self, Elements};
use super::tracks::{Header, HeaderError};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The tag that ends a fragment; readers never see it.
pub const END_OF_FRAGMENT: &str = "AWS_KINESISVIDEO_END_OF_FRAGMENT";

/// Keeps empty blocks, which cost memory but count no bytes, from growing without end.
const BLOCKS_MAX: usize = 100_000;

/// What a block weighs in memory beside its frame.
const BLOCK_WEIGHT: u64 = 96;

/// What the service takes in one fragment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FragmentRules {
    /// Which Matroska elements may occur.
    pub elements: Elements,
    /// Most tracks (4012).
    pub tracks_max: usize,
    /// Longest fragment (4002).
    pub duration_ms_max: u64,
    /// Shortest fragment, refused only with `enforce_min_duration`, counted always.
    pub duration_ms_min: u64,
    /// Whether a shorter fragment is refused; that the service does so is unconfirmed.
    pub enforce_min_duration: bool,
    /// Most bytes of a fragment's frames (4001).
    pub bytes_max: u64,
    /// Most tags of a fragment (4009).
    pub tags_max: usize,
    /// Longest tag name in bytes (4009).
    pub tag_name_bytes_max: usize,
    /// Longest tag value in bytes (4009).
    pub tag_value_bytes_max: usize,
    /// Producer timestamps before this are refused (4007); the service refuses 1970, its exact bound is unknown.
    pub earliest_timestamp_ms: i64,
    /// How far ahead of the service's clock a producer timestamp may lie (4007).
    pub future_tolerance_ms: i64,
}

impl Default for FragmentRules {
    fn default() -> Self {
        Self {
            elements: Elements::Generator,
            tracks_max: 3,
            duration_ms_max: 20_000,
            duration_ms_min: 1_000,
            enforce_min_duration: false,
            bytes_max: 50_000_000,
            tags_max: 10,
            tag_name_bytes_max: 128,
            tag_value_bytes_max: 256,
            earliest_timestamp_ms: 946_684_800_000, // 2000-01-01
            future_tolerance_ms: 0,
        }
    }
}

/// How Cluster timestamps are meant (header `x-amzn-fragment-timecode-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timecodes {
    /// Since 1970.
    Absolute,
    /// Since the start header.
    Relative {
        /// `x-amzn-producer-start-timestamp` in milliseconds since 1970.
        start_ms: i64,
    },
}

/// A whole fragment.
#[derive(Clone, Debug, PartialEq)]
pub struct Fragment {
    /// As it stands in acknowledgements: milliseconds, absolute or relative.
    pub timecode_ms: i64,
    /// Producer timestamp in milliseconds since 1970.
    pub producer_ms: i64,
    /// The Cluster's Timestamp as sent.
    pub cluster_ticks: u64,
    /// From the first to the last block's time, plus the last block's BlockDuration where one is stated.
    pub length_ms: u64,
    /// From the first block's time to the end of the last one's PCM; equals `length_ms` for other codecs.
    pub media_ms: u64,
    /// Bytes of all frames.
    pub bytes: u64,
    /// The frames.
    pub blocks: Vec<Block>,
    /// The producer's tags.
    pub tags: Vec<(String, String)>,
    /// The tracks of the call.
    pub header: Arc<Header>,
}

/// What the bytes brought about.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A fragment began and its time is known: BUFFERING.
    Began {
        /// For the acknowledgement.
        timecode_ms: i64,
    },
    /// A fragment is complete: RECEIVED.
    Complete(Box<Fragment>),
}

/// Why the call ends with ERROR.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{} ({}): {why}", .id.code(), .id.id())]
pub struct Refusal {
    /// For the acknowledgement.
    pub id: ErrorId,
    /// Timecode of the fragment, if it was known.
    pub timecode_ms: Option<i64>,
    /// For people.
    pub why: String,
}

#[derive(Debug)]
struct Open {
    timecode_ms: Option<i64>,
    cluster_ticks: u64,
    blocks: Vec<Block>,
    bytes: u64,
    earliest_ticks: i64,
    latest_ticks: i64,
    end_ticks: i64,
    media_end_ms: i64,
    tags: Vec<(String, String)>,
}

/// The state of one PutMedia call.
#[derive(Debug)]
pub struct PutCall {
    document: Document,
    rules: FragmentRules,
    timecodes: Timecodes,
    header: Option<Arc<Header>>,
    open: Option<Open>,
    pending_tags: Vec<(String, String)>,
    previous_latest_ms: Option<i64>,
    failed: Option<Refusal>,
}

impl PutCall {
    /// A call whose body has not begun.
    pub fn new(rules: FragmentRules, timecodes: Timecodes) -> Self {
        Self {
            document: Document::new(rules.elements, rules.tracks_max),
            rules,
            timecodes,
            header: None,
            open: None,
            pending_tags: Vec::new(),
            previous_latest_ms: None,
            failed: None,
        }
    }

    /// Takes bytes of the body as they came, at `now_ms`; appends what they brought about.
    ///
    /// # Errors
    /// The reason for the ERROR that ends the call; every later call answers the same.
    pub fn push(&mut self, bytes: &[u8], now_ms: i64, steps: &mut Vec<Step>) -> Result<(), Refusal> {
        if let Some(refusal) = &self.failed {
            return Err(refusal.clone());
        }
        self.document.push(bytes);
        let outcome = self.drain(now_ms, steps);
        self.failed = outcome.as_ref().err().cloned();
        outcome
    }

    /// Ends the body at `now_ms`.
    ///
    /// # Errors
    /// As [`push`](Self::push); also if the body ends inside an element.
    pub fn finish(&mut self, now_ms: i64, steps: &mut Vec<Step>) -> Result<(), Refusal> {
        if let Some(refusal) = &self.failed {
            return Err(refusal.clone());
        }
        let outcome = self.end(now_ms, steps);
        self.failed = outcome.as_ref().err().cloned();
        outcome
    }

    /// What has come of the fragment that is open, as if it ended here; `None` without a whole block.
    pub fn cut(&mut self) -> Option<Fragment> {
        let open = self.open.take().filter(|open| !open.blocks.is_empty())?;
        self.close(open).ok()
    }

    /// Bytes that wait for the rest of their fragment.
    pub fn held_bytes(&self) -> u64 {
        let open = self.open.as_ref().map_or(0, |open| open.bytes + open.blocks.len() as u64 * BLOCK_WEIGHT);
        open + self.document.held_bytes()
    }

    /// Timecode of the fragment that is open.
    pub fn open_timecode_ms(&self) -> Option<i64> {
        self.open.as_ref().and_then(|open| open.timecode_ms)
    }

    fn drain(&mut self, now_ms: i64, steps: &mut Vec<Step>) -> Result<(), Refusal> {
        loop {
            match self.document.next() {
                Ok(Some(part)) => self.part(part, now_ms, steps)?,
                Ok(None) => return Ok(()),
                Err(error) => return Err(self.document_refusal(&error)),
            }
        }
    }

    fn end(&mut self, now_ms: i64, steps: &mut Vec<Step>) -> Result<(), Refusal> {
        loop {
            match self.document.finish() {
                Ok(Some(part)) => self.part(part, now_ms, steps)?,
                Ok(None) => break,
                Err(error) => return Err(self.document_refusal(&error)),
            }
        }
        self.complete(true, steps)
    }

    fn part(&mut self, part: Part, now_ms: i64, steps: &mut Vec<Step>) -> Result<(), Refusal> {
        match part {
            Part::Header(header) => self.header = Some(header),
            Part::ClusterStart => {
                self.complete(false, steps)?;
                let tags = std::mem::take(&mut self.pending_tags);
                self.open = Some(Open::new(tags));
            }
            Part::Timestamp(ticks) => steps.push(self.timestamp(ticks, now_ms)?),
            Part::Block(block) => self.block(block)?,
            Part::ClusterEnd { sized: true } => self.complete(false, steps)?,
            Part::ClusterEnd { sized: false } => {}
            Part::Tag { name, .. } if name == END_OF_FRAGMENT => self.complete(true, steps)?,
            Part::Tag { name, value } => self.tag(name, value)?,
        }
        Ok(())
    }

    fn timestamp(&mut self, ticks: u64, now_ms: i64) -> Result<Step, Refusal> {
        let timecode_ms = self.ticks_to_ms(i64::try_from(ticks).unwrap_or(i64::MAX));
        let producer_ms = self.producer_ms(timecode_ms);
        if let Some(open) = &mut self.open {
            open.timecode_ms = Some(timecode_ms);
            open.cluster_ticks = ticks;
        }
        if producer_ms < self.rules.earliest_timestamp_ms {
            let why =
                format!("producer timestamp {producer_ms} ms is before {}", self.rules.earliest_timestamp_ms);
            return Err(self.refuse(ErrorId::InvalidProducerTimestamp, why));
        }
        let ahead_ms = producer_ms.saturating_sub(now_ms);
        if ahead_ms > self.rules.future_tolerance_ms {
            let why =
                format!("producer timestamp {producer_ms} ms is {ahead_ms} ms ahead of the service's clock");
            return Err(self.refuse(ErrorId::InvalidProducerTimestamp, why));
        }
        if let Some(latest) = self.previous_latest_ms
            && timecode_ms <= latest
        {
            let why = format!(
                "timecode {timecode_ms} ms is not after the fragment before, which reaches {latest} ms"
            );
            return Err(self.refuse(ErrorId::FragmentTimecodeLesserThanPrevious, why));
        }
        Ok(Step::Began { timecode_ms })
    }

    fn block(&mut self, block: Block) -> Result<(), Refusal> {
        let Some((header, open)) = self.header.as_ref().zip(self.open.as_mut()) else { return Ok(()) };
        let Some(track) = header.track(block.track) else {
            let why = format!("a block is of track {}, which the header does not declare", block.track);
            return Err(self.refuse(ErrorId::TrackNumberMismatch, why));
        };
        let pcm_ms = track.pcm_ms(block.data.len() as u64);
        let tick_ns = header.tick_ns;
        open.add(block, tick_ns, pcm_ms);
        let (bytes, blocks) = (open.bytes, open.blocks.len());
        let length_ms = open.length_ms(tick_ns).max(open.media_ms(tick_ns));
        let earliest_ms = self.ticks_to_ms(self.open.as_ref().map_or(0, |open| open.earliest_ticks));
        if bytes > self.rules.bytes_max {
            let why = format!("{bytes} bytes, at most {} are taken", self.rules.bytes_max);
            return Err(self.refuse(ErrorId::MaxFragmentSizeReached, why));
        }
        if blocks > BLOCKS_MAX {
            let why = format!("{blocks} blocks, at most {BLOCKS_MAX} are taken");
            return Err(self.refuse(ErrorId::MaxFragmentSizeReached, why));
        }
        if length_ms > self.rules.duration_ms_max {
            let why = format!("{length_ms} ms, at most {} are taken", self.rules.duration_ms_max);
            return Err(self.refuse(ErrorId::MaxFragmentDurationReached, why));
        }
        if let Some(latest) = self.previous_latest_ms
            && earliest_ms <= latest
        {
            let why = format!(
                "a frame at {earliest_ms} ms is not after the fragment before, which reaches {latest} ms"
            );
            return Err(self.refuse(ErrorId::FragmentTimecodeLesserThanPrevious, why));
        }
        Ok(())
    }

    fn tag(&mut self, name: String, value: String) -> Result<(), Refusal> {
        let rules = &self.rules;
        let why = if name.is_empty() || name.len() > rules.tag_name_bytes_max {
            format!("tag name of {} bytes, 1 to {} are taken", name.len(), rules.tag_name_bytes_max)
        } else if value.len() > rules.tag_value_bytes_max {
            format!(
                "tag {name}: value of {} bytes, at most {} are taken",
                value.len(),
                rules.tag_value_bytes_max
            )
        } else if name.starts_with("AWS") {
            format!("tag {name}: names that begin with AWS are the service's own")
        } else if self.pending_tags.len() >= rules.tags_max {
            format!("more than {} tags", rules.tags_max)
        } else {
            self.pending_tags.push((name, value));
            return Ok(());
        };
        Err(self.refuse(ErrorId::FragmentMetadataLimitReached, why))
    }

    /// Completes the open fragment, if there is one; `take_tags` gives it the tags that came after its Cluster.
    fn complete(&mut self, take_tags: bool, steps: &mut Vec<Step>) -> Result<(), Refusal> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        if take_tags {
            open.tags.append(&mut self.pending_tags);
        }
        let fragment = self.close(open)?;
        let last = fragment.blocks.iter().map(|block| i64::from(block.relative_ticks)).max().unwrap_or(0);
        let cluster_ticks = i64::try_from(fragment.cluster_ticks).unwrap_or(i64::MAX);
        self.previous_latest_ms = Some(self.ticks_to_ms(cluster_ticks.saturating_add(last)));
        steps.push(Step::Complete(Box::new(fragment)));
        Ok(())
    }

    fn close(&mut self, open: Open) -> Result<Fragment, Refusal> {
        let refuse = |id, why| Err(Refusal { id, timecode_ms: open.timecode_ms, why });
        let Some((header, timecode_ms)) = self.header.clone().zip(open.timecode_ms) else {
            return refuse(ErrorId::InvalidMkvData, "a Cluster without Timestamp".to_owned());
        };
        if open.blocks.is_empty() {
            return refuse(ErrorId::InvalidMkvData, "a Cluster without blocks".to_owned());
        }
        let silent = |number: u64| open.blocks.iter().all(|block| block.track != number);
        if let Some(track) = header.tracks.iter().find(|track| silent(track.number)) {
            let why = format!("track {} is declared and has no frame in this fragment", track.number);
            return refuse(ErrorId::FramesMissingForTrack, why);
        }
        if open.tags.len() > self.rules.tags_max {
            let why = format!("{} tags, at most {} are taken", open.tags.len(), self.rules.tags_max);
            return refuse(ErrorId::FragmentMetadataLimitReached, why);
        }
        let length_ms = open.length_ms(header.tick_ns);
        let media_ms = open.media_ms(header.tick_ns).max(length_ms);
        if self.rules.enforce_min_duration && media_ms < self.rules.duration_ms_min {
            let why = format!("{media_ms} ms, at least {} are taken", self.rules.duration_ms_min);
            return refuse(ErrorId::MinFragmentDurationReached, why);
        }
        Ok(Fragment {
            timecode_ms,
            producer_ms: self.producer_ms(timecode_ms),
            cluster_ticks: open.cluster_ticks,
            length_ms,
            media_ms,
            bytes: open.bytes,
            blocks: open.blocks,
            tags: open.tags,
            header,
        })
    }

    fn producer_ms(&self, timecode_ms: i64) -> i64 {
        match self.timecodes {
            Timecodes::Absolute => timecode_ms,
            Timecodes::Relative { start_ms } => start_ms.saturating_add(timecode_ms),
        }
    }

    fn ticks_to_ms(&self, ticks: i64) -> i64 {
        ticks_to_ms(ticks, self.header.as_ref().map_or(1_000_000, |header| header.tick_ns))
    }

    fn refuse(&self, id: ErrorId, why: String) -> Refusal {
        Refusal { id, timecode_ms: self.open_timecode_ms(), why }
    }

    fn document_refusal(&self, error: &DocumentError) -> Refusal {
        let id = match error {
            DocumentError::Header(HeaderError::TooManyTracks { .. }) => ErrorId::MoreThanAllowedTracksFound,
            DocumentError::Ebml(EbmlError::TooLarge { name, .. }) if *name == block_name() => {
                ErrorId::MaxFragmentSizeReached
            }
            _ => ErrorId::InvalidMkvData,
        };
        self.refuse(id, error.to_string())
    }
}

fn block_name() -> &'static str {
    Elements::Generator.find(schema::SIMPLE_BLOCK).map_or("", |row| row.name)
}

fn ticks_to_ms(ticks: i64, tick_ns: u64) -> i64 {
    let ms = i128::from(ticks) * i128::from(tick_ns) / 1_000_000;
    i64::try_from(ms).unwrap_or(if ms < 0 { i64::MIN } else { i64::MAX })
}

impl Open {
    fn new(tags: Vec<(String, String)>) -> Self {
        Self {
            timecode_ms: None,
            cluster_ticks: 0,
            blocks: Vec::new(),
            bytes: 0,
            earliest_ticks: i64::MAX,
            latest_ticks: i64::MIN,
            end_ticks: i64::MIN,
            media_end_ms: i64::MIN,
            tags,
        }
    }

    fn add(&mut self, block: Block, tick_ns: u64, pcm_ms: u64) {
        let cluster = i64::try_from(self.cluster_ticks).unwrap_or(i64::MAX);
        let ticks = cluster.saturating_add(i64::from(block.relative_ticks));
        let duration = i64::try_from(block.duration_ticks.unwrap_or(0)).unwrap_or(i64::MAX);
        let pcm_ms = i64::try_from(pcm_ms).unwrap_or(i64::MAX);
        self.earliest_ticks = self.earliest_ticks.min(ticks);
        self.latest_ticks = self.latest_ticks.max(ticks);
        self.end_ticks = self.end_ticks.max(ticks.saturating_add(duration));
        self.media_end_ms = self.media_end_ms.max(ticks_to_ms(ticks, tick_ns).saturating_add(pcm_ms));
        self.bytes += block.data.len() as u64;
        self.blocks.push(block);
    }

    fn length_ms(&self, tick_ns: u64) -> u64 {
        let ticks = self.end_ticks.saturating_sub(self.earliest_ticks);
        u64::try_from(ticks_to_ms(ticks, tick_ns)).unwrap_or(0)
    }

    fn media_ms(&self, tick_ns: u64) -> u64 {
        let start_ms = ticks_to_ms(self.earliest_ticks, tick_ns);
        u64::try_from(self.media_end_ms.saturating_sub(start_ms)).unwrap_or(0)
    }
}
