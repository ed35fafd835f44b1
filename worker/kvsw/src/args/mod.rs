//! Arguments: [`LowArgs`] is what was typed, [`HiArgs`] what is meant; one step lies between them, and all that can be
//! refused without asking a service is refused there.

mod low;

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws::settings::{self, Settings, SettingsError};
use ingest::message::SessionId;

pub use low::*;

use crate::dlq::folder::can_be_made;
use crate::error::{Result, usage};
use crate::output::Output;
use crate::text::{self, Place};

/// What is meant.
#[derive(Debug)]
pub struct HiArgs {
    /// Where results go.
    pub output: Output,
    /// Where everything is.
    pub settings: Settings,
    /// What to do.
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `dlq list`
    DlqList {
        /// Which messages.
        filter: Filter,
        /// Whether to receive.
        look: bool,
    },
    /// `dlq show`; the message group need not be a legal sessionId.
    DlqShow(String),
    /// `dlq export`
    DlqExport(DlqExport),
    /// `dlq redrive`
    DlqRedrive(Redrive),
    /// `dlq discard`
    DlqDiscard(Discard),
    /// `session show`
    SessionShow(SessionId),
    /// `session export`
    SessionExport(SessionExport),
    /// `session timeline`
    SessionTimeline(Timeline),
    /// `doctor`
    Doctor(Doctor),
    /// `sweep`
    Sweep(Sweep),
}

/// Which messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this message group.
    pub session: Option<String>,
    /// Only this reason.
    pub reason: Option<String>,
}

impl Filter {
    /// Whether a message of this group, parked for this reason, is meant.
    pub fn chooses(&self, group_id: &str, reason: &str) -> bool {
        self.session.as_deref().is_none_or(|session| session == group_id)
            && self.reason.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(reason))
    }

    /// Whether everything is meant.
    pub fn is_open(&self) -> bool {
        self.session.is_none() && self.reason.is_none()
    }
}

/// As it stands after "nothing": ` of session owl for the reason CRASHED`.
impl std::fmt::Display for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(session) = &self.session {
            write!(f, " of session {session}")?;
        }
        match &self.reason {
            Some(reason) => write!(f, " for the reason {reason}"),
            None => Ok(()),
        }
    }
}

/// `dlq export`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DlqExport {
    /// Which messages.
    pub filter: Filter,
    /// The folder to make.
    pub out: PathBuf,
    /// Whether the groups are turned over to reach what lies behind.
    pub all: bool,
}

/// `dlq redrive`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redrive {
    /// Which messages.
    pub filter: Filter,
    /// Only show the plan.
    pub dry_run: bool,
    /// Messages a second; `None` lets SQS choose (native only).
    pub rate: Option<u32>,
    /// By StartMessageMoveTask.
    pub native: bool,
    /// How long the gaps have to close.
    pub wait: Duration,
}

/// `dlq discard`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discard {
    /// Which messages.
    pub filter: Filter,
    /// The folder to make; `None` is named after the time.
    pub out: Option<PathBuf>,
    /// Do not ask.
    pub yes: bool,
}

/// How audio is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioFormat {
    /// RIFF WAVE.
    Wav,
    /// Matroska.
    Matroska,
}

/// How a picture is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureFormat {
    /// PNG.
    Png,
    /// SVG.
    Svg,
}

/// A part of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// From here.
    pub from: Option<Place>,
    /// To here.
    pub to: Option<Place>,
}

/// `session export`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionExport {
    /// Whose.
    pub session: SessionId,
    /// The file to make.
    pub out: PathBuf,
    /// How.
    pub format: AudioFormat,
    /// Which part.
    pub span: Span,
    /// Silence where nothing is.
    pub fill_gaps: bool,
}

/// `session timeline`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// Whose.
    pub session: SessionId,
    /// The file to make.
    pub out: PathBuf,
    /// How.
    pub format: PictureFormat,
    /// Which part.
    pub span: Span,
}

/// `doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doctor {
    /// The writer's function, where the mapping does not tell.
    pub writer: Option<String>,
    /// Its time-out, where Lambda does not tell.
    pub timeout: Duration,
}

/// `sweep`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// Change nothing.
    pub dry_run: bool,
    /// From when on a session is silent.
    pub silent_for: Duration,
    /// Sessions to end, and streams to delete.
    pub max: usize,
}

impl HiArgs {
    /// Makes sense of what was typed; `env` gives a variable's value.
    ///
    /// # Errors
    /// Wrong use, with a hint.
    pub fn from_low(low: LowArgs, env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let output = Output::new(low.global.json, low.global.color);
        let command = command(low.command)?;
        endpoints(&env)?;
        let settings = settings(&low.global, env)?;
        Ok(Self { output, settings, command })
    }
}

/// The SDK's own variables for endpoints: what it says of a wrong one names no variable.
fn endpoints(env: &impl Fn(&str) -> Option<String>) -> Result<()> {
    const SERVICES: [&str; 6] =
        ["", "_SQS", "_DYNAMODB", "_KINESIS_VIDEO", "_KINESIS_VIDEO_ARCHIVED_MEDIA", "_LAMBDA"];
    for name in SERVICES.map(|service| format!("AWS_ENDPOINT_URL{service}")) {
        let Some(url) = env(&name).filter(|url| !url.is_empty()) else { continue };
        let address = url.parse::<http::Uri>().ok().filter(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
        });
        if address.is_none() {
            let message =
                format!("the environment variable {name} is {url:?}, which is no address of a service");
            return Err(usage(message, format!("unset {name} for AWS itself, or write http://HOST:PORT")));
        }
    }
    Ok(())
}

fn settings(global: &Global, env: impl Fn(&str) -> Option<String>) -> Result<Settings> {
    let typed = |name: &str| match name {
        settings::QUEUE_URL => global.queue_url.clone(),
        settings::DLQ_URL => global.dlq_url.clone(),
        settings::STATE_TABLE => global.state_table.clone(),
        settings::SESSIONS_TABLE => global.sessions_table.clone(),
        _ => None,
    };
    Settings::read(|name| typed(name).or_else(|| env(name))).map_err(|error| {
        let (SettingsError::Missing { name } | SettingsError::Invalid { name, .. }) = error;
        let flag = name.to_lowercase().replace('_', "-");
        usage(error.to_string(), format!("set {name} (the stack's outputs have it), or give --{flag}"))
    })
}

fn command(low: LowCommand) -> Result<Command> {
    Ok(match low {
        LowCommand::Dlq(LowDlq::List(low)) => {
            Command::DlqList { filter: filter(low.filter)?, look: low.look }
        }
        LowCommand::Dlq(LowDlq::Show { session }) => Command::DlqShow(group(session)?),
        LowCommand::Dlq(LowDlq::Export(low)) => Command::DlqExport(DlqExport {
            filter: filter(low.filter)?,
            out: new_folder(low.out)?,
            all: low.all,
        }),
        LowCommand::Dlq(LowDlq::Redrive(low)) => Command::DlqRedrive(redrive(low)?),
        LowCommand::Dlq(LowDlq::Discard(low)) => Command::DlqDiscard(Discard {
            filter: filter(low.filter)?,
            out: low.out.map(new_folder).transpose()?,
            yes: low.yes,
        }),
        LowCommand::Session(LowSession::Show { session }) => Command::SessionShow(session_id(&session)?),
        LowCommand::Session(LowSession::Export(low)) => Command::SessionExport(SessionExport {
            session: session_id(&low.session)?,
            format: format_of(&low.out, &[("wav", AudioFormat::Wav), ("mkv", AudioFormat::Matroska)])?,
            out: new_file(low.out, low.force)?,
            span: span(low.from, low.to)?,
            fill_gaps: low.fill_gaps,
        }),
        LowCommand::Session(LowSession::Timeline(low)) => Command::SessionTimeline(Timeline {
            session: session_id(&low.session)?,
            format: format_of(&low.out, &[("png", PictureFormat::Png), ("svg", PictureFormat::Svg)])?,
            out: new_file(low.out, low.force)?,
            span: span(low.from, low.to)?,
        }),
        LowCommand::Doctor(low) => {
            Command::Doctor(Doctor { timeout: duration("--timeout", &low.timeout)?, writer: low.writer })
        }
        LowCommand::Sweep(low) => Command::Sweep(sweep(&low)?),
    })
}

fn filter(low: LowFilter) -> Result<Filter> {
    let reason = low.reason.map(|reason| reason.trim().to_owned());
    if reason.as_deref() == Some("") {
        return Err(usage("--reason is empty", "`kvsw dlq list` shows the reasons that there are"));
    }
    Ok(Filter { session: low.session.map(group).transpose()?, reason })
}

/// A message group: a sessionId, or whatever a refused message came with.
fn group(text: String) -> Result<String> {
    if text.is_empty() || text.len() > ingest::message::MAX_SESSION_ID {
        let message = format!("a session's name has 1 to {} characters", ingest::message::MAX_SESSION_ID);
        return Err(usage(message, "`kvsw dlq list` shows the sessions that have parked messages"));
    }
    Ok(text)
}

fn session_id(text: &str) -> Result<SessionId> {
    let hint = "give the sessionId, without the `session-` of its stream's name";
    SessionId::parse(text).map_err(|rejection| usage(rejection.to_string(), hint))
}

fn redrive(low: LowRedrive) -> Result<Redrive> {
    let filter = filter(low.filter)?;
    if low.native && !filter.is_open() {
        return Err(usage(
            "--native moves everything: SQS knows no --session and no --reason",
            "leave --native out; kvsw's own move keeps the order and takes filters",
        ));
    }
    if low.native && low.rate.is_some_and(|rate| rate > 500) {
        let hint = "the worker keeps up with a few hundred a second; each message is about a third of a second of audio";
        return Err(usage("with --native, --rate takes 1 to 500 messages a second", hint));
    }
    let rate = if low.native { low.rate } else { low.rate.or(Some(100)) };
    let wait = duration("--wait", &low.wait)?;
    Ok(Redrive { filter, dry_run: low.dry_run, rate, native: low.native, wait })
}

fn sweep(low: &LowSweep) -> Result<Sweep> {
    let silent_for = duration("--silent-for", &low.silent_for)?;
    if silent_for < crate::sweep::SHORTEST_SILENCE {
        let shortest = text::length(crate::sweep::SHORTEST_SILENCE.as_millis() as u64);
        let hint = "speakers pause, and the queue may be behind";
        return Err(usage(format!("--silent-for takes {shortest} or more"), hint));
    }
    if low.max == 0 {
        return Err(usage("--max is 0", "--dry-run changes nothing and shows what there is to do"));
    }
    Ok(Sweep { dry_run: low.dry_run, silent_for, max: low.max as usize })
}

fn duration(flag: &str, text: &str) -> Result<Duration> {
    let ms = text::duration_ms(text.trim());
    ms.map(Duration::from_millis).ok_or_else(|| {
        usage(format!("{flag} {text:?} is no length of time"), "write 90s, 1:30, 10m or 1h30m")
    })
}

fn span(from: Option<String>, to: Option<String>) -> Result<Span> {
    let read = |flag: &str, text: Option<String>| match text {
        None => Ok(None),
        Some(text) => text::place(text.trim()).map(Some).ok_or_else(|| {
            let hint =
                "write 90s or 1:30 after the session's beginning, or a moment such as 2026-11-22T10:00:00Z";
            usage(format!("{flag} {text:?} is no place in time"), hint)
        }),
    };
    let span = Span { from: read("--from", from)?, to: read("--to", to)? };
    let backwards = match (span.from, span.to) {
        (Some(Place::After { ms: from }), Some(Place::After { ms: to })) => to <= from,
        (Some(Place::At(from)), Some(Place::At(to))) => to <= from,
        _ => false,
    };
    if backwards {
        return Err(usage("--to does not lie after --from", "exchange them"));
    }
    Ok(span)
}

fn format_of<F: Copy>(out: &Path, formats: &[(&str, F)]) -> Result<F> {
    let extension = out.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let known = formats.iter().find(|(name, _)| name.eq_ignore_ascii_case(extension));
    known.map(|(_, format)| *format).ok_or_else(|| {
        let names: Vec<String> = formats.iter().map(|(name, _)| format!(".{name}")).collect();
        let names = names.join(" or ");
        usage(
            format!("{}: the file's name should end with {names}", out.display()),
            "the ending chooses the format",
        )
    })
}

fn new_file(out: PathBuf, force: bool) -> Result<PathBuf> {
    if out.exists() && !force {
        return Err(usage(format!("{} exists already", out.display()), "--force replaces it"));
    }
    has_parent(&out)?;
    Ok(out)
}

fn new_folder(out: PathBuf) -> Result<PathBuf> {
    if out.exists() {
        let hint =
            "name a folder that is not there yet: parked messages may be the only copy of what they hold";
        return Err(usage(format!("{} exists already", out.display()), hint));
    }
    has_parent(&out)?;
    can_be_made(&out)?;
    Ok(out)
}

fn has_parent(out: &Path) -> Result<()> {
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty());
    match parent.is_none_or(Path::is_dir) {
        true => Ok(()),
        false => {
            Err(usage(format!("{} lies in no folder that exists", out.display()), "make the folder first"))
        }
    }
}
