//! Lambda behind the WebSocket API: records connections, checks what a speaker sends and puts it into the queue.

use std::process::ExitCode;

use aws::settings::{GatewaySettings, process_env};
use aws_lambda_events::event::apigw::ApiGatewayWebsocketProxyRequest;
use functions::connection::backend::AwsBackend;
use functions::connection::handle;
use functions::{logs, trace};
use lambda_runtime::{Error, LambdaEvent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    logs::init();
    logs::exit_code(run().await)
}

async fn run() -> Result<(), Error> {
    let backend = &AwsBackend::connect(GatewaySettings::read(process_env)?).await;
    aws::telemetry::cold_start("connection-handler");
    lambda_runtime::run(service_fn(move |event: LambdaEvent<ApiGatewayWebsocketProxyRequest>| async move {
        let trace = trace::from_xray(event.context.xray_trace_id.as_deref());
        Ok::<_, Error>(handle(backend, event.payload, trace).await)
    }))
    .await
}
