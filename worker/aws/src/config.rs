//! The SDK's configuration, loaded without a detour: in Lambda everything is in the environment.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};

use crate::http_client::{CONNECT_TIMEOUT, LazyHttpClient};
use crate::settings::SettingsError;

/// Longest time for one try of a control call, a state read or write; they take a few milliseconds.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest time for all three tries: well inside an invocation.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(5);

/// Loads region, credentials and endpoints. Where the environment has them, no profile file is read and no
/// metadata service is asked; endpoint variables such as `AWS_ENDPOINT_URL_SQS` are obeyed.
pub async fn load() -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build();
    let retries = RetryConfig::standard()
        .with_max_attempts(3)
        .with_initial_backoff(Duration::from_millis(50))
        .with_max_backoff(Duration::from_millis(500));
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(LazyHttpClient::default())
        .timeout_config(timeouts)
        .retry_config(retries);
    if let Ok(region) = std::env::var("AWS_REGION") {
        loader = loader.region(Region::new(region));
    }
    if std::env::var_os("AWS_ACCESS_KEY_ID").is_some() && std::env::var_os("AWS_SECRET_ACCESS_KEY").is_some()
    {
        loader = loader.credentials_provider(EnvironmentVariableCredentialsProvider::new());
    }
    loader.load().await
}

/// The same, for callers that cannot do without a Region.
///
/// # Errors
/// Names the SDK's variable where no Region is configured.
pub async fn load_in_region() -> Result<SdkConfig, SettingsError> {
    let config = load().await;
    config.region().ok_or(SettingsError::Missing { name: "AWS_REGION" })?;
    Ok(config)
}
