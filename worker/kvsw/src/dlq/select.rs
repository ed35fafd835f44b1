//! Which messages are meant, and when a search for them is over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws::parked_index::Entry;
use media::time::EpochMs;
use reader::text::count;

use super::message::DlqMessage;
use crate::args::Filter;
use crate::error::{Result, usage};
use crate::output::Output;
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
    filter: Filter,
    /// Ids of the noted messages that are meant; `None` means all messages.
    chosen: Option<BTreeSet<String>>,
    /// Ids of all that is noted.
    noted: BTreeSet<String>,
    /// Now: only what was parked before it is meant, and not what is parked meanwhile.
    now: EpochMs,
    /// Whether what is not chosen goes to the end of its group where something chosen lies behind it.
    pub turns: bool,
    /// When all of them were met.
    pub goal: Goal,
}

impl Selection {
    /// All that the DLQ shows.
    pub fn everything() -> Self {
        let goal = Goal { open: Some(Filter::default()), ..Goal::default() };
        let (filter, now) = (Filter::default(), EpochMs(u64::MAX));
        Self { filter, chosen: None, noted: BTreeSet::new(), now, turns: false, goal }
    }

    /// What the filter means of `notes` and of `without_note` messages without a note.
    pub fn new(filter: &Filter, notes: &[Entry], without_note: usize, now: EpochMs) -> Self {
        let chosen = filter.choose(notes, now);
        let open = without_note > 0 && filter.reaches_unnoted();
        let goal = Goal::new(chosen.iter().copied().cloned(), open.then(|| filter.clone()));
        Self {
            filter: filter.clone(),
            chosen: Some(chosen.into_iter().map(|entry| entry.note.message_id.clone()).collect()),
            noted: notes.iter().map(|entry| entry.note.message_id.clone()).collect(),
            now,
            turns: true,
            goal,
        }
    }

    /// Whether a message is meant.
    pub fn chooses(&self, message: &DlqMessage) -> bool {
        let Some(chosen) = &self.chosen else { return true };
        let id = message.original_id();
        let unnoted = || !self.noted.contains(id) && self.filter.means_unnoted(message, self.now);
        chosen.contains(id) || (message.sent_at < self.now && unnoted())
    }
}

/// Messages that a search means to meet; once it has met all that was noted, it need not go on.
#[derive(Clone, Debug, Default)]
pub struct Goal {
    /// Notes of messages that have not been met, by the id they were parked with.
    remaining: BTreeMap<String, Entry>,
    /// How many of them there are of each group.
    by_group: BTreeMap<String, usize>,
    /// What is meant of messages without a note, where there may be some.
    open: Option<Filter>,
}

impl Goal {
    /// To meet these, and, where the queue holds messages without a note, all that this filter means.
    fn new(notes: impl IntoIterator<Item = Entry>, open: Option<Filter>) -> Self {
        let mut goal = Self { open, ..Self::default() };
        for entry in notes {
            *goal.by_group.entry(entry.session_id.clone()).or_default() += 1;
            goal.remaining.insert(entry.note.message_id.clone(), entry);
        }
        goal
    }

    /// A message was met, by the id it was parked with.
    pub fn meet(&mut self, original_id: &str) {
        let met = self.remaining.remove(original_id);
        if let Some(left) = met.and_then(|entry| self.by_group.get_mut(&entry.session_id)) {
            *left = left.saturating_sub(1);
        }
    }

    /// Whether more of this group is, or may be, meant.
    pub fn wants_more_of(&self, group: &str) -> bool {
        self.by_group.get(group).is_some_and(|left| *left > 0)
            || self.open.as_ref().is_some_and(|filter| filter.means_group(group))
    }

    /// Whether nothing is left to look for.
    pub fn is_reached(&self) -> bool {
        self.remaining.is_empty() && self.open.is_none()
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
    let noted = notes.iter().any(|entry| filter.means_reason(&entry.note.reason));
    if noted || reason.contains('*') || is_known(reason) {
        return Ok(());
    }
    let hint = format!("{}; docs/runbook.md lists all reasons", what_there_is(notes));
    Err(usage(format!("{reason} is not a known parking reason"), hint))
}

/// Whether a filter fits a note, or may fit a message without one. Where it does not, there is nothing to do; what there is
/// instead is said on stderr.
///
/// # Errors
/// Wrong use: an unknown reason.
pub fn fits_some(
    output: &Output,
    filter: &Filter,
    notes: &[Entry],
    without_note: usize,
    now: EpochMs,
) -> Result<bool> {
    known_reason(filter, notes)?;
    let fits = !filter.choose(notes, now).is_empty() || (without_note > 0 && filter.reaches_unnoted());
    if !fits && !notes.is_empty() {
        output.say(&what_there_is(notes));
    }
    Ok(fits)
}

/// That messages which were noted did not come.
pub fn not_reached(messages: usize, session: &str) -> String {
    format!(
        "{} of {session} not reached: in flight elsewhere (what a killed kvsw held is visible again after a minute: run it again then), or already gone",
        count(messages, "message")
    )
}

/// That nothing fits.
pub fn nothing(filter: &Filter) -> String {
    format!("nothing{filter} is parked")
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
    use super::super::message::message;
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
        let text = |text: Option<&str>| text.map(str::to_owned);
        Filter { session: text(session), reason: text(reason), ..Filter::default() }
    }

    #[test]
    fn an_unknown_reason_is_refused_and_a_filter_that_fits_nothing_is_not() {
        let notes = [note("owl", Some(4), "ack-5001"), note("fox", Some(5), "FROM_A_NEWER_WRITER")];
        let fits = |session, reason, without_note| {
            let output = Output::new(false, crate::output::Colour::Never);
            let fits = fits_some(&output, &filter(session, reason), &notes, without_note, EpochMs(3_000));
            fits.map_err(|error| (error.to_string(), error.hint()))
        };
        assert_eq!(fits(None, None, 0), Ok(true));
        assert_eq!(fits(Some("owl"), Some("ACK-5*"), 0), Ok(true));
        assert_eq!(fits(None, Some("from_a_newer_writer"), 0), Ok(true));
        assert_eq!(fits(Some("nobody"), None, 0), Ok(false));
        assert_eq!(fits(Some("owl"), Some("CRASHED"), 3), Ok(false));
        assert_eq!(fits(None, Some("ack-4*"), 3), Ok(false));
        let (message, hint) = fits(None, Some("NO_SUCH"), 3).unwrap_err();
        assert_eq!(message, "NO_SUCH is not a known parking reason");
        assert!(hint.contains("owl") && hint.contains("ack-5001"), "{hint}");
        assert_eq!(fits(Some("nobody"), None, 1), Ok(true), "a message without a note may be of it");
        assert_eq!(fits(Some("nobody"), Some("MOVED_BY_QUEUE"), 1), Ok(true));
    }

    #[test]
    fn a_selection_takes_what_was_noted_and_what_nobody_noted_before_it() {
        let notes = [note("owl", Some(4), "ack-5001"), note("owl", Some(5), "CRASHED")];
        let selection = Selection::new(&filter(Some("owl"), None), &notes, 1, EpochMs(3_000));
        let (stray, noted) = (message("m", "owl", "{}"), message(&notes[0].note.message_id, "owl", "{}"));
        assert!(selection.chooses(&stray) && selection.chooses(&noted));
        let later = DlqMessage { sent_at: EpochMs(3_001), ..stray.clone() };
        assert!(!selection.chooses(&later), "what is parked meanwhile is the writer's answer");
        let turned = DlqMessage { sent_at: EpochMs(3_001), ..noted };
        assert!(selection.chooses(&turned), "a noted message is known by its id");
        let one = Selection::new(&filter(None, Some("CRASHED")), &notes, 1, EpochMs(3_000));
        assert!(!one.chooses(&stray) && one.goal.wants_more_of("owl") && !one.goal.wants_more_of("fox"));
    }
}
