//! What goes wrong, as an explicit list: it can be printed, and a failing run shrinks by leaving entries out.

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

    /// Whether a caller that sees this can tell that the call had no effect.
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

/// Which calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum On {
    /// The n-th call of the whole run, from 0.
    Call(u64),
    /// The n-th call of one kind for one session, from 0.
    Nth {
        /// Which kind.
        op: Op,
        /// Whose.
        session: String,
        /// Which of them.
        n: u64,
    },
    /// All calls of one kind for one session (`None`: for all) in a stretch of time.
    During {
        /// Which kind.
        op: Op,
        /// Whose.
        session: Option<String>,
        /// From this moment,
        from_ms: u64,
        /// to before this one.
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
    /// Whose it is; empty where it is nobody's in particular.
    pub session: &'a str,
    /// The how manieth call of the run.
    pub number: u64,
    /// The how manieth of its kind and session.
    pub nth: u64,
    /// When.
    pub now_ms: u64,
}

impl Fault {
    /// Whether the fault hits the call.
    pub fn hits(&self, call: &Call<'_>) -> bool {
        match &self.on {
            On::Call(number) => *number == call.number,
            On::Nth { op, session, n } => *op == call.op && session == call.session && *n == call.nth,
            On::During { op, session, from_ms, to_ms } => {
                *op == call.op
                    && session.as_ref().is_none_or(|s| s == call.session)
                    && (*from_ms..*to_ms).contains(&call.now_ms)
            }
        }
    }
}
