//! One PutMedia call: a body becomes fragments, or the first reason why not.
//!
//! When does a fragment end? At the next Cluster, at the end of the body, at the end of a Cluster of known size,
//! or at the tag `AWS_KINESISVIDEO_END_OF_FRAGMENT`, which the official producers send while they keep the body
//! open for the last PERSISTED.
//!
//! Tags belong to the fragment before them. Those before the first Cluster are the first fragment's; what muxers write
//! there about their file is part of the header. What comes behind a fragment that has ended already, after a Cluster of
//! known size, is added to it later.

use super::ack::ErrorId;
use super::blocks::Frame;
use super::document::{Document, DocumentError, Part};
use super::ebml::EbmlError;
use super::fragment::{Behind, Fragment, FragmentRules, Refusal, Step, Timecodes, ticks_to_ms};
use super::open::Open;
use super::schema;
use super::tags::Tags;
use super::tracks::{Header, HeaderError};
use bytes::Bytes;
use std::sync::Arc;

/// Keeps empty blocks, which cost memory but count no bytes, from growing without end.
const BLOCKS_MAX: usize = 100_000;

/// What a block weighs in memory beside its frame.
const BLOCK_WEIGHT: u64 = 96;

/// Bytes of all that stands behind a fragment's Cluster: tags, Cues and the like.
const BEHIND_BYTES_MAX: usize = 256 * 1024;

/// The state of one PutMedia call.
#[derive(Debug)]
pub struct PutCall {
    document: Document,
    rules: FragmentRules,
    timecodes: Timecodes,
    header: Option<Arc<Header>>,
    /// What readers get before the next fragment, and before those after it.
    openings: (Bytes, Bytes),
    /// The tags before the first Cluster.
    first_tags: Vec<(String, String)>,
    open: Option<Open>,
    /// Tags, and bytes behind its Cluster, of the fragment that ended last.
    ended: (usize, usize),
    previous_latest_ms: Option<i64>,
    failed: Option<Refusal>,
}

impl PutCall {
    /// A call whose body has not begun.
    pub fn new(rules: FragmentRules, timecodes: Timecodes) -> Self {
        Self {
            document: Document::new(rules.elements, rules.tracks_max, rules.bytes_max),
            rules,
            timecodes,
            header: None,
            openings: Default::default(),
            first_tags: Vec::new(),
            open: None,
            ended: (0, 0),
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
        let mut open = self.open.take().filter(|open| !open.is_empty())?;
        if open.media.is_empty() {
            open.media = self.document.cut_cluster();
        }
        self.close(open).ok()
    }

    /// Bytes that wait for the rest of their fragment.
    pub fn held_bytes(&self) -> u64 {
        let open = self.open.as_ref().map_or(0, |open| {
            (open.media.len() + open.behind.len()) as u64 + open.frames.len() as u64 * BLOCK_WEIGHT
        });
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
        self.complete(steps)
    }

    fn part(&mut self, part: Part, now_ms: i64, steps: &mut Vec<Step>) -> Result<(), Refusal> {
        match part {
            Part::Header { header, opening } => {
                self.header = Some(header);
                self.openings = opening.into_bytes();
            }
            Part::ClusterStart => {
                self.complete(steps)?;
                self.open = Some(Open::new(std::mem::take(&mut self.first_tags)));
            }
            Part::Timestamp(ticks) => steps.push(self.timestamp(ticks, now_ms)?),
            Part::Frame(frame) => self.frame(frame)?,
            Part::ClusterEnd { sized, media } => {
                if let Some(open) = &mut self.open {
                    open.media = media;
                }
                if sized {
                    self.complete(steps)?;
                }
            }
            Part::Tags(tags) => self.tags(tags, steps)?,
            Part::EndOfFragment => self.complete(steps)?,
            Part::Other(raw) => self.behind(raw, Vec::new(), steps)?,
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
            let why = format!(
                "producer timestamp {producer_ms} ms is {ahead_ms} ms ahead of the service's clock, at most {} are taken",
                self.rules.future_tolerance_ms
            );
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

    fn frame(&mut self, frame: Frame) -> Result<(), Refusal> {
        let Some((header, open)) = self.header.as_ref().zip(self.open.as_mut()) else { return Ok(()) };
        let Some(track) = header.track(frame.track) else {
            let why = format!("a block is of track {}, which the header does not declare", frame.track);
            return Err(self.refuse(ErrorId::TrackNumberMismatch, why));
        };
        let pcm_ms = track.pcm_ms(frame.place.len() as u64);
        let tick_ns = header.tick_ns;
        open.add(frame, tick_ns, pcm_ms);
        let frames = open.frames.len();
        let length_ms = open.length_ms(tick_ns).max(open.media_ms(tick_ns));
        let earliest_ms = ticks_to_ms(open.earliest_ticks, tick_ns);
        if frames > BLOCKS_MAX {
            let why = format!("{frames} blocks, at most {BLOCKS_MAX} are taken");
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

    fn tags(&mut self, tags: Tags, steps: &mut Vec<Step>) -> Result<(), Refusal> {
        let before = match (&self.header, &self.open) {
            (None, _) => self.first_tags.len(),
            (Some(_), Some(open)) => open.tags.len(),
            (Some(_), None) => self.ended.0,
        };
        if let Some(why) = self.rules.wrong_tag(&tags, before) {
            return Err(self.refuse(ErrorId::FragmentMetadataLimitReached, why));
        }
        let pairs = if tags.of_muxer { Vec::new() } else { tags.pairs };
        if self.header.is_none() {
            self.first_tags.extend(pairs);
            return Ok(());
        }
        self.behind(tags.raw, pairs, steps)
    }

    /// What stands behind a Cluster goes to its fragment.
    fn behind(
        &mut self,
        raw: Bytes,
        tags: Vec<(String, String)>,
        steps: &mut Vec<Step>,
    ) -> Result<(), Refusal> {
        let bytes = self.open.as_ref().map_or(self.ended.1, |open| open.behind.len()) + raw.len();
        if bytes > BEHIND_BYTES_MAX {
            let why = format!("{bytes} bytes behind a Cluster, at most {BEHIND_BYTES_MAX} are taken");
            return Err(self.refuse(ErrorId::InvalidMkvData, why));
        }
        match &mut self.open {
            Some(open) => {
                open.behind.extend_from_slice(&raw);
                open.tags.extend(tags);
            }
            None => {
                self.ended = (self.ended.0 + tags.len(), bytes);
                if !raw.is_empty() {
                    steps.push(Step::Behind(Behind { raw, tags }));
                }
            }
        }
        Ok(())
    }

    /// Completes the open fragment, if there is one.
    fn complete(&mut self, steps: &mut Vec<Step>) -> Result<(), Refusal> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let latest_ticks = open.latest_ticks;
        let fragment = self.close(open)?;
        self.previous_latest_ms = Some(self.ticks_to_ms(latest_ticks));
        self.ended = (fragment.tags.len(), fragment.behind.len());
        self.openings.0 = self.openings.1.clone();
        steps.push(Step::Complete(Box::new(fragment)));
        Ok(())
    }

    fn close(&mut self, open: Open) -> Result<Fragment, Refusal> {
        let refuse = |id, why| Err(Refusal { id, timecode_ms: open.timecode_ms, why });
        let Some((header, timecode_ms)) = self.header.clone().zip(open.timecode_ms) else {
            return refuse(ErrorId::InvalidMkvData, "a Cluster without Timestamp".to_owned());
        };
        if open.is_empty() {
            return refuse(ErrorId::InvalidMkvData, "a Cluster without blocks".to_owned());
        }
        if let Some(track) = header.tracks.iter().find(|track| open.is_silent(track.number)) {
            let why = format!("track {} is declared and has no frame in this fragment", track.number);
            return refuse(ErrorId::FramesMissingForTrack, why);
        }
        let media_ms = open.media_ms(header.tick_ns).max(open.length_ms(header.tick_ns));
        if self.rules.enforce_min_duration && media_ms < self.rules.duration_ms_min {
            let why = format!("{media_ms} ms, at least {} are taken", self.rules.duration_ms_min);
            return refuse(ErrorId::MinFragmentDurationReached, why);
        }
        let producer_ms = self.producer_ms(timecode_ms);
        Ok(open.into_fragment(timecode_ms, producer_ms, header, self.openings.0.clone()))
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
            DocumentError::ClusterTooLarge { .. } => ErrorId::MaxFragmentSizeReached,
            DocumentError::Ebml(EbmlError::TooLarge { name, .. }) if schema::is_block(name) => {
                ErrorId::MaxFragmentSizeReached
            }
            _ => ErrorId::InvalidMkvData,
        };
        self.refuse(id, error.to_string())
    }
}
