//! From the SDK's errors to [`ServiceFailure`]: who failed, with which status and code, and whether the call may
//! have had its effect.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use ingest::failure::ServiceFailure;
use tokio::time::Instant;
use writer::ports::Result;

/// Awaits an SDK call and names its failure after `operation`.
pub async fn call<T, E>(
    operation: &'static str,
    sent: impl Future<Output = std::result::Result<T, SdkError<E, HttpResponse>>>,
) -> Result<T>
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let started = Instant::now();
    // Boxed, since the SDK's futures are large and nested deeper than the compiler likes.
    Box::pin(sent).await.map_err(|e| from_sdk(operation, started.elapsed(), &e))
}

/// Sorts an SDK error.
pub fn from_sdk<E>(operation: &str, waited: Duration, error: &SdkError<E, HttpResponse>) -> ServiceFailure
where
    E: Error + ProvideErrorMetadata + 'static,
{
    match error {
        SdkError::TimeoutError(_) => timed_out(operation, waited),
        SdkError::DispatchFailure(failure) => match failure.as_connector_error() {
            Some(e) => from_connector(operation, waited, e),
            None => disconnected(operation, error),
        },
        SdkError::ServiceError(answer) => ServiceFailure::Service {
            operation: operation.into(),
            status: answer.raw().status().as_u16(),
            code: bare_code(answer.err().code().unwrap_or_default()).into(),
            message: answer.err().message().unwrap_or_default().into(),
        },
        _ => garbled(operation, error), // the request could not be built, or the answer not be read
    }
}

/// Sorts an error of the HTTP connector.
pub fn from_connector(operation: &str, waited: Duration, error: &ConnectorError) -> ServiceFailure {
    if error.is_timeout() {
        timed_out(operation, waited)
    } else if error.is_user() {
        garbled(operation, error)
    } else {
        disconnected(operation, error)
    }
}

/// The failure of one entry of a batch call, which is reported inside an answer of status 200.
pub fn of_entry(operation: &str, sender_fault: bool, code: &str, message: Option<&str>) -> ServiceFailure {
    ServiceFailure::Service {
        operation: operation.into(),
        status: if sender_fault { 400 } else { 500 },
        code: bare_code(code).into(),
        message: message.unwrap_or_default().into(),
    }
}

/// An error type without its namespace and address: `com.amazonaws#X:http://…` is `X`.
pub fn bare_code(code: &str) -> &str {
    let code = code.split(':').next().unwrap_or_default();
    code.rsplit('#').next().unwrap_or_default().trim()
}

/// Whether the service answered with this error code.
pub fn has_code(failure: &ServiceFailure, wanted: &str) -> bool {
    matches!(failure, ServiceFailure::Service { code, .. } if code == wanted)
}

/// An error and its causes on one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

fn timed_out(operation: &str, waited: Duration) -> ServiceFailure {
    ServiceFailure::TimedOut { operation: operation.into(), waited_ms: waited.as_millis() as u64 }
}

fn disconnected(operation: &str, error: &(dyn Error + 'static)) -> ServiceFailure {
    ServiceFailure::Disconnected { operation: operation.into(), detail: chain(error) }
}

fn garbled(operation: &str, error: &(dyn Error + 'static)) -> ServiceFailure {
    ServiceFailure::Garbled { operation: operation.into(), detail: chain(error) }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::error::SdkError;
    use aws_sdk_dynamodb::operation::put_item::PutItemError;
    use aws_smithy_types::body::SdkBody;
    use aws_smithy_types::error::ErrorMetadata;
    use ingest::failure::Class;

    use super::*;

    const WAITED: Duration = Duration::from_millis(2_000);

    fn sorted(error: SdkError<PutItemError, HttpResponse>) -> ServiceFailure {
        from_sdk("PutItem", WAITED, &error)
    }

    fn answered(status: u16, code: &str) -> ServiceFailure {
        let error = PutItemError::generic(ErrorMetadata::builder().code(code).message("told").build());
        let raw = HttpResponse::new(status.try_into().unwrap(), SdkBody::empty());
        sorted(SdkError::service_error(error, raw))
    }

    #[test]
    fn a_service_error_keeps_status_code_and_text() {
        let throttled =
            answered(400, "com.amazonaws.dynamodb#ProvisionedThroughputExceededException:http://x/");
        assert_eq!(
            throttled,
            ServiceFailure::Service {
                operation: "PutItem".into(),
                status: 400,
                code: "ProvisionedThroughputExceededException".into(),
                message: "told".into(),
            }
        );
        assert_eq!(throttled.class(), Class::Passing);
        assert_eq!(answered(400, "AccessDeniedException").class(), Class::Lasting);
    }

    #[test]
    fn a_time_out_is_known_as_one_wherever_it_happens() {
        let expected = ServiceFailure::TimedOut { operation: "PutItem".into(), waited_ms: 2_000 };
        assert_eq!(sorted(SdkError::timeout_error("attempt")), expected);
        assert_eq!(sorted(SdkError::dispatch_failure(ConnectorError::timeout("connect".into()))), expected);
    }

    #[test]
    fn a_broken_connection_is_no_answer_and_a_strange_answer_is_no_connection() {
        let io = SdkError::dispatch_failure(ConnectorError::io("reset by peer".into()));
        assert!(
            matches!(sorted(io), ServiceFailure::Disconnected { detail, .. } if detail.contains("reset by peer"))
        );
        let raw = HttpResponse::new(200.try_into().unwrap(), SdkBody::from("<html>"));
        assert!(matches!(sorted(SdkError::response_error("no JSON", raw)), ServiceFailure::Garbled { .. }));
        assert!(matches!(sorted(SdkError::construction_failure("no table")), ServiceFailure::Garbled { .. }));
    }
}
