//! The Lambda stand-in, with a real function on the real `lambda_runtime`.

#![allow(clippy::unwrap_used)] // a test may

mod support;

use std::time::Duration;

use bytes::Bytes;
use local_stack::runtime_api::{Function, InvokeError};
use serde_json::{Value, json};
use support::{Folder, is_running, next_line, scripted_function};

fn record(group: &str, body: Value) -> Value {
    json!({"messageId": format!("m-{group}-{}", body["n"]), "body": body.to_string(),
        "attributes": {"MessageGroupId": group, "ApproximateReceiveCount": "1"}})
}

async fn invoke(function: &Function, body: Value) -> Result<Value, InvokeError> {
    let event = json!({"Records": [record("a", body)]});
    let answer = function.invoke(Bytes::from(event.to_string())).await?;
    Ok(serde_json::from_slice(&answer).unwrap())
}

#[tokio::test]
async fn a_function_answers_and_its_environment_is_used_again() {
    let (function, _) = scripted_function(&Folder::new(), Duration::from_secs(10), 2, &[]);
    for n in 0..5 {
        assert_eq!(invoke(&function, json!({"n": n})).await.unwrap(), json!({"batchItemFailures": []}));
    }
    let stats = function.stats();
    assert_eq!(
        (stats.invocations, stats.cold_starts, stats.crashes),
        (5, 1, 0),
        "one warm environment serves all"
    );
    function.shutdown().await;
}

#[tokio::test]
async fn an_error_of_the_handler_reaches_the_caller_and_keeps_the_environment() {
    let (function, _) = scripted_function(&Folder::new(), Duration::from_secs(10), 1, &[]);
    let error = invoke(&function, json!({"n": 1, "do": "error"})).await.unwrap_err();
    assert!(
        matches!(&error, InvokeError::Function { message, .. } if message == "told to fail"),
        "{error:?}"
    );
    invoke(&function, json!({"n": 2})).await.unwrap();
    assert_eq!(function.stats().cold_starts, 1);
    function.shutdown().await;
}

#[tokio::test]
async fn a_crash_fails_the_invocation_and_the_next_one_gets_a_new_process() {
    let (function, _) = scripted_function(&Folder::new(), Duration::from_secs(10), 1, &[]);
    let error = invoke(&function, json!({"n": 1, "do": "crash"})).await.unwrap_err();
    assert_eq!(error, InvokeError::Crashed { status: "exit status: 3".into() });
    invoke(&function, json!({"n": 2})).await.unwrap();
    let stats = function.stats();
    assert_eq!((stats.cold_starts, stats.crashes, stats.errors), (2, 1, 1));
    function.shutdown().await;
}

#[tokio::test]
async fn an_invocation_over_its_time_is_killed_and_the_next_one_gets_a_new_process() {
    let (function, mut lines) = scripted_function(&Folder::new(), Duration::from_secs(1), 1, &[]);
    let error = invoke(&function, json!({"n": 1, "do": "hang"})).await.unwrap_err();
    assert_eq!(error.to_string(), "Task timed out after 1.00 seconds");
    let pid = next_line(&mut lines, |line| Some(line.pid)).await;
    invoke(&function, json!({"n": 2})).await.unwrap();
    assert!(!is_running(pid), "the environment that hung must be gone when its successor answers");
    assert_eq!((function.stats().timeouts, function.stats().crashes), (1, 0));
    function.shutdown().await;
}

#[tokio::test]
async fn invocations_at_once_use_as_many_environments_as_allowed_and_the_rest_wait() {
    let (function, _) = scripted_function(&Folder::new(), Duration::from_secs(10), 3, &[]);
    let all = (0..12).map(|n| invoke(&function, json!({"n": n})));
    assert!(futures::future::join_all(all).await.iter().all(Result::is_ok));
    assert_eq!(function.stats().invocations, 12);
    assert!(function.environments().len() <= 3, "the limit on environments holds");
    function.shutdown().await;
}

#[tokio::test]
async fn warm_environments_wait_for_the_first_invocations() {
    let (function, _) = scripted_function(&Folder::new(), Duration::from_secs(10), 2, &[]);
    function.warm(2).await.unwrap();
    let (one, two) = tokio::join!(invoke(&function, json!({"n": 1})), invoke(&function, json!({"n": 2})));
    assert!(one.is_ok() && two.is_ok());
    assert_eq!(function.stats().cold_starts, 2, "nothing started beyond the warm ones");
    function.shutdown().await;
}

#[tokio::test]
async fn a_killed_environment_is_a_crash_and_is_replaced() {
    let (function, _) = scripted_function(&Folder::new(), Duration::from_secs(10), 1, &[]);
    function.warm(1).await.unwrap();
    let hanging =
        function.begin(json!({"Records": [record("a", json!({"n": 1, "do": "hang"}))]}).to_string().into());
    let hanging = hanging.await.unwrap();
    let killed = function.kill_one(7).await.unwrap();
    let error = hanging.answer().await.unwrap_err();
    assert!(matches!(&error, InvokeError::Crashed { status } if status.contains("9")), "{error:?}");
    invoke(&function, json!({"n": 2})).await.unwrap();
    assert_ne!(function.environments()[0].1, killed);
    function.shutdown().await;
}

#[tokio::test]
async fn a_function_that_cannot_start_says_why() {
    let (function, _) = scripted_function(&Folder::new(), Duration::from_secs(10), 1, &[("FAIL_INIT", "1")]);
    let error = invoke(&function, json!({"n": 1})).await.unwrap_err();
    assert!(matches!(&error, InvokeError::Init { reason } if reason.contains("exit status: 1")), "{error:?}");
    function.shutdown().await;
}

#[tokio::test]
async fn shutdown_lets_the_function_say_good_bye_and_leaves_no_process() {
    let (function, mut lines) = scripted_function(&Folder::new(), Duration::from_secs(10), 2, &[]);
    function.warm(2).await.unwrap();
    let pids: Vec<u32> = function.environments().iter().map(|(_, pid)| *pid).collect();
    function.shutdown().await;
    assert_eq!(pids.iter().filter(|pid| is_running(**pid)).count(), 0, "no process is left behind");
    next_line(&mut lines, |line| line.value["graceful"].as_bool()).await;
    assert_eq!(invoke(&function, json!({"n": 1})).await, Err(InvokeError::ShutDown));
}
