//! What the doctor finds.

use ingest::failure::ServiceFailure;
use serde::Serialize;

use crate::error::{Error, Exit};
use crate::output::{Pen, Show, Tone};

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// As it should be.
    Fine,
    /// Works, but could be better, or wants a look.
    Look,
    /// Wrong.
    Wrong,
    /// Could not be checked.
    Unchecked,
    /// The service did not answer.
    Unreachable,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What was looked at.
    pub subject: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// What to do; empty where nothing is to be done.
    pub action: String,
}

impl Finding {
    /// As it should be.
    pub fn fine(subject: &'static str, seen: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Fine, seen: seen.into(), action: String::new() }
    }

    /// Anything else.
    pub fn new(
        subject: &'static str,
        verdict: Verdict,
        seen: impl Into<String>,
        action: impl Into<String>,
    ) -> Self {
        Self { subject, verdict, seen: seen.into(), action: action.into() }
    }

    /// Fine if `well`, else the verdict with what to do.
    pub fn when(
        well: bool,
        subject: &'static str,
        verdict: Verdict,
        seen: impl Into<String>,
        action: impl Into<String>,
    ) -> Self {
        if well { Self::fine(subject, seen) } else { Self::new(subject, verdict, seen, action) }
    }

    /// A service that did not answer, or refused.
    pub fn failed(subject: &'static str, error: &Error) -> Self {
        let verdict = match error {
            Error::NoCredentials { .. }
            | Error::Service(ServiceFailure::Disconnected { .. } | ServiceFailure::TimedOut { .. }) => {
                Verdict::Unreachable
            }
            _ => Verdict::Wrong,
        };
        Self::new(subject, verdict, error.to_string(), error.advice())
    }
}

/// All checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnosis {
    /// In the order of the path of a sound.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// How many checks came out so.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        match (self.count(Verdict::Wrong), self.count(Verdict::Unreachable)) {
            (0, 0) => Exit::Fine,
            (_, 0) => Exit::Finding,
            _ => Exit::Unreachable,
        }
    }
}

impl Show for Diagnosis {
    fn text(&self, pen: Pen) -> String {
        let mut lines = Vec::new();
        for finding in &self.findings {
            let mark = match finding.verdict {
                Verdict::Fine => pen.tone(Tone::Good, "fine       "),
                Verdict::Look => pen.tone(Tone::Warn, "look       "),
                Verdict::Wrong => pen.tone(Tone::Bad, "WRONG      "),
                Verdict::Unchecked => pen.tone(Tone::Faint, "not checked"),
                Verdict::Unreachable => pen.tone(Tone::Bad, "NO ANSWER  "),
            };
            lines.push(format!("{mark}  {:<14} {}", finding.subject, finding.seen));
            if !finding.action.is_empty() {
                lines.push(format!("{:<28}→ {}", "", finding.action));
            }
        }
        let wrong = self.count(Verdict::Wrong) + self.count(Verdict::Unreachable);
        let other = format!(
            "{} fine, {} to look at, {} not checked",
            self.count(Verdict::Fine),
            self.count(Verdict::Look),
            self.count(Verdict::Unchecked)
        );
        lines.push(String::new());
        lines.push(match wrong {
            0 if self.count(Verdict::Look) == 0 => {
                pen.tone(Tone::Good, &format!("nothing is wrong: {other}"))
            }
            0 => pen.tone(Tone::Warn, &format!("nothing is wrong: {other}")),
            wrong => pen.tone(Tone::Bad, &format!("{wrong} wrong, {other}")),
        });
        lines.join("\n")
    }
}
