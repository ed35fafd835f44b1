//! A function: its environments, from the first cold start to the shutdown.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::environment::{End, Environment, Start};
use super::logs::Logs;
use super::{InvokeError, PAYLOAD_BYTES_MAX};
use crate::lock::lock;

/// What a function is.
#[derive(Clone, Debug)]
pub struct FunctionConfig {
    /// Its name, e.g. `kvs-stream-writer`.
    pub name: String,
    /// The `bootstrap` binary.
    pub binary: PathBuf,
    /// Its own variables; Lambda's standard ones are added.
    pub environment: Vec<(String, String)>,
    /// The longest an invocation may take.
    pub timeout: Duration,
    /// `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`, MB. Told to the function, not enforced.
    pub memory_mb: u32,
    /// Most environments at one time; further invocations wait.
    pub concurrency_max: usize,
}

/// What has happened to a function so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FunctionStats {
    /// Invocations that were handed to an environment.
    pub invocations: u64,
    /// Invocations that ended in any [`InvokeError`].
    pub errors: u64,
    /// Environments started.
    pub cold_starts: u64,
    /// Processes that ended when nobody had asked them to, or that [`Function::kill_one`] killed.
    pub crashes: u64,
    /// Invocations killed at the timeout.
    pub timeouts: u64,
}

#[derive(Default)]
struct Counters {
    invocations: AtomicU64,
    errors: AtomicU64,
    cold_starts: AtomicU64,
    crashes: AtomicU64,
    timeouts: AtomicU64,
}

/// A function that can be invoked. Cheap to clone; all clones are the same function.
#[derive(Clone)]
pub struct Function(Arc<Inner>);

struct Inner {
    config: FunctionConfig,
    name: Arc<str>,
    environment: Vec<(String, String)>,
    logs: Logs,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Environment>>,
    alive: Mutex<BTreeMap<u64, Environment>>,
    last_id: AtomicU64,
    shut_down: AtomicBool,
    counters: Counters,
}

/// An invocation that an environment has taken.
#[derive(Debug)]
pub struct InFlight(oneshot::Receiver<Result<Bytes, InvokeError>>);

impl InFlight {
    /// Waits for its result. Dropping this does not end the invocation.
    ///
    /// # Errors
    /// [`InvokeError`].
    pub async fn answer(self) -> Result<Bytes, InvokeError> {
        self.0.await.unwrap_or(Err(InvokeError::ShutDown))
    }
}

impl Function {
    /// A function without any environment yet.
    pub fn new(config: FunctionConfig, logs: Logs) -> Self {
        let name: Arc<str> = config.name.as_str().into();
        let environment = standard_environment(&config);
        let permits = Arc::new(Semaphore::new(config.concurrency_max));
        Self(Arc::new(Inner {
            config,
            name,
            environment,
            logs,
            permits,
            idle: Mutex::default(),
            alive: Mutex::default(),
            last_id: AtomicU64::new(0),
            shut_down: AtomicBool::new(false),
            counters: Counters::default(),
        }))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What it is.
    pub fn config(&self) -> &FunctionConfig {
        &self.0.config
    }

    /// Its log file.
    pub fn log_path(&self) -> &std::path::Path {
        self.0.logs.path()
    }

    /// Starts `count` environments, so that as many invocations find a warm one.
    ///
    /// # Errors
    /// [`InvokeError::Init`] of the first that does not start.
    pub async fn warm(&self, count: usize) -> Result<(), InvokeError> {
        let starts = (0..count.min(self.0.config.concurrency_max)).map(|_| self.cold_start());
        for environment in futures::future::join_all(starts).await {
            lock(&self.0.idle).push(environment?);
        }
        Ok(())
    }

    /// Invokes it and waits for the result.
    ///
    /// # Errors
    /// [`InvokeError`].
    pub async fn invoke(&self, payload: Bytes) -> Result<Bytes, InvokeError> {
        self.begin(payload).await?.answer().await
    }

    /// Hands the invocation to an environment: an idle one, a new one, or when the limit is reached the next that becomes free, first
    /// come first served. Returns when an environment has it, so that a caller can keep the order of its invocations' starts.
    ///
    /// # Errors
    /// [`InvokeError::Init`], [`InvokeError::PayloadTooLarge`], [`InvokeError::ShutDown`].
    pub async fn begin(&self, payload: Bytes) -> Result<InFlight, InvokeError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(InvokeError::PayloadTooLarge { bytes: payload.len() });
        }
        let permits = Arc::clone(&self.0.permits);
        let permit = permits.acquire_owned().await.map_err(|_| InvokeError::ShutDown)?;
        let counters = &self.0.counters;
        let environment = match self.take_idle().await {
            Some(environment) => environment,
            None => self.cold_start().await.inspect_err(|_| {
                counters.errors.fetch_add(1, Ordering::Relaxed);
            })?,
        };
        counters.invocations.fetch_add(1, Ordering::Relaxed);
        let answered = environment.assign(payload, self.0.config.timeout).await;
        let (reply, result) = oneshot::channel();
        tokio::spawn(self.clone().supervise(environment, permit, answered, reply));
        Ok(InFlight(result))
    }

    /// Sees one invocation to its end and gives the environment back.
    async fn supervise(
        self,
        environment: Environment,
        permit: OwnedSemaphorePermit,
        answered: oneshot::Receiver<Result<Bytes, InvokeError>>,
        reply: oneshot::Sender<Result<Bytes, InvokeError>>,
    ) {
        let timeout = self.0.config.timeout;
        let result = match tokio::time::timeout(timeout, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(InvokeError::Crashed { status: environment.exited().await }),
            Err(_) => {
                self.forget(&environment);
                environment.end(End::Kill).await;
                self.0.counters.timeouts.fetch_add(1, Ordering::Relaxed);
                Err(InvokeError::TimedOut { timeout })
            }
        };
        if result.is_err() {
            self.0.counters.errors.fetch_add(1, Ordering::Relaxed);
        }
        let reusable = !matches!(result, Err(InvokeError::TimedOut { .. } | InvokeError::Crashed { .. }));
        if reusable {
            lock(&self.0.idle).push(environment);
        }
        drop(permit);
        let _ = reply.send(result);
    }

    /// The environment that was used last and still lives. A runtime is free when it asks for the next invocation, which is a moment
    /// after its answer.
    async fn take_idle(&self) -> Option<Environment> {
        loop {
            let environment = lock(&self.0.idle).pop()?;
            if environment.ready().await.is_ok() {
                return Some(environment);
            }
        }
    }

    async fn cold_start(&self) -> Result<Environment, InvokeError> {
        if self.0.shut_down.load(Ordering::Acquire) {
            return Err(InvokeError::ShutDown);
        }
        let start = Start {
            id: self.0.last_id.fetch_add(1, Ordering::Relaxed) + 1,
            function: &self.0.name,
            binary: &self.0.config.binary,
            environment: &self.0.environment,
            logs: &self.0.logs,
        };
        let binary = self.0.config.binary.display();
        let failed = |error| InvokeError::Init { reason: format!("cannot start {binary}: {error}") };
        let environment = Environment::start(start).await.map_err(failed)?;
        self.0.counters.cold_starts.fetch_add(1, Ordering::Relaxed);
        lock(&self.0.alive).insert(environment.id, environment.clone());
        tokio::spawn(self.clone().note_exit(environment.clone()));
        environment.ready().await?;
        Ok(environment)
    }

    /// Waits for the end of an environment; one that nobody ended is a crash.
    async fn note_exit(self, environment: Environment) {
        environment.exited().await;
        if self.forget(&environment) && !self.0.shut_down.load(Ordering::Acquire) {
            self.0.counters.crashes.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn forget(&self, environment: &Environment) -> bool {
        lock(&self.0.alive).remove(&environment.id).is_some()
    }

    /// Kills one of the running environments (SIGKILL), chosen by `pick` modulo their number; gives its process id.
    pub async fn kill_one(&self, pick: u64) -> Option<u32> {
        let chosen = {
            let alive = lock(&self.0.alive);
            let count = u64::try_from(alive.len()).ok().filter(|count| *count > 0)?;
            alive.values().nth(usize::try_from(pick % count).ok()?)?.clone()
        };
        chosen.end(End::Kill).await;
        Some(chosen.pid)
    }

    /// How many environments have an invocation at this moment.
    pub fn busy(&self) -> usize {
        lock(&self.0.alive).values().filter(|environment| environment.is_busy()).count()
    }

    /// Kills one of the environments that have an invocation at this moment (SIGKILL), chosen by `pick` modulo their number; gives its
    /// process id, or `None` where all are idle.
    pub async fn kill_busy(&self, pick: u64) -> Option<u32> {
        let chosen = {
            let alive = lock(&self.0.alive);
            let busy: Vec<_> = alive.values().filter(|environment| environment.is_busy()).collect();
            let count = u64::try_from(busy.len()).ok().filter(|count| *count > 0)?;
            Environment::clone(busy.get(usize::try_from(pick % count).ok()?)?)
        };
        chosen.end(End::Kill).await;
        Some(chosen.pid)
    }

    /// The running environments: number and process id.
    pub fn environments(&self) -> Vec<(u64, u32)> {
        lock(&self.0.alive).values().map(|environment| (environment.id, environment.pid)).collect()
    }

    /// What has happened so far.
    pub fn stats(&self) -> FunctionStats {
        let Counters { invocations, errors, cold_starts, crashes, timeouts } = &self.0.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        FunctionStats {
            invocations: read(invocations),
            errors: read(errors),
            cold_starts: read(cold_starts),
            crashes: read(crashes),
            timeouts: read(timeouts),
        }
    }

    /// Ends all environments (TERM, then KILL) and refuses further invocations. Returns when no process is left.
    pub async fn shutdown(&self) {
        self.0.shut_down.store(true, Ordering::Release);
        self.0.permits.close();
        // A cold start that began before the flag was set may still add one: look until none is left.
        loop {
            let alive: Vec<_> = lock(&self.0.alive).values().cloned().collect();
            if alive.is_empty() {
                return;
            }
            let endings = alive.iter().map(async |environment| {
                environment.end(End::Shutdown).await;
                environment.exited().await;
                self.forget(environment);
            });
            futures::future::join_all(endings).await;
        }
    }
}

/// The variables that Lambda sets for a custom runtime, and then the function's own.
fn standard_environment(config: &FunctionConfig) -> Vec<(String, String)> {
    let standard = [
        ("AWS_LAMBDA_FUNCTION_NAME", config.name.clone()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", config.memory_mb.to_string()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", config.name)),
        ("AWS_LAMBDA_LOG_FORMAT", "JSON".to_owned()),
        ("_HANDLER", "bootstrap".to_owned()),
        ("TZ", ":UTC".to_owned()),
    ];
    let standard = standard.into_iter().map(|(name, value)| (name.to_owned(), value));
    standard.chain(config.environment.iter().cloned()).collect()
}
