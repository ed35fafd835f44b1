//! `kvsw session export`: the session's audio as WAV or Matroska, read in pieces and written in pieces.

use std::path::Path;

use media::time::{EpochMs, Samples};
use reader::audio_file::{AudioFile, AudioFormat, Exported, WriteError};
use reader::stream::StreamReader;
use reader::text::{count, length, moment};

use super::facts::{Part, facts, no_audio, part, read};
use crate::args::SessionExport;
use crate::error::{Error, Exit, Result, usage};
use crate::files::{format_of, writable};
use crate::output::{Output, Pen, Show};
use crate::world::World;

/// The command.
///
/// # Errors
/// Those of the services and of the file system; wrong use, where the session or the part has no audio.
pub async fn run(world: &World, output: &Output, args: &SessionExport) -> Result<Exit> {
    let format = format_of(&args.out, &[("wav", AudioFormat::Wav), ("mkv", AudioFormat::Matroska)])?;
    args.portion.span.check(None)?;
    writable(&args.out, args.portion.force)?;
    let reader = world.stream(&args.portion.session);
    let known = facts(world, &reader, &args.portion.session).await?.with_stream()?;
    let part = part(&known, args.portion.span)?;
    if known.listed.is_empty() {
        return Err(no_audio(
            "the stream has no audio of this session: it was never written, or has expired",
        ));
    }
    if part.listed.is_empty() && !args.fill_gaps {
        return Err(no_audio("no audio lies in that part of the session"));
    }
    // Without silence the file begins with its first sample.
    let bare = args.portion.span.from.is_none() && !args.fill_gaps;
    let from = part.listed.first().filter(|_| bare).map_or(part.from, |first| first.at);
    let exported = export(&reader, output, (args, format), &part, (from, part.to)).await;
    let Some(exported) = exported? else {
        return Err(no_audio("no audio lies in that part of the session"));
    };
    output.show(&exported)?;
    Ok(Exit::Fine)
}

/// Writes the file. `None` where there is nothing to write: then what lay there before still does.
async fn export(
    reader: &StreamReader,
    output: &Output,
    (args, format): (&SessionExport, AudioFormat),
    part: &Part<'_>,
    span: (EpochMs, EpochMs),
) -> Result<Option<Exported>> {
    let out = &args.out;
    let failed = |error: WriteError| write_error(out, error);
    let create = || AudioFile::create(out, format, args.portion.session.as_str(), span, args.fill_gaps);
    let mut file = None;
    let written = read(reader, output, part.listed, |_, blocks| {
        if file.is_none() && blocks.iter().any(|block| block.at < span.1 && block.end() > span.0) {
            file = Some(create().map_err(failed)?);
        }
        file.as_mut().map_or(Ok(()), |file| file.append(&blocks)).map_err(failed)
    });
    let written = written.await;
    if written.is_ok() && file.is_none() && args.fill_gaps && span.0 < part.until {
        file = Some(create().map_err(failed)?);
    }
    let Some(file) = file else { return written.map(|()| None) };
    let exported = written.and_then(|()| file.finish(out, part.until).map_err(failed));
    exported.map(Some).inspect_err(|_| drop(std::fs::remove_file(out)))
}

fn write_error(path: &Path, error: WriteError) -> Error {
    let other = "--from and --to choose a part; without --fill-gaps no silence is written";
    match error {
        WriteError::Io(source) => Error::File { path: path.to_owned(), source },
        error => usage(error.to_string(), other),
    }
}

impl Show for Exported {
    fn text(&self, _: Pen) -> String {
        let audio = length(Samples(self.samples).ms_floor());
        let mut text = format!("{}: {audio} of audio in {}", self.file, count(self.fragments, "fragment"));
        if self.silence > 0 {
            text.push_str(&format!(", {} of silence", length(Samples(self.silence).ms_floor())));
        }
        format!("{text}, from {} to {}", moment(EpochMs(self.from)), moment(EpochMs(self.to)))
    }
}
