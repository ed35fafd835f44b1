//! `kvsw session timeline`: the ledger as a picture.

use media::time::EpochMs;
use reader::ledger::ledger_within;
use reader::picture::{Timeline, Wave};
use reader::stream::LAST_BLOCK_MS;
use reader::text::count;
use serde::Serialize;

use super::facts::{facts, part, read};
use crate::args;
use crate::error::{Error, Exit, Result};
use crate::files::{format_of, writable};
use crate::output::{Output, Pen, Show};
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
pub async fn run(world: &World, output: &Output, args: &args::Timeline) -> Result<Exit> {
    let out = &args.out;
    format_of(out, &[("svg", ())])?;
    args.portion.span.check(None)?;
    writable(out, args.portion.force)?;
    let reader = world.stream(&args.portion.session);
    let known = facts(world, &reader, &args.portion.session).await?.with_stream()?;
    let part = part(&known, args.portion.span)?;
    let all = EpochMs(part.until.0.saturating_add(LAST_BLOCK_MS));
    let end = if args.portion.span.to.is_some() { part.to } else { all };
    let (mut wave, mut fragments) = (Wave::new(part.from, end), Vec::new());
    read(&reader, output, part.around, |fragment, blocks| {
        blocks.iter().for_each(|block| wave.add(block));
        fragments.push(fragment);
        Ok(())
    })
    .await?;
    let checkpoint = known.checkpoint.clone().unwrap_or_default();
    let ledger = ledger_within(&fragments, &checkpoint, &known.parked_chunks(), (part.from, part.to));
    let begins = known.extent().map_or(part.from, |(begins, _)| begins);
    let picture = Timeline::of(args.portion.session.as_str(), &ledger, &fragments, wave, begins).svg();
    std::fs::write(out, picture).map_err(|source| Error::File { path: out.clone(), source })?;
    let (fragments, gaps) = (ledger.fragments.len(), ledger.gaps.len());
    output.show(&Drawn { file: out.display().to_string(), fragments, gaps })?;
    Ok(Exit::Fine)
}

impl Show for Drawn {
    fn text(&self, _: Pen) -> String {
        format!("{}: {}, {}", self.file, count(self.fragments, "fragment"), count(self.gaps, "open gap"))
    }
}
