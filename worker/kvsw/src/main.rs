//! `kvsw`: arguments in, exit code out. Data goes to stdout, everything else to stderr.

use std::process::ExitCode;

use aws::settings::process_env;
use clap::Parser as _;
use clap::error::ErrorKind;
use kvsw::args::{HiArgs, LowArgs};
use kvsw::error::Exit;

fn main() -> ExitCode {
    let low = match LowArgs::try_parse() {
        Ok(low) => low,
        Err(error) => return told(&error),
    };
    let outcome = HiArgs::from_low(low, process_env).and_then(|args| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| kvsw::error::Error::File { path: "/dev".into(), source })?;
        runtime.block_on(kvsw::run(args))
    });
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("error: {error}\nhint: {}", error.hint());
            error.exit().into()
        }
    }
}

/// `--help` and `--version` are no errors; all else is wrong use.
fn told(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Exit::Fine.into();
    }
    eprintln!("hint: `kvsw --help` shows the commands, `kvsw COMMAND --help` its arguments and examples");
    Exit::Usage.into()
}
