//! Which parked messages a command means.

use aws::parked_index::Entry;
use clap::{Args, ValueEnum};
use media::time::EpochMs;

use super::parse;
use crate::dlq::message::{DlqMessage, MOVED_BY_QUEUE};
use crate::reasons::fits;
use crate::time::When;

/// Which messages.
#[derive(Clone, Debug, Default, Args)]
pub struct Filter {
    /// Only this session's messages
    #[arg(long, value_name = "SESSION", value_parser = parse::group)]
    pub session: Option<String>,
    /// Only messages parked for this reason, as `kvsw dlq list` shows it; * stands for anything: 'ack-4*'
    #[arg(long, value_name = "REASON", value_parser = parse::reason)]
    pub reason: Option<String>,
    /// Only messages whose failure is of this class
    #[arg(long, value_enum, value_name = "CLASS")]
    pub class: Option<Class>,
    /// Only messages parked since then: 2h (ago), or 2026-11-22T10:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse::when)]
    pub since: Option<When>,
    /// Only messages parked before then
    #[arg(long, value_name = "TIME", value_parser = parse::when)]
    pub before: Option<When>,
    /// Only the first N of them, by session and chunk; leaves out messages that SQS moved itself
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
}

/// The class of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Class {
    /// The message itself: not JSON, a field is wrong.
    Message,
    /// The chunk's bytes.
    Audio,
    /// The session: unknown, ended, its place no longer known.
    Session,
    /// A failure that passes: throttles, time-outs, 5xx.
    Passing,
    /// A failure that lasts until somebody repairs it: permissions, keys, data that is not accepted.
    Lasting,
}

impl Class {
    fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Audio => "audio",
            Self::Session => "session",
            Self::Passing => "passing",
            Self::Lasting => "lasting",
        }
    }
}

impl Filter {
    /// The notes that are meant, in their order.
    pub fn choose<'n>(&self, notes: &'n [Entry], now: EpochMs) -> Vec<&'n Entry> {
        let meant = notes.iter().filter(|entry| self.means(entry, now));
        meant.take(self.limit.map_or(usize::MAX, |n| n as usize)).collect()
    }

    fn means(&self, Entry { session_id, note }: &Entry, now: EpochMs) -> bool {
        self.means_group(session_id)
            && self.means_reason(&note.reason)
            && self.class.is_none_or(|class| class.name() == note.class)
            && self.means_time(note.parked_at, now)
    }

    /// Whether a message is meant of which no note speaks.
    pub fn means_unnoted(&self, message: &DlqMessage, now: EpochMs) -> bool {
        self.reaches_unnoted()
            && self.means_group(&message.group_id)
            && self.means_reason(message.reason())
            && self.means_time(message.sent_at, now)
    }

    /// Whether a message of this group may be meant.
    pub fn means_group(&self, group_id: &str) -> bool {
        self.session.as_deref().is_none_or(|session| session == group_id)
    }

    /// Whether messages that SQS moved itself are meant too: they have no note, and no class.
    pub fn reaches_unnoted(&self) -> bool {
        self.class.is_none() && self.limit.is_none() && self.means_reason(MOVED_BY_QUEUE)
    }

    /// Whether this reason is meant.
    pub fn means_reason(&self, reason: &str) -> bool {
        let lower = |text: &str| text.to_ascii_lowercase();
        self.reason.as_deref().is_none_or(|wanted| fits(&lower(wanted), &lower(reason)))
    }

    fn means_time(&self, parked_at: EpochMs, now: EpochMs) -> bool {
        self.since.is_none_or(|since| parked_at >= since.moment(now))
            && self.before.is_none_or(|before| parked_at < before.moment(now))
    }
}

/// As it stands after "nothing": ` of session owl for the reason CRASHED`.
impl std::fmt::Display for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(session) = &self.session {
            write!(f, " of session {session}")?;
        }
        if let Some(reason) = &self.reason {
            write!(f, " for the reason {reason}")?;
        }
        if let Some(class) = self.class {
            write!(f, " of class {}", class.name())?;
        }
        let in_time = self.since.is_some() || self.before.is_some();
        f.write_str(if in_time { " from that time" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dlq::message::message;
    use crate::dlq::plan::tests::note;

    #[test]
    fn each_part_of_a_filter_narrows_it() {
        let notes = [
            note("owl", Some(0), "ack-4006"),
            note("owl", Some(1), "NOT_JSON"),
            note("fox", Some(2), "CRASHED"),
        ];
        let now = EpochMs(3_602_000);
        let chosen = |filter: Filter| -> Vec<u64> {
            filter.choose(&notes, now).iter().filter_map(|entry| entry.note.chunk_index).collect()
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(chosen(Filter::default()), [0, 1, 2]);
        assert_eq!(chosen(Filter { session: text("owl"), ..Filter::default() }), [0, 1]);
        assert_eq!(chosen(Filter { reason: text("ACK-4*"), ..Filter::default() }), [0]);
        assert_eq!(chosen(Filter { reason: text("*"), limit: Some(2), ..Filter::default() }), [0, 1]);
        assert_eq!(chosen(Filter { class: Some(Class::Message), ..Filter::default() }), [1]);
        // All were parked at 2,000.
        let hour_ago = Some(When::Ago { ms: 3_600_000 });
        assert_eq!(chosen(Filter { since: hour_ago, ..Filter::default() }), [0, 1, 2]);
        assert_eq!(chosen(Filter { before: hour_ago, ..Filter::default() }), [0; 0]);
    }

    #[test]
    fn a_message_without_a_note_has_no_class_and_cannot_be_counted() {
        let stray = message("m", "owl", "{}");
        let means = |filter: Filter| filter.means_unnoted(&stray, EpochMs(0));
        assert!(means(Filter::default()));
        assert!(means(Filter { reason: Some("moved*".into()), ..Filter::default() }));
        assert!(!means(Filter { reason: Some("CRASHED".into()), ..Filter::default() }));
        assert!(!means(Filter { class: Some(Class::Passing), ..Filter::default() }));
        assert!(!means(Filter { limit: Some(9), ..Filter::default() }));
        assert!(!means(Filter { session: Some("fox".into()), ..Filter::default() }));
    }
}
