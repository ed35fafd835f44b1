//! What goes wrong, as an explicit list: it can be printed, and a failing run shrinks by leaving entries out.

use std::str::FromStr;

use ingest::failure::ServiceFailure;

/// A call of a worker to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// `GetItem` of a checkpoint.
    Load,
    /// Conditional `PutItem` of a checkpoint.
    Save,
    /// `GetItem` of a snapshot.
    LoadSnapshot,
    /// `PutItem` of a snapshot.
    SaveSnapshot,
    /// `GetItem` of the Sessions table.
    Status,
    /// ChangeMessageVisibilityBatch.
    Hide,
    /// DeleteMessageBatch, ahead of the answer.
    Delete,
    /// `SendMessageBatch` to the dead-letter queue.
    Park,
    /// PutMedia.
    Put,
    /// ListFragments.
    Find,
    /// The invocation's answer to the event source mapping.
    Answer,
}

impl Op {
    /// Whether its calls are made for one session. The others serve a whole delivery.
    pub fn has_session(self) -> bool {
        !matches!(self, Self::Hide | Self::Delete | Self::Answer)
    }

    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Load,
        Self::Save,
        Self::LoadSnapshot,
        Self::SaveSnapshot,
        Self::Status,
        Self::Hide,
        Self::Delete,
        Self::Park,
        Self::Put,
        Self::Find,
        Self::Answer,
    ];

    /// The API operation's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Load | Self::LoadSnapshot | Self::Status => "GetItem",
            Self::Save | Self::SaveSnapshot => "PutItem",
            Self::Hide => "ChangeMessageVisibilityBatch",
            Self::Delete => "DeleteMessageBatch",
            Self::Park => "SendMessageBatch",
            Self::Put => "PutMedia",
            Self::Find => "ListFragments",
            Self::Answer => "response",
        }
    }
}

impl FromStr for Op {
    type Err = String;

    /// Reads an operation by the name of its variant.
    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.iter().map(|op| format!("{op:?}"));
        let known = Self::ALL.into_iter().zip(names()).find(|(_, name)| name == text);
        known.map(|(op, _)| op).ok_or_else(|| {
            format!("unknown op {text:?}, expected one of {}", names().collect::<Vec<_>>().join(", "))
        })
    }
}

/// How a call fails, as the caller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// An ERROR acknowledgement (PutMedia only).
    Ack(u32),
    /// A 400 that passes: a throttle.
    Throttled,
    /// A 500.
    Internal,
    /// A refusal that does not pass.
    Denied,
    /// No answer.
    TimedOut,
    /// The connection broke.
    Disconnected,
    /// Exactly this.
    As(ServiceFailure),
}

impl Failure {
    /// The failure that the port answers with.
    pub fn of(&self, op: Op, waited_ms: u64) -> ServiceFailure {
        let operation = op.name().to_owned();
        let service = |status: u16, code: &str| ServiceFailure::Service {
            operation: op.name().to_owned(),
            status,
            code: code.to_owned(),
            message: "injected".to_owned(),
        };
        match self {
            Self::Ack(id) => ServiceFailure::Ack { id: *id, code: format!("ERROR_{id}") },
            Self::Throttled => service(400, "ThrottlingException"),
            Self::Internal => service(500, "InternalServerError"),
            Self::Denied => service(403, "AccessDeniedException"),
            Self::TimedOut => ServiceFailure::TimedOut { operation, waited_ms },
            Self::Disconnected => ServiceFailure::Disconnected { operation, detail: "injected".to_owned() },
            Self::As(failure) => failure.clone(),
        }
    }

    /// Whether a caller that sees this knows that the call had no effect.
    pub fn outcome_known(&self) -> bool {
        match self {
            Self::Ack(_) | Self::Throttled | Self::Denied => true,
            Self::Internal | Self::TimedOut | Self::Disconnected => false,
            Self::As(failure) => !failure.outcome_unknown(),
        }
    }
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The worker's process dies before the call has its effect.
    CrashBefore,
    /// The worker's process dies after the effect, before the answer.
    CrashAfter,
    /// The call fails and has no effect.
    Fail(Failure),
    /// The call fails for its caller, and has its effect nevertheless.
    FailAfter(Failure),
    /// The call fails for its caller, and has its effect so much later.
    FailLate(Failure, u64),
    /// The answer takes so much longer.
    Slow(u64),
}

impl Fate {
    const FORMS: &str = "timeout, timeout-after, denied, internal, crash-before, crash-after, slow:MS, ack:ID or \
         svc:OPERATION:STATUS:CODE";
}

impl FromStr for Fate {
    type Err = String;

    /// Reads the form in which scenario files name a fate.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("unknown fate {text:?}, expected {}", Self::FORMS);
        let parts: Vec<&str> = text.splitn(4, ':').collect();
        Ok(match parts[..] {
            ["timeout"] => Self::Fail(Failure::TimedOut),
            ["timeout-after"] => Self::FailAfter(Failure::TimedOut),
            ["denied"] => Self::Fail(Failure::Denied),
            ["internal"] => Self::Fail(Failure::Internal),
            ["crash-before"] => Self::CrashBefore,
            ["crash-after"] => Self::CrashAfter,
            ["slow", ms] => Self::Slow(ms.parse::<u32>().map_err(|_| wrong())?.into()),
            ["ack", id] => Self::Fail(Failure::Ack(id.parse().map_err(|_| wrong())?)),
            ["svc", operation, status, code] => Self::Fail(Failure::As(ServiceFailure::Service {
                operation: operation.to_owned(),
                status: status.parse().map_err(|_| wrong())?,
                code: code.to_owned(),
                message: "injected".to_owned(),
            })),
            _ => return Err(wrong()),
        })
    }
}

/// Which calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum On {
    /// The n-th call of the whole run, from 0.
    Call(u64),
    /// The n-th call of one kind for one session, from 0.
    Nth {
        /// Which kind.
        op: Op,
        /// The session.
        session: String,
        /// Which of them.
        n: u64,
    },
    /// Calls of one kind, by their number: counted for one session, or (`None`) for all together.
    Calls {
        /// Which kind.
        op: Op,
        /// The session, or all.
        session: Option<String>,
        /// The first call that is hit, from 0.
        from: u64,
        /// The first one after it that is not.
        to: u64,
    },
    /// All calls of one kind for one session (`None`: for all) in a stretch of time.
    During {
        /// Which kind.
        op: Op,
        /// The session, or all.
        session: Option<String>,
        /// When it begins.
        from_ms: u64,
        /// When it is over.
        to_ms: u64,
    },
}

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which calls are hit.
    pub on: On,
    /// What becomes of them.
    pub fate: Fate,
}

/// A call, as faults see it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Its kind.
    pub op: Op,
    /// Its session; empty if it belongs to none.
    pub session: &'a str,
    /// Its number within the run, from 0.
    pub number: u64,
    /// Its number among those of its kind and session, from 0.
    pub nth: u64,
    /// Its number among those of its kind, from 0.
    pub nth_of_all: u64,
    /// When.
    pub now_ms: u64,
}

impl Fault {
    /// Whether the fault hits the call.
    pub fn hits(&self, call: &Call<'_>) -> bool {
        match &self.on {
            On::Call(number) => *number == call.number,
            On::Nth { op, session, n } => *op == call.op && session == call.session && *n == call.nth,
            On::Calls { op, session, from, to } => {
                let nth = if session.is_some() { call.nth } else { call.nth_of_all };
                *op == call.op
                    && session.as_ref().is_none_or(|s| s == call.session)
                    && (*from..*to).contains(&nth)
            }
            On::During { op, session, from_ms, to_ms } => {
                *op == call.op
                    && session.as_ref().is_none_or(|s| s == call.session)
                    && (*from_ms..*to_ms).contains(&call.now_ms)
            }
        }
    }
}
