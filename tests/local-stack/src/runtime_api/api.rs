//! The HTTP face of one execution environment: the Lambda Runtime API and the part of the Extensions API that a runtime itself uses.
//!
//! | path | what it does here |
//! |---|---|
//! | GET `/2018-06-01/runtime/invocation/next` | holds the request until an invocation is assigned |
//! | POST `/2018-06-01/runtime/invocation/{id}/response`, `/error` | ends the invocation |
//! | POST `/2018-06-01/runtime/init/error` | the environment failed to start |
//! | POST `/2020-01-01/extension/register` | accepts an internal extension |
//! | GET `/2020-01-01/extension/event/next` | holds the request: no event is ever sent to a runtime's own extension |

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{Response, StatusCode};
use axum::routing::{get, post};
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use super::{InvokeError, PAYLOAD_BYTES_MAX};

/// What the process of an environment is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has not asked for an invocation yet.
    Starting,
    /// It waits for an invocation.
    Idle,
    /// It has one.
    Busy,
    /// It reported that it cannot start.
    InitFailed(String),
    /// It is gone.
    Exited(String),
}

/// An invocation on its way into an environment.
pub(super) struct Assignment {
    pub(super) request_id: String,
    pub(super) deadline_ms: u128,
    pub(super) payload: Bytes,
    pub(super) answer: oneshot::Sender<Result<Bytes, InvokeError>>,
}

/// The state that the HTTP handlers and the environment's owner share.
pub(super) struct Api {
    function_name: String,
    function_arn: String,
    phase: watch::Sender<Phase>,
    assignments: Mutex<mpsc::Receiver<Assignment>>,
    running: std::sync::Mutex<Option<Running>>,
}

struct Running {
    request_id: String,
    answer: oneshot::Sender<Result<Bytes, InvokeError>>,
}

impl Api {
    /// The API's state, the sender of invocations, and the phase to watch.
    pub(super) fn new(function_name: &str) -> (Arc<Self>, mpsc::Sender<Assignment>, watch::Receiver<Phase>) {
        let (assign, assignments) = mpsc::channel(1);
        let (phase, phases) = watch::channel(Phase::Starting);
        let api = Self {
            function_name: function_name.to_owned(),
            function_arn: format!("arn:aws:lambda:us-east-1:000000000000:function:{function_name}"),
            phase,
            assignments: Mutex::new(assignments),
            running: std::sync::Mutex::new(None),
        };
        (Arc::new(api), assign, phases)
    }

    /// Serves the API until the task is aborted.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let invocation = "/2018-06-01/runtime/invocation";
        let router = Router::new()
            .route(&format!("{invocation}/next"), get(next))
            .route(&format!("{invocation}/{{id}}/response"), post(response))
            .route(&format!("{invocation}/{{id}}/error"), post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            .route("/2020-01-01/extension/register", post(register))
            .route("/2020-01-01/extension/event/next", get(std::future::pending::<StatusCode>))
            .layer(DefaultBodyLimit::max(PAYLOAD_BYTES_MAX))
            .with_state(self);
        let _ = axum::serve(listener, router).await;
    }

    /// The process is gone: whoever waits for its answer learns it.
    pub(super) fn exited(&self, status: String) {
        self.phase.send_replace(Phase::Exited(status.clone()));
        if let Some(running) = self.take_running(None) {
            let _ = running.answer.send(Err(InvokeError::Crashed { status }));
        }
    }

    fn take_running(&self, request_id: Option<&str>) -> Option<Running> {
        let mut running = self.lock_running();
        match (&*running, request_id) {
            (Some(current), Some(id)) if current.request_id != id => None,
            _ => running.take(),
        }
    }

    fn lock_running(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn answer(&self, request_id: &str, result: Result<Bytes, InvokeError>) -> StatusCode {
        match self.take_running(Some(request_id)) {
            Some(running) => {
                let _ = running.answer.send(result);
                StatusCode::ACCEPTED
            }
            None => StatusCode::BAD_REQUEST,
        }
    }
}

async fn next(State(api): State<Arc<Api>>) -> Response<Body> {
    let mut assignments = api.assignments.lock().await;
    api.phase.send_replace(Phase::Idle);
    let Some(assignment) = assignments.recv().await else {
        // The environment's owner is gone: never answer, the process is about to be ended.
        return std::future::pending().await;
    };
    api.phase.send_replace(Phase::Busy);
    let head = Response::builder()
        .header("content-type", "application/json")
        .header("lambda-runtime-aws-request-id", &assignment.request_id)
        .header("lambda-runtime-deadline-ms", assignment.deadline_ms.to_string())
        .header("lambda-runtime-invoked-function-arn", &api.function_arn)
        .header("lambda-runtime-trace-id", "Root=1-00000000-000000000000000000000000;Sampled=0");
    *api.lock_running() = Some(Running { request_id: assignment.request_id, answer: assignment.answer });
    head.body(Body::from(assignment.payload)).unwrap_or_else(|_| Response::new(Body::empty()))
}

async fn response(State(api): State<Arc<Api>>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    api.answer(&id, Ok(body))
}

async fn error(State(api): State<Arc<Api>>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    api.answer(&id, Err(InvokeError::from_report(&body)))
}

async fn init_error(State(api): State<Arc<Api>>, body: Bytes) -> StatusCode {
    api.phase.send_replace(Phase::InitFailed(InvokeError::from_report(&body).to_string()));
    StatusCode::ACCEPTED
}

async fn register(State(api): State<Arc<Api>>) -> Response<Body> {
    let about = serde_json::json!({
        "functionName": api.function_name, "functionVersion": "$LATEST", "handler": "bootstrap", "accountId": "000000000000",
    });
    Response::builder()
        .header("content-type", "application/json")
        .header("Lambda-Extension-Identifier", super::environment::uuid())
        .body(Body::from(about.to_string()))
        .unwrap_or_else(|_| Response::new(Body::empty()))
}
