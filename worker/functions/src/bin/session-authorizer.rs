//! Lambda that API Gateway asks before it opens a WebSocket connection.

use std::process::ExitCode;

use aws::document::Document;
use aws::settings::{AuthorizerSettings, process_env};
use aws_lambda_events::event::apigw::ApiGatewayCustomAuthorizerRequestTypeRequest;
use functions::authorizer::authorize;
use functions::authorizer::keys::{Keys, Source};
use functions::logs;
use lambda_runtime::{Error, LambdaEvent, service_fn};

/// The issuer's key set, over HTTPS.
struct KeySet(Document);

impl Source for KeySet {
    async fn get(&self) -> Result<Vec<u8>, String> {
        self.0.get().await.map_err(|error| error.to_string())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    logs::init();
    logs::exit_code(run().await)
}

async fn run() -> Result<(), Error> {
    let rules = &AuthorizerSettings::read(process_env)?;
    let keys = &Keys::new(KeySet(Document::new(rules.key_set_url.clone())));
    aws::telemetry::cold_start("session-authorizer");
    lambda_runtime::run(service_fn(
        move |event: LambdaEvent<ApiGatewayCustomAuthorizerRequestTypeRequest>| async move {
            Ok::<_, Error>(authorize(keys, rules, &event.payload).await?)
        },
    ))
    .await
}
