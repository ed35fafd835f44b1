//! Lambda behind the chunk queue's event source mapping: writes each session's chunks to its Kinesis Video Stream.

use std::process::ExitCode;

use aws::Aws;
use aws::settings::{Settings, process_env};
use aws_lambda_events::event::sqs::SqsEvent;
use functions::{logs, sqs_event};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use media::time::EpochMs;
use writer::{Config, Writer};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    logs::init();
    logs::exit_code(run().await)
}

async fn run() -> Result<(), Error> {
    let ports = Aws::connect(&Settings::read(process_env)?).await?;
    let writer = &Writer::new(ports, Config::default());
    lambda_runtime::run(service_fn(move |event: LambdaEvent<SqsEvent>| async move {
        let records = sqs_event::records(event.payload)?;
        let answer = writer.handle(records, EpochMs(event.context.deadline)).await;
        Ok::<_, Error>(sqs_event::response(answer))
    }))
    .await
}
