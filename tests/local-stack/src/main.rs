//! `local-stack`: the whole system on one laptop, one subcommand per thing to do with it.

mod commands;

use std::process::ExitCode;

use clap::Parser;
use commands::Command;

/// The whole system on one laptop: WebSocket, connection-handler, SQS FIFO, kvs-stream-writer, Kinesis Video.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let filter = tracing_subscriber::EnvFilter::try_from_env("LOCAL_STACK_LOG");
    let filter = filter.unwrap_or_else(|_| command.log_level().into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match command.run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
