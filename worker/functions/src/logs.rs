//! JSON logs on stdout.

use std::process::ExitCode;

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts logging, at the level of `AWS_LAMBDA_LOG_LEVEL` (Lambda's logging controls), or else of `RUST_LOG`
/// (`debug`, `info,aws=debug`), or else `info`.
pub fn init() {
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false);
    tracing_subscriber::registry().with(levels(|name| std::env::var(name).ok())).with(lines).init();
}

/// How the process ends: a function that cannot start says why in the log, as a person would want to read it.
pub fn exit_code(outcome: Result<(), lambda_runtime::Error>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the function cannot run");
            ExitCode::FAILURE
        }
    }
}

/// Directives that make no sense count as not set, and what no directive names is shown from `info` on: a typing
/// error must not silence the log.
fn levels(env: impl Fn(&str) -> Option<String>) -> Targets {
    let chosen = ["AWS_LAMBDA_LOG_LEVEL", "RUST_LOG"].into_iter().filter_map(env);
    let mut parsed =
        chosen.filter(|text| !text.is_empty()).filter_map(|text| text.to_lowercase().parse().ok());
    let targets: Targets = parsed.next().unwrap_or_default();
    match targets.default_level() {
        Some(_) => targets,
        None => targets.with_default(Level::INFO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(lambda: &str, rust_log: &str, target: &str, level: Level) -> bool {
        let env = |name: &str| Some(if name == "RUST_LOG" { rust_log } else { lambda }.to_owned());
        levels(env).would_enable(target, &level)
    }

    #[test]
    fn lambdas_own_level_comes_first_and_nonsense_does_not_silence_the_log() {
        assert!(shows("DEBUG", "error", "writer", Level::DEBUG));
        assert!(shows("", "warn,aws=debug", "aws::streams", Level::DEBUG));
        assert!(!shows("", "warn,aws=debug", "writer", Level::INFO));
        assert!(shows("", "", "writer", Level::INFO));
        assert!(shows("", "inof", "writer", Level::INFO));
        assert!(shows("", "info=loud", "writer", Level::INFO));
    }
}
