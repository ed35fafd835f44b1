//! What is known of one session: its state, its parked messages, its fragments.

use aws::parked_index::Entry;
use ingest::checkpoint::Checkpoint;
use ingest::message::SessionId;
use media::fragment::read::ReadFragment;
use media::time::{EpochMs, Samples};
use writer::ports::{SessionStatus, Sessions as _};

use crate::args::Span;
use crate::error::{Result, usage};
use crate::output::Output;
use crate::readback::{Listed, StreamReader};
use crate::world::World;

/// The longest fragment: its block times are 16 bits after its Cluster's.
const LONGEST_FRAGMENT_MS: u64 = 33_000;
/// Blocks this close to each other touch: times are whole milliseconds.
const TOUCH_MS: u64 = 1;

/// One fragment without its samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FragmentFacts {
    /// `FragmentNumber`.
    pub number: String,
    /// When Kinesis Video took it.
    pub server_at: EpochMs,
    /// Audio without a hole: beginning and length, in time order.
    pub stretches: Vec<(EpochMs, Samples)>,
    /// Which numbering of chunkIndex, from its tags.
    pub numbering: Option<u32>,
    /// First and last chunkIndex, from its tags.
    pub chunks: Option<(u64, u64)>,
}

impl FragmentFacts {
    /// From a fragment that was read back.
    pub fn of(fragment: &ReadFragment) -> Self {
        let tag = |name: &str| fragment.tags.get(name)?.parse().ok();
        let mut stretches: Vec<(EpochMs, Samples)> = Vec::new();
        for (at, bytes) in &fragment.blocks {
            let samples = Samples::from(bytes.len() / 2);
            match stretches.last_mut() {
                Some((begin, length)) if at.0.abs_diff(begin.0 + length.ms_ceil()) <= TOUCH_MS => {
                    *length += samples;
                }
                _ => stretches.push((*at, samples)),
            }
        }
        Self {
            number: fragment.number.clone().unwrap_or_default(),
            server_at: fragment.server_ms.unwrap_or_default(),
            stretches,
            numbering: tag("numbering").and_then(|n| u32::try_from(n).ok()),
            chunks: tag("chunkFirst").zip(tag("chunkLast")),
        }
    }

    /// Where its first sample lies.
    pub fn at(&self) -> EpochMs {
        self.stretches.first().map(|(at, _)| *at).unwrap_or_default()
    }

    /// Where its last sample ends.
    pub fn end(&self) -> EpochMs {
        self.stretches.last().map(|(at, length)| EpochMs(at.0 + length.ms_ceil())).unwrap_or_default()
    }

    /// Its audio.
    pub fn samples(&self) -> Samples {
        self.stretches.iter().map(|(_, length)| *length).sum()
    }

    /// Numbers grow; they have up to 128 digits.
    pub fn order(&self) -> (usize, &str) {
        (self.number.len(), &self.number)
    }
}

/// What is known of a session besides its media.
#[derive(Debug)]
pub struct SessionFacts {
    /// Which.
    pub session: SessionId,
    /// By the Sessions table.
    pub status: SessionStatus,
    /// The writer's state.
    pub checkpoint: Option<Checkpoint>,
    /// When that was last written.
    pub last_activity: Option<EpochMs>,
    /// Its parked messages.
    pub parked: Vec<Entry>,
    /// Its fragments, in the order of time.
    pub listed: Vec<Listed>,
}

/// Asks for all that, at the same time.
///
/// # Errors
/// Those of the services; wrong use, where nobody knows the session.
pub async fn facts(world: &World, reader: &StreamReader<'_>, session: &SessionId) -> Result<SessionFacts> {
    let status = async { Ok(world.sessions.status(session).await?) };
    let (status, checkpoint, activity, parked, listed) = futures::try_join!(
        status,
        world.checkpoint(session),
        world.last_activity(std::slice::from_ref(session)),
        world.notes(Some(session.as_str())),
        reader.list(None),
    )?;
    let unheard_of = checkpoint.is_none() && parked.is_empty() && listed.is_empty();
    if status == SessionStatus::Unknown && unheard_of {
        let hint = "is the name right? It is the sessionId, without the `session-` of its stream's name";
        return Err(usage(format!("nobody knows a session {session}"), hint));
    }
    let last_activity = activity.into_values().next();
    Ok(SessionFacts { session: session.clone(), status, checkpoint, last_activity, parked, listed })
}

/// Reads the media of `listed` and gives each fragment, in the order of time, to `take`.
///
/// # Errors
/// Those of the stream, and those of `take`.
pub async fn read(
    reader: &StreamReader<'_>,
    output: &Output,
    listed: &[Listed],
    mut take: impl FnMut(ReadFragment) -> Result<()>,
) -> Result<()> {
    let bar = output.progress(listed.len() as u64, "reading the stream");
    let missing = reader.media(listed, |fragment| {
        bar.inc(1);
        take(fragment)
    });
    let missing = missing.await;
    bar.finish_and_clear();
    let missing = missing?;
    if !missing.is_empty() {
        output.say(&format!("{} of {} fragments expired while they were read", missing.len(), listed.len()));
    }
    Ok(())
}

/// The moments that `span` means, and the fragments that reach into them.
///
/// # Errors
/// Wrong use, where nothing lies in the span.
pub fn part(listed: &[Listed], span: Span) -> Result<((EpochMs, EpochMs), &[Listed])> {
    let nothing = |what: &str| {
        usage(
            what.to_owned(),
            "`kvsw session show` says when the session has audio, and what became of the rest",
        )
    };
    let Some(first) = listed.first() else {
        return Err(nothing("the stream has no audio of this session: it was never written, or has expired"));
    };
    let (begin, latest) = (first.at, EpochMs(listed.iter().map(|l| l.end().0).max().unwrap_or(first.at.0)));
    // The service's length counts to the last block's beginning.
    let end = EpochMs(latest.0 + LONGEST_FRAGMENT_MS);
    let from = span.from.map_or(begin, |place| place.moment(begin));
    let to = span.to.map_or(end, |place| place.moment(begin));
    let reach = |l: &Listed| l.at < to && l.at.0 + LONGEST_FRAGMENT_MS > from.0;
    let (start, stop) = (listed.iter().position(reach), listed.iter().rposition(reach));
    match start.zip(stop) {
        Some((start, stop)) if from < to => Ok(((from, to), &listed[start..=stop])),
        _ => Err(nothing("no audio lies in that part of the session")),
    }
}
