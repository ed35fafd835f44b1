//! Why the work on a session stops.

use ingest::failure::ServiceFailure;

/// Why the session's work stops before its records are settled.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Another worker owns the session now.
    NotOurs { seconds: u32 },
    /// A failure that may pass; without `seconds`, the wait grows with the deliveries.
    Failed { failure: ServiceFailure, seconds: Option<u32> },
    /// The invocation's time is up, or too short for what comes next; without `seconds`, the wait grows with the deliveries.
    TimeIsUp { seconds: Option<u32> },
    /// The work on the session panicked.
    Crashed { message: String, seconds: u32 },
    /// The stored state cannot be read: nothing is touched, and an operator has to look.
    Unreadable(String),
}

impl From<ServiceFailure> for Stop {
    fn from(failure: ServiceFailure) -> Self {
        Self::Failed { failure, seconds: None }
    }
}

/// A stop, in the words of the log.
pub(crate) struct Told {
    pub(crate) class: &'static str,
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Stop {
    pub(crate) fn seconds(&self) -> Option<u32> {
        match self {
            Self::NotOurs { seconds } | Self::Crashed { seconds, .. } => Some(*seconds),
            Self::Failed { seconds, .. } | Self::TimeIsUp { seconds } => *seconds,
            Self::Unreadable(_) => None,
        }
    }

    pub(crate) fn told(&self) -> Told {
        let told = |class, reason: &str, message: &str| Told {
            class,
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        match self {
            Self::NotOurs { .. } => told("session", "not-ours", "another worker holds the session"),
            Self::Failed { failure, .. } => {
                told(failure.class().as_str(), &failure.reason(), &failure.to_string())
            }
            Self::TimeIsUp { .. } => told("passing", "time-is-up", "the invocation's time is up"),
            Self::Crashed { message: why, .. } => told("crash", "panic", why),
            Self::Unreadable(why) => told("state", "unreadable", why),
        }
    }
}
