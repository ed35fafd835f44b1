//! A batch as one fragment: what its bytes and its timestamp will be, and what its commit will change.
//! All of it depends on the checkpoint and the chunks alone.

use media::fragment::{self, Block, FragmentError};
use media::opus::{DecodeError, Decoder};
use media::time::{EpochMs, Samples};

use crate::checkpoint::{
    Advance, ChunkRange, Gap, Heals, Heard, Line, MediaState, Position, Skipped, Snapshot,
};
use crate::fold::{Folded, Piece, Refusal, Run, Step, captured_from, fold, is_looking};
use crate::message::{Record, SessionId};

/// A batch, ready to be leased, put and committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What the commit changes.
    pub advance: Advance,
    /// Snapshots to store before the lease, by key: where gaps begin, then where the line goes on.
    pub snapshots: Vec<(String, Snapshot)>,
    /// The audio.
    pub runs: Vec<Run>,
    /// What the decoder must have heard before.
    pub pre_roll: Vec<Heard>,
    /// Chunks that cannot be written, as indices into the pieces that were planned.
    pub refused: Vec<(usize, Refusal)>,
    /// The gap that is left if all of the batch is parked, and its snapshot.
    pub whole: (Gap, Snapshot),
    recording: Option<String>,
    /// Where a backfill ends that has brought back all that was skipped after its gap: before this chunk, in this state.
    reaches: Option<(u64, Position, MediaState)>,
}

/// Plans the batch of `pieces` (of one numbering) that continues `line` from `start`. For a backfill, `gap` is the gap
/// that it fills, and `start` holds all that was skipped after it.
pub fn plan(start: &Snapshot, line: Line, gap: Option<&Gap>, pieces: &[Piece]) -> Plan {
    let closes = gap.filter(|gap| pieces.last().is_some_and(|last| last.index + 1 >= gap.chunks.to));
    let folded = closes.map_or_else(|| fold(start, gap, pieces), |gap| fold_with_residue(start, gap, pieces));
    let chunks = range_of(pieces);
    let at = folded.runs.first().map_or_else(|| start.position.timeline.end().unwrap_or_default(), |r| r.at);
    let refused: Vec<(usize, Refusal)> = folded
        .pieces
        .iter()
        .enumerate()
        .filter_map(|(i, piece)| piece.as_ref().err().map(|refusal| (i, refusal.clone())))
        .collect();
    let advance = Advance {
        line,
        to: folded.end.clone(),
        gaps: Vec::new(),
        chunks,
        count: (pieces.len() - refused.len()) as u64,
        at,
        until: folded.end.timeline.end().unwrap_or_default(),
        samples: folded.samples(),
        snapshot: String::new(),
        placements: placements(pieces, &folded),
        skipped: None,
        heals: None,
        traceparent: pieces.first().and_then(|piece| piece.record.traceparent()).map(str::to_owned),
    };
    let mut plan = Plan {
        whole: gap_over(start, &advance, is_looking(&folded.media).then_some(chunks.to)),
        advance,
        snapshots: Vec::new(),
        recording: folded.end.recording.clone(),
        runs: folded.runs.clone(),
        pre_roll: start.media.pre_roll.clone(),
        refused,
        reaches: None,
    };
    plan.leave_holes(start, &folded, gap, closes.is_some());
    plan.go_on(start, gap, folded);
    plan
}

fn range_of(pieces: &[Piece]) -> ChunkRange {
    let Some((first, last)) = pieces.first().zip(pieces.last()) else {
        return ChunkRange { numbering: 0, from: 0, to: 0 };
    };
    ChunkRange { numbering: first.numbering, from: first.index, to: last.index + 1 }
}

/// Completes a gap's last packet: what was skipped after the gap follows its last chunk.
fn fold_with_residue(start: &Snapshot, gap: &Gap, pieces: &[Piece]) -> Folded {
    let (numbering, index) = pieces.last().map_or((0, 0), |last| (last.numbering, last.index + 1));
    let residue = start.residue.iter().zip(index..).map(|(residue, index)| Piece {
        record: Record { sent_at: residue.sent_at, ..Record::default() },
        numbering,
        index,
        captured_at: residue.captured_at,
        connection_id: None,
        audio: Ok(residue.bytes.clone()),
    });
    let all: Vec<Piece> = pieces.iter().cloned().chain(residue).collect();
    // What was skipped is a chunk's beginning: where that chunk ends says nothing of it.
    let mut start = start.clone();
    start.placements.retain(|(placed, _)| *placed < index);
    let mut folded = fold(&start, Some(gap), &all);
    folded.pieces.truncate(pieces.len());
    folded.spans.truncate(pieces.len());
    // The residue is no chunk: what it cannot complete stays with the gap that it belongs to.
    folded.gaps.retain(|open| open.gap.chunks.from < index);
    for open in &mut folded.gaps {
        open.gap.chunks.to = open.gap.chunks.to.min(index);
    }
    folded
}

/// Where each piece's audio ends, by index.
fn placements(pieces: &[Piece], folded: &Folded) -> Vec<(u64, EpochMs)> {
    let ends = folded.spans.iter().map(|span| span.map(|(_, end)| end));
    pieces.iter().zip(ends).filter_map(|(piece, end)| Some((piece.index, end?))).collect()
}

/// The gap that is left where all of a batch is parked, back to where its line stood at `start`; and its snapshot.
pub fn gap_over(start: &Snapshot, batch: &Advance, looks_on_at: Option<u64>) -> (Gap, Snapshot) {
    let (position, began) = (&start.position, batch.to.numbering_began);
    let goes_on = position.numbering == batch.chunks.numbering;
    let from = if goes_on { position.next.min(batch.chunks.from) } else { 0 };
    let placements = batch.placements.clone();
    let mut snapshot = Snapshot { residue: Vec::new(), placements, ..start.clone() };
    snapshot.position.timeline.learn_skew(&batch.to.timeline);
    if !goes_on {
        snapshot.position.numbering = batch.chunks.numbering;
        snapshot.position.next = 0;
        snapshot.position.numbering_began = began;
    }
    let gap = Gap {
        chunks: ChunkRange { from, ..batch.chunks },
        begins_at: position.timeline.end().unwrap_or(batch.at),
        ends_at: None,
        captured: (captured_from(position, batch.chunks, began), batch.to.last_captured),
        snapshot: snapshot.key("gap"),
        looks_on_at,
        skipped: Vec::new(),
        held_to: 0,
        unsure: None,
        parked: None,
        taken_until: None,
    };
    (gap, snapshot)
}

impl Plan {
    /// The gaps inside the batch, and what was skipped before its first Cluster. A search that goes on beyond a gap that
    /// closes goes on where that gap's did.
    fn leave_holes(&mut self, start: &Snapshot, folded: &Folded, gap: Option<&Gap>, closes: bool) {
        let on = |at: Option<u64>| match gap.filter(|_| closes) {
            Some(gap) if at >= Some(gap.chunks.to) => gap.looks_on_at,
            _ => at,
        };
        for open in &folded.gaps {
            let mut snapshot = open.snapshot.clone();
            snapshot.position.timeline.learn_skew(&folded.end.timeline);
            snapshot.placements.clone_from(&start.placements);
            let snapshot = self.store("gap", snapshot);
            let looks_on_at = on(open.gap.looks_on_at);
            let ends_at = open.gap.ends_at.or(gap.and_then(|gap| gap.ends_at));
            let parked = gap.and_then(|gap| gap.parked);
            self.advance.gaps.push(Gap { snapshot, looks_on_at, ends_at, parked, ..open.gap.clone() });
        }
        if !folded.residue.is_empty() {
            let position = start.position.clone();
            let residue = Snapshot { position, residue: folded.residue.clone(), ..Snapshot::default() };
            let snapshot = self.store("residue", residue);
            let (from, held_to) = (start.position.next, folded.held_to);
            let looks_on_at = on(folded.looks_on_at);
            self.advance.skipped = Some(Skipped { from, snapshot, looks_on_at, held_to });
        }
    }

    /// Where the line goes on.
    fn go_on(&mut self, start: &Snapshot, gap: Option<&Gap>, folded: Folded) {
        let Folded { end, media, .. } = folded;
        let Some(gap) = gap else {
            let rest = Snapshot { position: end, media, ..Snapshot::default() };
            self.advance.snapshot = self.store("live", rest);
            return;
        };
        if end.next >= gap.chunks.to {
            self.reaches = gap.looks_on_at.filter(|_| !is_looking(&media)).map(|next| (next, end, media));
            return;
        }
        let chunks = ChunkRange { from: end.next, ..gap.chunks };
        let begins_at = end.timeline.end().unwrap_or(gap.begins_at);
        let captured = (end.last_captured, gap.captured.1);
        let (residue, placements) = (start.residue.clone(), start.placements.clone());
        let rest = Snapshot { position: end, media, residue, placements, ..Snapshot::default() };
        let (snapshot, skipped) = (self.store("gap", rest), Vec::new());
        self.advance.gaps.push(Gap {
            chunks,
            begins_at,
            captured,
            snapshot,
            skipped,
            unsure: None,
            ..gap.clone()
        });
    }

    fn store(&mut self, kind: &str, snapshot: Snapshot) -> String {
        let key = snapshot.key(kind);
        self.snapshots.push((key.clone(), snapshot));
        key
    }

    /// Numbering and index of the chunk before which a backfill ends, if what follows looks for a Cluster there: it can
    /// go on from the backfill's end.
    pub fn reaches(&self) -> Option<(u32, u64)> {
        self.reaches.as_ref().map(|(next, ..)| (self.advance.chunks.numbering, *next))
    }

    /// Lets the live audio go on from the backfill's end.
    pub fn heal_live(&mut self, live: &Position) {
        if let Some((_, end, media)) = self.reaches.take() {
            let (timeline, recording) = (end.timeline, end.recording);
            let position = Position { timeline, recording, ..live.clone() };
            let snapshot = Snapshot { position: position.clone(), media, ..Snapshot::default() };
            let key = self.store("live", snapshot);
            self.advance.heals = Some(Heals::Live(Box::new(position), key));
        }
    }

    /// Lets the gap that begins there, at `snapshot`, go on from the backfill's end.
    pub fn heal_gap(&mut self, mut snapshot: Snapshot) {
        if let Some((from, end, media)) = self.reaches.take() {
            (snapshot.position.timeline, snapshot.position.recording) = (end.timeline, end.recording);
            snapshot.media = media;
            let key = self.store("gap", snapshot);
            self.advance.heals = Some(Heals::Gap(from, key));
        }
    }

    /// Whether a backfill ends before the audio after its gap begins. (Its hole may have been measured too small, where
    /// the header of a restarted recorder was among what is missing.)
    pub fn fits(&self, gap: &Gap) -> bool {
        gap.ends_at.is_none_or(|end| self.is_silent() || self.advance.until <= end)
    }

    /// Whether there is any audio to write.
    pub fn is_silent(&self) -> bool {
        self.advance.samples == Samples(0)
    }

    /// The fragment's bytes. `decoder` must have heard everything up to the batch; [`prime`] makes such a one.
    pub fn render(&self, session: &SessionId, decoder: &mut Decoder) -> Result<Vec<u8>, FragmentError> {
        let blocks: Vec<Block> =
            self.runs.iter().map(|run| Block { at: run.at, pcm: decode(run, decoder) }).collect();
        let chunks = self.advance.chunks;
        let line = if self.advance.line == Line::Live { "live" } else { "backfill" };
        let mut tags = vec![
            ("sessionId", session.to_string()),
            ("line", line.to_owned()),
            ("recordingId", self.recording.clone().unwrap_or_else(|| "unknown".into())),
            ("numbering", chunks.numbering.to_string()),
            ("chunkFirst", chunks.from.to_string()),
            ("chunkLast", (chunks.to - 1).to_string()),
            ("samples", self.advance.samples.0.to_string()),
            ("sampleRate", "16000".to_string()),
        ];
        tags.extend(self.advance.traceparent.clone().map(|context| ("traceparent", context)));
        fragment::write(&blocks, &tags)
    }
}

/// A decoder that has heard the pre-roll.
pub fn prime(pre_roll: &[Heard]) -> Result<Decoder, DecodeError> {
    let mut decoder = Decoder::new()?;
    let mut unheard = Vec::new();
    for heard in pre_roll {
        unheard.clear();
        match heard {
            Heard::Packet(packet) => _ = decoder.decode(packet, &mut unheard),
            Heard::Lost(samples) => decoder.conceal(*samples, &mut unheard),
        }
    }
    Ok(decoder)
}

/// Decodes a run. Its length is what the plan says, whatever libopus makes of a packet.
fn decode(run: &Run, decoder: &mut Decoder) -> Vec<i16> {
    let mut pcm = Vec::with_capacity(run.samples.0 as usize + 2_880);
    let mut packet_pcm = Vec::with_capacity(2_880);
    for step in &run.steps {
        match step {
            Step::Reset => {
                if let Ok(fresh) = Decoder::new() {
                    *decoder = fresh;
                }
            }
            Step::Conceal(lost) => decoder.conceal(*lost, &mut pcm),
            Step::Decode { packet, skip, keep } => {
                packet_pcm.clear();
                if decoder.decode(packet, &mut packet_pcm).is_err() {
                    packet_pcm.clear();
                    let lost = media::opus::packet_samples(packet).unwrap_or_default();
                    decoder.conceal(lost, &mut packet_pcm);
                }
                packet_pcm.resize((skip.0 + keep.0) as usize, 0);
                pcm.extend_from_slice(&packet_pcm[skip.0 as usize..]);
            }
        }
    }
    pcm
}
