//! `kvsw`: arguments in, exit code out. Data goes to stdout, everything else to stderr.

use std::error::Error as _;
use std::process::ExitCode;

use aws::settings::process_env;
use clap::Parser as _;
use clap::error::{ContextKind, ErrorKind};
use kvsw::args::Cli;
use kvsw::error::{Error, Exit};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refused(&error),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.map_err(Error::Runtime);
    match outcome.and_then(|runtime| runtime.block_on(kvsw::run(cli, process_env))) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("error: {error}\nhint: {}", error.hint());
            error.exit().into()
        }
    }
}

/// `--help` and `--version` are no errors; all else is wrong use.
fn refused(error: &clap::Error) -> ExitCode {
    if let Some(why) = error.source().and_then(|source| source.downcast_ref::<Error>()) {
        // `--wait <TIME>`: the flag says enough.
        let argument = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
        let argument = argument.split(' ').next().unwrap_or_default();
        eprintln!("error: {argument}: {why}\nhint: {}", why.hint());
        return why.exit().into();
    }
    let _ = error.print();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Exit::Fine.into();
    }
    eprintln!("hint: `kvsw --help` shows the commands, `kvsw COMMAND --help` its arguments and examples");
    Exit::Usage.into()
}
