//! Which messages are meant, and when a search for them is over.

use std::collections::BTreeMap;
use std::time::Duration;

use aws::parked_index::Entry;
use media::time::EpochMs;

use super::message::MOVED_BY_QUEUE;
use crate::args::Filter;
use crate::error::{Error, Result, usage};
use crate::reasons::is_known;
use crate::world::World;

/// Sessions or reasons that a hint names.
const NAMED: usize = 5;
/// Consecutive zero readings after which the DLQ counts as empty: its own count is approximate and lags behind.
const ZEROS: u32 = 3;
/// Pause between two of these readings.
const BETWEEN_ZEROS: Duration = Duration::from_secs(1);
/// Minimum age of a note before its message counts as gone.
const SETTLED: Duration = Duration::from_secs(5 * 60);

/// Messages that somebody goes through the DLQ for.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Which.
    pub filter: Filter,
    /// Only those that were parked before this moment.
    pub before: EpochMs,
    /// When all of them were met.
    pub goal: Goal,
}

impl Selection {
    /// All that the DLQ shows.
    pub fn everything() -> Self {
        let goal = Goal { remaining: BTreeMap::new(), open: true };
        Self { filter: Filter::default(), before: EpochMs(u64::MAX), goal }
    }
}

/// Messages that a search means to meet; once it has met all that was noted, it need not go on.
#[derive(Clone, Debug, Default)]
pub struct Goal {
    /// Notes of messages that have not been met, by the id they were parked with.
    remaining: BTreeMap<String, Entry>,
    /// Whether there may be more than was noted.
    open: bool,
}

impl Goal {
    /// To meet these, and, where the queue holds messages without a note, all that there is.
    pub fn new(notes: impl IntoIterator<Item = Entry>, without_note: usize) -> Self {
        let by_id = notes.into_iter().map(|entry| (entry.note.message_id.clone(), entry));
        Self { remaining: by_id.collect(), open: without_note > 0 }
    }

    /// A message was met, by the id it was parked with.
    pub fn meet(&mut self, original_id: &str) {
        self.remaining.remove(original_id);
    }

    /// Whether nothing is left to look for.
    pub fn is_reached(&self) -> bool {
        self.remaining.is_empty() && !self.open
    }

    /// Whether messages are known to be there that were not met.
    pub fn misses_some(&self) -> bool {
        !self.remaining.is_empty()
    }

    /// How many were not met, by session. Where the queue stays empty, old notes are stale and go.
    ///
    /// # Errors
    /// Those of the DLQ and of the state table.
    pub async fn not_reached(self, world: &World) -> Result<BTreeMap<String, usize>> {
        let mut by_session = BTreeMap::new();
        let (mut old, mut left) = settled(self.remaining.into_values().collect(), world.now());
        if !old.is_empty() && stays_empty(world).await? {
            world.forget(old.iter().map(|entry| (&entry.session_id[..], &entry.note.message_id[..]))).await?;
        } else {
            left.append(&mut old);
        }
        left.into_iter().for_each(|entry| *by_session.entry(entry.session_id).or_default() += 1);
        Ok(by_session)
    }
}

/// Whether the DLQ's own count is zero, several times in a row.
async fn stays_empty(world: &World) -> Result<bool> {
    for look in 0..ZEROS {
        if look > 0 {
            tokio::time::sleep(BETWEEN_ZEROS).await;
        }
        if world.dlq_depth().await?.total() > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Notes that are old enough to be believed stale, and the others.
fn settled(notes: Vec<Entry>, now: EpochMs) -> (Vec<Entry>, Vec<Entry>) {
    let settled_ms = SETTLED.as_millis() as u64;
    notes.into_iter().partition(|entry| now.ms_since(entry.note.parked_at) > settled_ms)
}

/// Refuses a reason that neither this version knows nor any note has.
///
/// # Errors
/// Wrong use.
pub fn known_reason(filter: &Filter, notes: &[Entry]) -> Result<()> {
    let Some(reason) = &filter.reason else { return Ok(()) };
    let noted = notes.iter().any(|entry| entry.note.reason.eq_ignore_ascii_case(reason));
    if noted || is_known(reason) {
        return Ok(());
    }
    let hint = format!("{}; docs/runbook.md lists all reasons", what_there_is(notes));
    Err(usage(format!("no message is ever parked for the reason {reason}"), hint))
}

/// Refuses a filter that fits no note, unless it may fit a message without one: that is a slip of the hand.
///
/// # Errors
/// Wrong use, with what there is.
pub fn must_fit(filter: &Filter, notes: &[Entry], without_note: usize) -> Result<()> {
    known_reason(filter, notes)?;
    let fits = notes.iter().any(|entry| filter.chooses(&entry.session_id, &entry.note.reason));
    match filter.is_open() || fits || (without_note > 0 && reaches_unnoted(filter)) {
        true => Ok(()),
        false => Err(nothing_fits(filter, notes)),
    }
}

/// Whether messages that SQS moved itself are meant too: they carry no reason.
pub fn reaches_unnoted(filter: &Filter) -> bool {
    filter.reason.as_deref().is_none_or(|reason| reason.eq_ignore_ascii_case(MOVED_BY_QUEUE))
}

/// That nothing fits, and what there is.
pub fn nothing_fits(filter: &Filter, notes: &[Entry]) -> Error {
    usage(format!("nothing{filter} is parked; nothing was changed"), what_there_is(notes))
}

fn what_there_is(notes: &[Entry]) -> String {
    if notes.is_empty() {
        return "nothing is noted as parked; `kvsw dlq list` shows what the queue counts".into();
    }
    let sessions = named(notes.iter().map(|entry| &entry.session_id[..]));
    let reasons = named(notes.iter().map(|entry| &entry.note.reason[..]));
    format!("parked are messages of {sessions}, for {reasons}; `kvsw dlq list` shows all")
}

/// The names that come most often.
fn named<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    names.for_each(|name| *times.entry(name).or_default() += 1);
    let mut times: Vec<(&str, usize)> = times.into_iter().collect();
    times.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let mut text: Vec<String> = times.iter().take(NAMED).map(|(name, _)| (*name).to_owned()).collect();
    if times.len() > NAMED {
        text.push(format!("… {} more", times.len() - NAMED));
    }
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::note;
    use super::*;

    #[test]
    fn a_note_of_the_last_minutes_is_not_believed_stale() {
        let mut young = note("owl", Some(1), "ack-5001");
        young.note.parked_at = EpochMs(1_000_000);
        let notes = vec![young.clone(), note("owl", Some(0), "ack-5001")];
        let (old, left) = settled(notes, EpochMs(1_000_000 + SETTLED.as_millis() as u64));
        assert_eq!((old.len(), left), (1, vec![young]));
    }

    fn filter(session: Option<&str>, reason: Option<&str>) -> Filter {
        Filter { session: session.map(str::to_owned), reason: reason.map(str::to_owned) }
    }

    #[test]
    fn a_filter_that_fits_nothing_is_told_with_what_there_is() {
        let notes = [note("owl", Some(4), "ack-5001"), note("fox", Some(5), "FROM_A_NEWER_WRITER")];
        let fits = |session, reason, without_note| {
            must_fit(&filter(session, reason), &notes, without_note).map_err(|e| (e.to_string(), e.hint()))
        };
        assert!(fits(None, None, 0).is_ok() && fits(Some("owl"), Some("ACK-5001"), 0).is_ok());
        assert!(fits(None, Some("from_a_newer_writer"), 0).is_ok());
        let (message, hint) = fits(Some("nobody"), None, 0).unwrap_err();
        assert_eq!(message, "nothing of session nobody is parked; nothing was changed");
        assert!(hint.contains("owl") && hint.contains("ack-5001"), "{hint}");
        let (message, _) = fits(Some("owl"), Some("CRASHED"), 3).unwrap_err();
        assert_eq!(message, "nothing of session owl for the reason CRASHED is parked; nothing was changed");
        let (message, _) = fits(None, Some("NO_SUCH"), 3).unwrap_err();
        assert_eq!(message, "no message is ever parked for the reason NO_SUCH");
        assert!(fits(Some("nobody"), None, 1).is_ok(), "a message without a note may be of it");
        assert!(fits(Some("nobody"), Some("MOVED_BY_QUEUE"), 1).is_ok());
    }
}
