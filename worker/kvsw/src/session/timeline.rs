//! `kvsw session timeline`: the ledger as a picture.

use media::time::EpochMs;
use serde::Serialize;

use super::facts::{FragmentFacts, LAST_BLOCK_MS, facts, part, read};
use super::ledger::{HoleKind, Ledger, ledger_within};
use crate::args::{PictureFormat, Timeline as Args};
use crate::error::{Error, Exit, Result};
use crate::output::{Output, Pen, Show};
use crate::picture::timeline::{Band, Blank, Timeline, Wave};
use crate::readback::StreamReader;
use crate::text::{count, length, moment, ranges};
use crate::world::World;

/// What was drawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drawn {
    /// The file.
    pub file: String,
    /// Fragments in it.
    pub fragments: usize,
    /// Gaps in it.
    pub gaps: usize,
}

/// The command.
///
/// # Errors
/// Those of the services and of the file system; wrong use, where the session or the part has no audio.
pub async fn run(world: &World, output: &Output, args: &Args) -> Result<Exit> {
    super::writable(&args.out)?;
    let reader = StreamReader::new(world, &args.session.stream_name());
    let known = facts(world, &reader, &args.session).await?;
    let part = part(&known, args.span)?;
    let all = EpochMs(part.until.0.saturating_add(LAST_BLOCK_MS));
    let end = if args.span.to.is_some() { part.to } else { all };
    let mut wave = Wave::new(part.from.0, end.0);
    let mut fragments = Vec::new();
    read(&reader, output, part.listed, |fragment| {
        for (at, bytes) in &fragment.blocks {
            let pcm = bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
            wave.add(at.0, &pcm.collect::<Vec<_>>());
        }
        fragments.push(FragmentFacts::of(&fragment));
        Ok(())
    })
    .await?;
    let parked: Vec<Option<u64>> = known.parked.iter().map(|entry| entry.note.chunk_index).collect();
    let checkpoint = known.checkpoint.clone().unwrap_or_default();
    let ledger = ledger_within(&fragments, &checkpoint, &parked, (part.from, part.to));
    let picture = timeline(args.session.as_str(), &ledger, &fragments, wave);
    let bytes = match args.format {
        PictureFormat::Svg => picture.scene().svg().into_bytes(),
        PictureFormat::Png => picture.scene().png().unwrap_or_default(),
    };
    std::fs::write(&args.out, bytes).map_err(|source| Error::File { path: args.out.clone(), source })?;
    let (fragments, gaps) = (ledger.fragments.len(), ledger.gaps.len());
    output.show(&Drawn { file: args.out.display().to_string(), fragments, gaps });
    Ok(Exit::Fine)
}

/// The ledger's picture; `fragments` are those that it was made of.
pub fn timeline(session_id: &str, ledger: &Ledger, fragments: &[FragmentFacts], wave: Wave) -> Timeline {
    let rows = ledger.fragments.iter().zip(fragments).enumerate();
    let bands = rows.flat_map(|(i, (row, facts))| {
        let longest = facts.stretches.iter().map(|(_, length)| *length).max();
        facts.stretches.iter().map(move |(at, length)| Band {
            fragment: i,
            from_ms: at.0,
            to_ms: at.0 + length.ms_ceil(),
            label: row.chunks.filter(|_| Some(*length) == longest).map_or(String::new(), |c| ranges(&[c])),
            backfilled: row.backfilled,
        })
    });
    let blank = |from: u64, to: u64, kind| match kind {
        HoleKind::Pause => Blank::Pause,
        HoleKind::Unknown => Blank::Unknown,
        HoleKind::Gap => {
            let mut gaps = ledger.gaps.iter().filter(|gap| gap.begins_at < to && gap.until > from);
            if gaps.any(|gap| !gap.parked.is_empty()) { Blank::Parked } else { Blank::Gap }
        }
    };
    let blanks = ledger.holes.iter().map(|hole| (hole.from, hole.to, blank(hole.from, hole.to, hole.kind)));
    let time = &ledger.time;
    let mut subtitle = vec![
        moment(EpochMs(time.from)),
        length(time.to - time.from),
        count(ledger.fragments.len(), "fragment"),
        format!("audio {}", length(time.audio_ms)),
    ];
    for (ms, what) in [(time.pause_ms, "pauses"), (time.gap_ms, "gaps"), (time.unknown_ms, "unknown")] {
        if ms > 0 {
            subtitle.push(format!("{what} {}", length(ms)));
        }
    }
    Timeline {
        title: format!("session {session_id}"),
        subtitle: subtitle.join("   "),
        wave,
        bands: bands.collect(),
        blanks: blanks.collect(),
    }
}

impl Show for Drawn {
    fn text(&self, _: Pen) -> String {
        format!("{}: {}, {}", self.file, count(self.fragments, "fragment"), count(self.gaps, "open gap"))
    }
}

#[cfg(test)]
mod tests {
    use ingest::checkpoint::{Checkpoint, Gap, Position};
    use media::time::Samples;

    use super::*;

    #[test]
    fn what_is_parked_at_the_head_and_at_the_tail_is_drawn() {
        let gap = |from: u64, to: u64, begins_at: u64, ends_at: Option<u64>| Gap {
            begins_at: EpochMs(begins_at),
            ends_at: ends_at.map(EpochMs),
            captured: (EpochMs(begins_at), EpochMs(begins_at + 2_000)),
            ..crate::dlq::plan::tests::gap(0, from, to)
        };
        let gaps = vec![gap(0, 7, 1_000, Some(3_000)), gap(14, 21, 5_000, None)];
        let live = Position { next: 21, ..Position::default() };
        let state = Checkpoint { live, gaps, ..Checkpoint::default() };
        let fragments = [FragmentFacts {
            number: "1".into(),
            stretches: vec![(EpochMs(3_000), Samples::from_ms(2_000))],
            numbering: Some(0),
            chunks: Some((7, 13)),
            ..FragmentFacts::default()
        }];
        let ends = (EpochMs(0), EpochMs(u64::MAX));
        let ledger = ledger_within(&fragments, &state, &[Some(0), Some(14)], ends);
        let drawn = timeline("owl", &ledger, &fragments, Wave::new(1_000, 7_000));
        assert_eq!(drawn.blanks, [(1_000, 3_000, Blank::Parked), (5_000, 7_000, Blank::Parked)]);
        assert!(drawn.subtitle.ends_with("6 s   1 fragment   audio 2 s   gaps 4 s"), "{}", drawn.subtitle);
        let nowhere = ledger_within(&[], &state, &[], ends);
        let missing = timeline("owl", &nowhere, &[], Wave::new(1_000, 7_000)).blanks;
        assert_eq!(missing.iter().filter(|(.., blank)| *blank == Blank::Gap).count(), 2);
    }
}
