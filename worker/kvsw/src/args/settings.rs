//! The settings: typed flags, else environment variables.

use aws::settings::{self, Settings, SettingsError};

use super::Global;
use crate::error::{Error, Result, usage};

/// Where everything is: the typed flags, else the variables that `env` gives.
///
/// # Errors
/// Wrong use, with the variable and the flag that replaces it.
pub fn settings(global: &Global, env: impl Fn(&str) -> Option<String>) -> Result<Settings> {
    endpoints(&env)?;
    let typed = |name: &str| match name {
        settings::QUEUE_URL => global.queue_url.clone(),
        settings::DLQ_URL => global.dlq_url.clone(),
        settings::STATE_TABLE => global.state_table.clone(),
        settings::SESSIONS_TABLE => global.sessions_table.clone(),
        _ => None,
    };
    Settings::read(|name| typed(name).or_else(|| env(name))).map_err(|error| told(&error, typed))
}

/// The error and its hint, with the flag where there is one: the flag is at fault where it was given.
fn told(error: &SettingsError, typed: impl Fn(&str) -> Option<String>) -> Error {
    let (SettingsError::Missing { name } | SettingsError::Invalid { name, .. }) = error;
    let flag = match *name {
        settings::QUEUE_URL => "--queue-url",
        settings::DLQ_URL => "--dlq-url",
        settings::STATE_TABLE => "--state-table",
        settings::SESSIONS_TABLE => "--sessions-table",
        name => return usage(error.to_string(), format!("unset {name}: kvsw does not need it")),
    };
    let env = "eval \"$(scripts/kvsw-env.sh --env NAME)\" sets it to the deployment's";
    match (error, typed(name)) {
        (SettingsError::Invalid { value, expected, .. }, Some(_)) => usage(
            format!("{flag} is {value:?}; {expected} is expected"),
            format!("leave {flag} out and set {name}: {env}"),
        ),
        _ => usage(error.to_string(), format!("{env}, or give {flag}")),
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
                format!("the environment variable {name} is {url:?}, which is not a valid service URL");
            return Err(usage(message, format!("unset {name} for AWS itself, or write http://HOST:PORT")));
        }
    }
    Ok(())
}

/// Whether the SDK can make an endpoint of this Region's name.
///
/// # Errors
/// Wrong use.
pub fn check_region(region: &str) -> Result<()> {
    let is_name =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    match region.split('-').count() >= 3 && region.split('-').all(is_name) {
        true => Ok(()),
        false => Err(usage(
            format!("{region:?} is not a valid AWS Region"),
            "export AWS_REGION=…, the Region of the stack, such as eu-central-1",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_named_as_aws_names_them() {
        for region in ["us-east-1", "eu-central-1", "us-gov-west-1", "ap-southeast-5"] {
            assert!(check_region(region).is_ok(), "{region}");
        }
        for region in ["", "us east 1", "us-east", "US-EAST-1", "us-east-1 ", "us--1", "\"us-east-1\""] {
            assert!(check_region(region).is_err(), "{region:?}");
        }
    }
}
