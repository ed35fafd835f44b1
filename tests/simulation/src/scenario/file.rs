//! The input: what reaches the system when, what goes wrong, how the services behave.

use media::time::EpochMs;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;
use writer::ports::SessionStatus;

use crate::faults::{Failure, Fate, Fault, On, Op};
use crate::run::{Arrival, Incident, Scenario};

/// The latest time a file may name, in the year 5138: sums of two times do not overflow.
const MAX_MS: u64 = 100_000_000_000_000;

/// What each kind of line looks like.
const FORMS: [(&str, &str); 4] = [
    ("status", r#"{"kind":"status","at":T,"session":S,"status":"active"|"ended"|"unknown","ended_at":T?}"#),
    ("msg", r#"{"kind":"msg","at":T,"group":S,"dedup":ID,"body":"..."}"#),
    (
        "fault",
        r#"{"kind":"fault","op":OP,"session":S?,"nth":N,"until_nth":M?,"fate":F} or, instead of nth, "from":T,"to":T"#,
    ),
    ("config", r#"{"kind":"config","put_ms":MS?,"list_lag":MS?,"visibility":MS?,"redrives":N?,"until":T?}"#),
];

/// A line that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {what}\n  expected {expected}")]
pub struct WrongLine {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
    /// What a line of its kind looks like.
    pub expected: String,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum Line {
    Status {
        at: Ms,
        session: String,
        status: Status,
        ended_at: Option<Ms>,
    },
    Msg {
        at: Ms,
        group: String,
        dedup: String,
        body: String,
    },
    Fault {
        op: String,
        session: Option<String>,
        nth: Option<u64>,
        until_nth: Option<u64>,
        from: Option<Ms>,
        to: Option<Ms>,
        fate: String,
    },
    Config {
        put_ms: Option<Ms>,
        list_lag: Option<Ms>,
        visibility: Option<Ms>,
        redrives: Option<u16>,
        until: Option<Ms>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Active,
    Ended,
    Unknown,
}

/// A time or a length of time, within bounds.
#[derive(Clone, Copy, Deserialize, PartialEq, PartialOrd)]
#[serde(try_from = "u64")]
struct Ms(u64);

impl TryFrom<u64> for Ms {
    type Error = String;

    fn try_from(ms: u64) -> Result<Self, String> {
        if ms <= MAX_MS { Ok(Self(ms)) } else { Err(format!("{ms} ms are more than {MAX_MS}")) }
    }
}

/// Reads a scenario. Lines may stand in any order; what happens in the same millisecond happens in their order. Empty lines
/// are allowed.
///
/// # Errors
/// The first line that is no JSON, of no known kind, incomplete, or contradictory.
pub fn parse(file: &[u8]) -> Result<Scenario, WrongLine> {
    let mut scenario = Scenario::default();
    for (n, text) in file.split(|byte| *byte == b'\n').enumerate() {
        if !text.trim_ascii().is_empty() {
            add(&mut scenario, text).map_err(|(what, expected)| WrongLine { line: n + 1, what, expected })?;
        }
    }
    scenario.arrivals.sort_by_key(|arrival| arrival.at_ms);
    Ok(scenario)
}

/// Adds what a line says; or returns what is wrong with it, and what would be right.
fn add(scenario: &mut Scenario, text: &[u8]) -> Result<(), (String, String)> {
    let any = || FORMS.map(|(_, form)| form).join("\n        or ");
    let syntax = |error: serde_json::Error| error.to_string().replace("at line 1 column", "at column");
    let value: Value = serde_json::from_slice(text).map_err(|error| (syntax(error), any()))?;
    let form = FORMS.iter().find(|(kind, _)| value["kind"] == **kind);
    let expected = || form.map_or_else(any, |(_, form)| (*form).to_owned());
    let line: Line = serde_json::from_value(value.clone()).map_err(|e| (e.to_string(), expected()))?;
    take(scenario, line).map_err(|what| (what, expected()))
}

fn take(scenario: &mut Scenario, line: Line) -> Result<(), String> {
    match line {
        Line::Status { at, session, status, ended_at } => {
            let what = Incident::Status(session, status_of(&status, ended_at)?);
            scenario.arrivals.push(Arrival { at_ms: at.0, what });
        }
        Line::Msg { at, group, dedup, body } => {
            let what = Incident::Message { group, deduplication: dedup, body };
            scenario.arrivals.push(Arrival { at_ms: at.0, what });
        }
        Line::Fault { op, session, nth, until_nth, from, to, fate } => {
            let (op, fate) = (op.parse()?, fate.parse()?);
            let session = session.filter(|session| !session.is_empty());
            check(op, session.as_deref(), &fate)?;
            let on = match (nth, until_nth, from, to) {
                (Some(from), to, None, None) => calls(op, session, from, to)?,
                (None, None, Some(Ms(from_ms)), Some(Ms(to_ms))) if from_ms < to_ms => {
                    On::During { op, session, from_ms, to_ms }
                }
                (None, None, Some(from), Some(to)) => {
                    return Err(format!("`to` {} is not after `from` {}", to.0, from.0));
                }
                _ => return Err("which calls? Give `nth`, or `from` and `to`".to_owned()),
            };
            scenario.faults.push(Fault { on, fate });
        }
        Line::Config { put_ms, list_lag, visibility, redrives, until } => {
            let services = &mut scenario.services;
            services.put_ms = put_ms.map_or(services.put_ms, |Ms(ms)| (ms, ms));
            services.list_lag_ms = list_lag.map_or(services.list_lag_ms, |Ms(ms)| ms);
            services.queue.visibility_ms = visibility.map_or(services.queue.visibility_ms, |Ms(ms)| ms);
            scenario.redrives = redrives.map_or(scenario.redrives, u32::from);
            scenario.until_ms = until.map(|Ms(ms)| ms).or(scenario.until_ms);
        }
    }
    Ok(())
}

fn status_of(status: &Status, ended_at: Option<Ms>) -> Result<SessionStatus, String> {
    match (status, ended_at) {
        (Status::Ended, at) => Ok(SessionStatus::Ended { at: at.map(|Ms(ms)| EpochMs(ms)) }),
        (_, Some(_)) => Err("`ended_at` is for the status \"ended\" only".to_owned()),
        (Status::Active, None) => Ok(SessionStatus::Active),
        (Status::Unknown, None) => Ok(SessionStatus::Unknown),
    }
}

/// Refuses faults that can never show.
fn check(op: Op, session: Option<&str>, fate: &Fate) -> Result<(), String> {
    if session.is_some() && !op.has_session() {
        return Err(format!("a call of {op:?} serves a whole delivery: leave `session` out"));
    }
    if op != Op::Put && matches!(fate, Fate::Fail(Failure::Ack(_))) {
        return Err(format!("ack: is an answer to Put, not to {op:?}"));
    }
    Ok(())
}

fn calls(op: Op, session: Option<String>, from: u64, to: Option<u64>) -> Result<On, String> {
    let to = to.unwrap_or(from.saturating_add(1));
    if to <= from {
        return Err(format!("`until_nth` {to} is not after `nth` {from}"));
    }
    Ok(On::Calls { op, session, from, to })
}
