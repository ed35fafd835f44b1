//! What can be known after a run: each session's chunks and frames as they were spoken, and what came back.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use media::fragment::read::ReadFragment;
use media::time::EpochMs;
use writer::event::Event;

use crate::model::queue::Dead;
use crate::model::stream::Fragment;
use crate::run::{Incident, Outcome};
use crate::speech::session::{Fact, Passage, Session};
use crate::speech::tape::{self, FRAME, FrameId, tape};

/// Samples of a millisecond.
const PER_MS: u64 = 16;

/// A frame as it was spoken.
#[derive(Clone, Debug)]
pub struct Spoken {
    /// Which take of the session.
    pub take: usize,
    /// Which frame of its tape.
    pub frame: usize,
    /// Index among the session's facts of the chunk that completes its packet.
    pub chunk: usize,
    /// The bytes without which no demuxer finds it: from the start of its Cluster to the end of its packet.
    pub needs: Range<usize>,
    /// When it began, by the speaker's clock.
    pub at_ms: u64,
    /// When it truly began.
    pub true_ms: u64,
}

/// A frame as it came back.
#[derive(Clone, Debug)]
pub struct Heard {
    /// What it is, if it is known.
    pub id: Option<FrameId>,
    /// When it begins, in samples since the epoch.
    pub at: u64,
    /// Its samples: 320, or what a pre-skip leaves.
    pub samples: u64,
    /// Which fragment it lies in.
    pub number: u64,
}

/// Everything about one session.
pub struct SessionEvidence<'a> {
    /// What the speaker did.
    pub session: &'a Session,
    /// Its chunks.
    pub facts: Vec<Fact>,
    /// When each chunk first reached the queue.
    pub arrived_ms: Vec<Option<u64>>,
    /// Chunks after which a decoder may have had to start cold: lost, bad, or overtaken by a later one.
    pub disturbed: BTreeSet<usize>,
    /// Chunks that were parked when the page sent one behind them again, which had been parked with them: that one came back alone.
    pub left_parked: BTreeSet<usize>,
    /// Its frames.
    pub spoken: Vec<Spoken>,
    index: BTreeMap<(usize, usize), usize>,
    /// What came back, in producer-time order.
    pub heard: Vec<Heard>,
    /// Its fragments, in the order of ingestion.
    pub fragments: &'a [Fragment],
    /// When its fragments, by their producer timestamps, were first tried.
    pub first_tried_ms: BTreeMap<EpochMs, u64>,
    /// Facts whose message lies in the dead-letter queue at the end, with it.
    pub dead: BTreeMap<usize, &'a Dead>,
    /// Facts whose message lay there before any redrive.
    pub parked: BTreeMap<usize, &'a Dead>,
    /// More gaps were open than are kept: what comes back to the oldest finds no place, and what was withheld behind them is parked.
    pub gave_up_gaps: bool,
    /// Messages that lay there before any redrive and carry a chunk that came before under another time.
    pub parked_again: Vec<&'a Dead>,
}

/// Everything about a run.
pub struct Evidence<'a> {
    /// Each session.
    pub sessions: Vec<SessionEvidence<'a>>,
    /// The run.
    pub outcome: &'a Outcome,
    /// Whether an operator redrove.
    pub redriven: bool,
    /// See [`crate::case::Case::undisturbed`].
    pub undisturbed: bool,
}

impl<'a> Evidence<'a> {
    /// Gathers it.
    pub fn gather(sessions: &'a [Session], outcome: &'a Outcome, redriven: bool) -> Self {
        let sessions = sessions.iter().map(|session| SessionEvidence::gather(session, outcome)).collect();
        Self { sessions, outcome, redriven, undisturbed: false }
    }
}

impl<'a> SessionEvidence<'a> {
    fn gather(session: &'a Session, outcome: &'a Outcome) -> Self {
        let facts = session.facts();
        let names: BTreeMap<&str, usize> =
            facts.iter().enumerate().map(|(i, f)| (f.name.as_str(), i)).collect();
        let mut arrived_ms = vec![None; facts.len()];
        let mut by_body = BTreeMap::new();
        for arrival in session.arrivals() {
            if let Incident::Message { deduplication, body, .. } = arrival.what
                && let Some(&i) = names.get(deduplication.as_str())
            {
                arrived_ms[i] = Some(arrived_ms[i].map_or(arrival.at_ms, |at: u64| at.min(arrival.at_ms)));
                by_body.insert(body, i);
            }
        }
        let chunks_of = |dead: &'a [Dead]| -> BTreeMap<usize, &'a Dead> {
            dead.iter().filter_map(|dead| Some((*by_body.get(&dead.body)?, dead))).collect()
        };
        let stream = outcome.world.streams.by_session.get(&session.name);
        let fragments = stream.map_or(&[][..], |stream| &stream.fragments);
        let parked = chunks_of(&outcome.parked);
        let spoken = spoken(session, &facts);
        let index = spoken.iter().enumerate().map(|(i, s)| ((s.take, s.frame), i)).collect();
        Self {
            session,
            spoken,
            index,
            heard: heard(fragments),
            fragments,
            first_tried_ms: stream.map(|stream| stream.first_tried_ms.clone()).unwrap_or_default(),
            dead: chunks_of(&outcome.world.queue.dead),
            left_parked: left_parked(session, &parked),
            parked,
            gave_up_gaps: gave_up_gaps(session, outcome),
            parked_again: again(session, &outcome.parked, &by_body),
            disturbed: disturbed(&facts, &arrived_ms),
            arrived_ms,
            facts,
        }
    }

    /// A frame as it was spoken.
    pub fn spoken_at(&self, place: (usize, usize)) -> Option<&Spoken> {
        self.index.get(&place).map(|i| &self.spoken[*i])
    }

    /// Whether a chunk reached the queue in good shape and is not in the dead-letter queue now.
    pub fn is_present(&self, chunk: usize) -> bool {
        matches!(self.facts[chunk].passage, Passage::Sent(_)) && !self.dead.contains_key(&chunk)
    }

    /// Whether every byte that a frame needs is in a chunk that is present.
    pub fn is_due(&self, spoken: &Spoken) -> bool {
        let chunks = self.chunks_of(spoken.take);
        let last = chunks.clone().rev().find(|chunk| self.is_present(*chunk));
        if !self.is_present(chunks.start) && last == Some(spoken.chunk) {
            return false; // without the header, the end of a recording may not prove that it is one
        }
        self.facts.iter().enumerate().all(|(i, fact)| {
            let apart = fact.bytes.end <= spoken.needs.start || fact.bytes.start >= spoken.needs.end;
            fact.take != spoken.take || apart || self.is_present(i)
        })
    }

    /// Whether pages' chunks came in an order that hides whose they are: a page's chunk after its successor's, or before its
    /// own page's chunk 0. One with exactly the index that the other page waits for is taken for that page's.
    pub fn pages_mix(&self) -> bool {
        let page = |i: usize| self.page(i);
        let mut opened = vec![false; page(self.facts.len().saturating_sub(1)) + 1];
        let mut order: Vec<(u64, usize)> =
            self.arrived_ms.iter().enumerate().filter_map(|(i, at)| Some(((*at)?, i))).collect();
        order.sort_unstable();
        let mut latest = page(0);
        order.into_iter().any(|(_, i)| {
            let of = page(i);
            opened[of] |= i == 0 || page(i - 1) < of;
            let mixed = of < latest || (of > page(0) && !opened[of]);
            latest = latest.max(of);
            mixed
        })
    }

    /// How many pages had followed the first when the chunk's spoke.
    pub fn page(&self, chunk: usize) -> usize {
        self.session.takes[..=self.facts[chunk].take].iter().filter(|take| take.new_page).count()
    }

    /// The facts of a take.
    pub fn chunks_of(&self, take: usize) -> Range<usize> {
        let from = self.facts.partition_point(|fact| fact.take < take);
        from..self.facts.partition_point(|fact| fact.take <= take)
    }

    /// The take that plays a tape.
    pub fn take_of(&self, tape: usize) -> Option<usize> {
        self.session.takes.iter().position(|take| take.tape == tape)
    }
}

fn gave_up_gaps(session: &Session, outcome: &Outcome) -> bool {
    outcome.world.events.iter().any(
        |(_, event)| matches!(event, Event::GapGivenUp { session_id, .. } if *session_id == session.name),
    )
}

fn again<'a>(session: &Session, dead: &'a [Dead], by_body: &BTreeMap<String, usize>) -> Vec<&'a Dead> {
    dead.iter().filter(|dead| dead.group == session.name && !by_body.contains_key(&dead.body)).collect()
}

fn left_parked(session: &Session, parked: &BTreeMap<usize, &Dead>) -> BTreeSet<usize> {
    let chunks = session.takes.iter().flat_map(|take| &take.chunks).enumerate();
    let sent_again = chunks.filter(|(_, chunk)| chunk.resent_after_ms.or(chunk.restamped_after_ms).is_some());
    let last = sent_again.filter(|(i, _)| parked.contains_key(i)).last().map(|(i, _)| i);
    parked.keys().copied().filter(|i| last.is_some_and(|last| *i < last)).collect()
}

fn disturbed(facts: &[Fact], arrived_ms: &[Option<u64>]) -> BTreeSet<usize> {
    let overtaken = |i: usize| {
        let at = arrived_ms[i];
        arrived_ms[i + 1..].iter().any(|later| later.is_some() && *later < at)
    };
    let is_lost = |i: usize| !matches!(facts[i].passage, Passage::Sent(_));
    (0..facts.len()).filter(|&i| is_lost(i) || overtaken(i)).collect()
}

fn spoken(session: &Session, facts: &[Fact]) -> Vec<Spoken> {
    let mut all = Vec::new();
    for (t, take) in session.takes.iter().enumerate() {
        let browser = tape(take.tape).browser;
        let (bytes, ends) = take.recording();
        let header_bytes = super::speech::webm::header(browser, take.uid).len();
        let first_fact = facts.iter().position(|fact| fact.take == t).unwrap_or_default();
        let per_packet = browser.frames_per_packet();
        let packet_ms = (per_packet * FRAME) as u64 / PER_MS;
        let mut before = Vec::new(); // packets complete at each chunk's end
        for chunk in &take.chunks {
            before.push(ends.iter().filter(|end| **end <= chunk.until).count());
        }
        for (p, end) in ends.iter().enumerate() {
            let Some(c) = take.chunks.iter().position(|chunk| chunk.until >= *end) else { continue };
            let cluster = p - p % browser.packets_per_cluster();
            let needs = if cluster == 0 { header_bytes } else { ends[cluster - 1] }..*end;
            let needs = match take.muxer {
                // Where else a recorder's file can be taken up is not for here to say.
                Some(_) => 0..bytes.len(),
                None if cluster == 0 => 0..needs.end,
                None => needs,
            };
            let chunk = &take.chunks[c];
            let ends_ms = session.begins_ms + chunk.handed_out_ms - chunk.late_ms;
            let packet_at_ms = ends_ms.saturating_sub((before[c] - p) as u64 * packet_ms);
            for f in 0..per_packet {
                let true_ms = packet_at_ms + f as u64 * 20;
                all.push(Spoken {
                    take: t,
                    frame: p * per_packet + f,
                    chunk: first_fact + c,
                    needs: needs.clone(),
                    at_ms: true_ms.saturating_add_signed(session.skew_ms),
                    true_ms,
                });
            }
        }
    }
    all
}

/// Takes the fragments' samples apart into frames.
fn heard(fragments: &[Fragment]) -> Vec<Heard> {
    let mut all = Vec::new();
    for fragment in fragments {
        for Run { at_ms, pcm, time } in runs(&fragment.media) {
            let mut from = 0;
            while from < pcm.len() {
                let (id, len) = recognise(&pcm[from..]);
                let at = at_ms * PER_MS + from as u64 * time / pcm.len() as u64;
                all.push(Heard { id, at, samples: len as u64, number: fragment.number });
                from += len;
            }
        }
    }
    all.sort_by_key(|heard| heard.at);
    all
}

fn recognise(pcm: &[i16]) -> (Option<FrameId>, usize) {
    let partial = FRAME - 104;
    for len in [FRAME, partial] {
        if let Some(id) = pcm.get(..len).and_then(tape::recognise) {
            return (Some(id), len);
        }
    }
    (None, pcm.len().min(FRAME))
}

/// Audio without a hole.
pub(crate) struct Run {
    /// When it begins.
    pub(crate) at_ms: u64,
    pub(crate) pcm: Vec<i16>,
    /// How much time its blocks take, in samples: a little more or less than their own where the sample clock drifts.
    pub(crate) time: u64,
}

/// Blocks of 100 ms may lie so much closer or wider where the sample clock drifts.
const SCALED_MS: u64 = 3;

/// The fragment's blocks, joined where one ends when the next begins.
pub(crate) fn runs(media: &ReadFragment) -> Vec<Run> {
    let mut runs: Vec<(Run, u64)> = Vec::new();
    for (at, bytes) in &media.blocks {
        let samples = bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
        let length = bytes.len() as u64 / 2;
        match runs.last_mut() {
            Some((run, ends_ms)) if ends_ms.abs_diff(at.0) <= SCALED_MS => {
                run.pcm.extend(samples);
                run.time = (at.0 - run.at_ms) * PER_MS + length;
                *ends_ms = at.0 + length / PER_MS;
            }
            _ => {
                let run = Run { at_ms: at.0, pcm: samples.collect(), time: length };
                runs.push((run, at.0 + length / PER_MS));
            }
        }
    }
    runs.into_iter().map(|(run, _)| run).collect()
}
