//! A filter that fits nothing is a slip of the hand: it is told, with what there is.

use std::collections::BTreeMap;

use aws::parked_index::Entry;

use super::message::MOVED_BY_QUEUE;
use crate::args::Filter;
use crate::error::{Error, Result, usage};
use crate::reasons::is_known;

/// So many sessions or reasons are named.
const NAMED: usize = 5;

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

/// Refuses a filter that fits no note, unless it may fit a message without one.
///
/// # Errors
/// Wrong use.
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
