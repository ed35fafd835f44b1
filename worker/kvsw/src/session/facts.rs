//! What is known of one session: its state, its parked messages, its fragments.

use std::collections::BTreeSet;

use aws::parked_index::Entry;
use ingest::checkpoint::Checkpoint;
use ingest::message::SessionId;
use media::time::EpochMs;
use reader::fragment::{Block, Fragment};
use reader::ledger::{Parked, gap_times};
use reader::stream::{LAST_BLOCK_MS, LONGEST_FRAGMENT_MS, LeftOut, Listed, StreamReader};
use writer::ports::SessionStatus;

use crate::args::Span;
use crate::error::{Error, Result, usage};
use crate::output::Output;
use crate::world::World;

/// What is known of a session besides its media.
#[derive(Debug)]
pub struct SessionFacts {
    /// Which.
    pub session: SessionId,
    /// By the Sessions table.
    pub status: SessionStatus,
    /// The writer's state.
    pub checkpoint: Option<Checkpoint>,
    /// Gaps whose state before them is still stored, by numbering and first index.
    pub placeable: BTreeSet<(u32, u64)>,
    /// When that was last written.
    pub last_activity: Option<EpochMs>,
    /// Its parked messages.
    pub parked: Vec<Entry>,
    /// Messages in the DLQ of which no note speaks, of any session, by the queue's approximate count.
    pub without_note: usize,
    /// Its fragments, in the order of time.
    pub listed: Vec<Listed>,
    /// Why the stream could not be asked; then `listed` is empty.
    pub stream_error: Option<Error>,
}

impl SessionFacts {
    /// The facts, where the stream was asked.
    ///
    /// # Errors
    /// Why it could not be.
    pub fn with_stream(mut self) -> Result<Self> {
        self.stream_error.take().map_or(Ok(self), Err)
    }

    /// Its parked chunks.
    pub fn parked_chunks(&self) -> Vec<Parked> {
        self.parked.iter().map(Parked::of).collect()
    }

    /// From where to where there is audio in the stream, or an open gap. The last audio may end [`LAST_BLOCK_MS`] later.
    pub fn extent(&self) -> Option<(EpochMs, EpochMs)> {
        let gaps = self.checkpoint.as_ref().map(gap_times).unwrap_or_default();
        let gaps = gaps.runs().iter().map(|(from, to)| (EpochMs(*from), EpochMs(*to)));
        let all: Vec<(EpochMs, EpochMs)> = self.listed.iter().map(|l| (l.at, l.end())).chain(gaps).collect();
        let (from, to) = (all.iter().map(|(from, _)| *from).min(), all.iter().map(|(_, to)| *to).max());
        from.zip(to)
    }
}

/// A part of a session.
#[derive(Debug)]
pub struct Part<'a> {
    /// Its beginning: what was asked for, or the session's.
    pub from: EpochMs,
    /// What was asked for as its end, or later than all of the session.
    pub to: EpochMs,
    /// Its end: what was asked for, or the session's if that is earlier.
    pub until: EpochMs,
    /// The fragments that may reach into it, in the order of time.
    pub listed: &'a [Listed],
    /// The same, and one more at each end, which tells what lies between.
    pub around: &'a [Listed],
}

/// Asks for all that, at the same time. That Kinesis Video does not answer is a fact too.
///
/// # Errors
/// Those of the other services; wrong use, where nothing is known of the session.
pub async fn facts(world: &World, reader: &StreamReader, session: &SessionId) -> Result<SessionFacts> {
    let (status, checkpoint, activity, notes, depth, listed) = futures::try_join!(
        world.status(session),
        world.checkpoint(session),
        async { Ok(world.state.last_activity(std::slice::from_ref(session)).await?) },
        world.notes(None),
        world.dlq_depth(),
        async { Ok(reader.list(None).await) },
    )?;
    let without_note = depth.total().saturating_sub(notes.len());
    let parked: Vec<Entry> = notes.into_iter().filter(|e| e.session_id == session.as_str()).collect();
    let (listed, stream_error) = match listed {
        Ok(listed) => (listed, None),
        Err(error) => (Vec::new(), Some(Error::from(error))),
    };
    let unheard_of = checkpoint.is_none() && parked.is_empty() && listed.is_empty();
    if status == SessionStatus::Unknown && unheard_of && stream_error.is_none() {
        let hint =
            "is the name right? It is the sessionId, without the `session-` prefix of its stream's name";
        return Err(usage(format!("there is no session {:?}", session.as_str()), hint));
    }
    let placeable = match &checkpoint {
        Some(checkpoint) if !parked.is_empty() => world.placeable(session, checkpoint).await?,
        _ => BTreeSet::new(),
    };
    let (last_activity, session) = (activity.into_values().next(), session.clone());
    Ok(SessionFacts {
        session,
        status,
        checkpoint,
        placeable,
        last_activity,
        parked,
        without_note,
        listed,
        stream_error,
    })
}

/// Reads the media of `listed` and gives each fragment with its audio, once and in the order of time, to `take`.
///
/// # Errors
/// Those of the stream, and those of `take`.
pub async fn read(
    reader: &StreamReader,
    output: &Output,
    listed: &[Listed],
    mut take: impl FnMut(Fragment, Vec<Block>) -> Result<()>,
) -> Result<()> {
    let bar = output.progress(listed.len() as u64, "reading the stream");
    let left_out = reader.read(listed, |fragment, blocks| {
        bar.inc(1);
        take(fragment, blocks)
    });
    let left_out = left_out.await;
    bar.finish_and_clear();
    let (LeftOut { expired, copies }, all) = (left_out?, listed.len());
    if expired > 0 {
        output.say(&format!("{expired} of {all} fragments expired while they were read"));
    }
    if copies > 0 {
        output
            .say(&format!("{copies} of {all} fragments are copies of others, by time and chunks: read once"));
    }
    Ok(())
}

/// The moments that `span` means, and the fragments that reach into them: none in a gap or a pause.
///
/// # Errors
/// Wrong use, where the span lies outside of the session.
pub fn part(known: &SessionFacts, span: Span) -> Result<Part<'_>> {
    let Some((begin, end)) = known.extent() else {
        return Err(no_audio(
            "the stream has no audio of this session: it was never written, or has expired",
        ));
    };
    let from = span.from.map_or(begin, |place| place.moment(begin));
    let to = span.to.map_or(EpochMs(end.0.saturating_add(LONGEST_FRAGMENT_MS)), |place| place.moment(begin));
    span.check(Some(begin))?;
    let reach = |l: &Listed| l.at < to && l.at.0 + LONGEST_FRAGMENT_MS > from.0;
    let (first, last) = (known.listed.iter().position(reach), known.listed.iter().rposition(reach));
    let listed = first.zip(last).map_or(&[][..], |(first, last)| &known.listed[first..=last]);
    let before = known.listed.iter().rposition(|l| l.at.0 + LONGEST_FRAGMENT_MS <= from.0).unwrap_or(0);
    let behind = known.listed.iter().position(|l| l.at >= to).map_or(known.listed.len(), |i| i + 1);
    let around = known.listed.get(before..behind).unwrap_or_default();
    let outside = from.0 >= end.0.saturating_add(LAST_BLOCK_MS) || to <= begin;
    if to <= from || outside {
        return Err(no_audio("no audio lies in that part of the session"));
    }
    Ok(Part { from, to, until: to.min(end), listed, around })
}

/// Wrong use: nothing to read.
pub fn no_audio(what: &str) -> Error {
    usage(what, "`kvsw session show` says when the session has audio, and what became of the rest")
}

#[cfg(test)]
mod tests {
    use ingest::gap::Gap;

    use super::*;
    use crate::time::Place;

    /// Audio from 3 s to 5 s and from 50 s to 52 s after 1970, with a parked second before and two behind.
    fn known() -> SessionFacts {
        let listed = |at: u64| Listed {
            number: at.to_string(),
            at: EpochMs(at),
            server_at: EpochMs(at + 2_500),
            length_ms: 2_000,
            bytes: 0,
        };
        let gap = |from: u64, begins_at: u64, ends_at: u64| Gap {
            begins_at: EpochMs(begins_at),
            ends_at: Some(EpochMs(ends_at)),
            ..crate::dlq::plan::tests::gap(0, from, from + 1)
        };
        let gaps = vec![gap(0, 2_000, 3_000), gap(9, 52_000, 54_000)];
        SessionFacts {
            session: SessionId::parse("owl").unwrap(),
            status: SessionStatus::Active,
            checkpoint: Some(Checkpoint { gaps, ..Checkpoint::default() }),
            placeable: BTreeSet::new(),
            last_activity: None,
            parked: Vec::new(),
            without_note: 0,
            listed: vec![listed(3_000), listed(50_000)],
            stream_error: None,
        }
    }

    fn asked(from: Option<Place>, to: Option<Place>) -> std::result::Result<(u64, u64, usize), String> {
        let part =
            part(&known(), Span { from, to }).map(|part| (part.from.0, part.until.0, part.listed.len()));
        part.map_err(|error| error.to_string())
    }

    #[test]
    fn a_part_counts_from_the_first_chunk_parked_or_not() {
        let (after, at) = (|ms| Some(Place::After { ms }), |ms| Some(Place::At(EpochMs(ms))));
        assert_eq!(asked(None, None), Ok((2_000, 54_000, 2)));
        assert_eq!(asked(after(1_500), after(2_500)), Ok((3_500, 4_500, 1)));
        assert_eq!(asked(after(37_000), after(38_000)), Ok((39_000, 40_000, 0)), "in a pause");
        assert_eq!(asked(at(53_000), at(99_000)), Ok((53_000, 54_000, 1)), "no longer than the session");
        for (from, to) in [(after(52_100), None), (None, at(2_000)), (at(99_000), at(99_500))] {
            assert!(asked(from, to).unwrap_err().starts_with("no audio lies"), "{from:?} {to:?}");
        }
        for (from, to) in [(at(9_000), after(1_000)), (after(9_000), at(9_000)), (at(9_000), at(8_000))] {
            assert_eq!(asked(from, to).unwrap_err(), "--to must be later than --from");
        }
        let nothing = SessionFacts { listed: Vec::new(), checkpoint: None, ..known() };
        assert!(part(&nothing, Span::default()).is_err());
    }
}
