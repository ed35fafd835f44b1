//! `kvsw session timeline`: the ledger as a picture.

use media::time::EpochMs;
use serde::Serialize;

use super::facts::{FragmentFacts, facts, part, read};
use super::ledger::{HoleKind, Ledger, ledger};
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
    let reader = StreamReader::new(world, &args.session.stream_name());
    let known = facts(world, &reader, &args.session).await?;
    let ((from, to), listed) = part(&known.listed, args.span)?;
    // A gap may lie before the first fragment or behind the last; the picture ends with the audio.
    let begin = if args.span.from.is_some() { from.0 } else { listed[0].at.0 };
    let last = listed.iter().map(|fragment| fragment.end().0).max().unwrap_or(begin) + 100;
    let end = if args.span.to.is_some() { to.0 } else { last };
    let mut wave = Wave::new(begin, end.max(begin + 1));
    let mut fragments = Vec::new();
    read(&reader, output, listed, |fragment| {
        for (at, bytes) in &fragment.blocks {
            let pcm = bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
            wave.add(at.0, &pcm.collect::<Vec<_>>());
        }
        fragments.push(FragmentFacts::of(&fragment));
        Ok(())
    })
    .await?;
    let parked: Vec<Option<u64>> = known.parked.iter().map(|entry| entry.note.chunk_index).collect();
    let ledger = ledger(&fragments, &known.checkpoint.clone().unwrap_or_default(), &parked);
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
            let inside = |begin: u64, end: Option<u64>| begin < to && end.is_none_or(|end| end > from);
            let mut gaps = ledger.gaps.iter().filter(|gap| inside(gap.begins_at, gap.ends_at));
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
