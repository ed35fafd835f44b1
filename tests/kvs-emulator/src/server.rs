//! A running emulator.

use crate::budget::Budget;
use crate::clock::Now;
use crate::config::Config;
use crate::faults::Faults;
use crate::recorder::{RecordedRequest, Recorder};
use crate::storage::{Disk, Saved, Stats, Store, StoredFragment};
use crate::wire;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

/// What all connections share.
pub(crate) struct Server {
    pub(crate) config: Config,
    pub(crate) address: SocketAddr,
    pub(crate) now: Now,
    pub(crate) faults: Faults,
    pub(crate) recorder: Recorder,
    /// Memory of fragments that are not stored yet.
    pub(crate) open: Budget,
    pub(crate) disk: Disk,
    /// Counts answers, for their request ids.
    pub(crate) answers: AtomicU64,
    /// Rings whenever a fragment was stored.
    pub(crate) stored: Notify,
    /// Rings whenever a connection of a stream was given back.
    pub(crate) freed: Notify,
    store: Mutex<Store>,
}

impl Server {
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        // Every change of the store is one call, so even a panic in another thread leaves it whole.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now.ms()
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What GetDataEndpoint answers.
    pub(crate) fn advertised_endpoint(&self) -> String {
        self.config.advertised_endpoint.clone().unwrap_or_else(|| self.endpoint())
    }
}

/// A running emulator; dropping it stops it.
pub struct Emulator {
    server: Arc<Server>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Starts an emulator on `config.listen`; it runs on the current tokio runtime.
///
/// # Errors
/// The address cannot be bound, or the data folder cannot be used (a [`DiskError`](crate::DiskError) inside).
pub async fn start(config: Config) -> io::Result<Emulator> {
    let listener = TcpListener::bind(config.listen).await?;
    let address = listener.local_addr()?;
    let (disk, saved) = match config.data_dir.clone() {
        None => (Disk::default(), Saved::default()),
        Some(folder) => {
            tokio::task::spawn_blocking(move || Disk::open(&folder)).await?.map_err(io::Error::other)?
        }
    };
    let now = Now::new(config.clock);
    let mut store = Store::new(config.limits.clone(), disk.clone(), saved);
    store.settle_all(now.ms());
    let server = Arc::new(Server {
        address,
        now,
        faults: Faults::default(),
        recorder: Recorder::new(config.recorded_requests_max),
        open: Budget::new(config.limits.open_bytes_max),
        disk,
        answers: AtomicU64::new(0),
        stored: Notify::new(),
        freed: Notify::new(),
        store: Mutex::new(store),
        config,
    });
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(accept(listener, server.clone(), stopped));
    Ok(Emulator { server, stop, task })
}

/// How often what nobody asks for is looked through for media that has outlived its retention.
const SWEEP_MS: u64 = 60_000;

async fn sweep(server: &Server) {
    loop {
        server.now.sleep(SWEEP_MS).await;
        let now_ms = server.now_ms();
        server.store().settle_all(now_ms);
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

async fn accept(listener: TcpListener, server: Arc<Server>, mut stopped: watch::Receiver<bool>) {
    let slots = Arc::new(Semaphore::new(server.config.limits.connections_max));
    let mut connections = JoinSet::new();
    let sweeping_server = server.clone();
    let mut sweeping = std::pin::pin!(sweep(&sweeping_server));
    loop {
        let slot = tokio::select! {
            _ = stopped.changed() => break,
            slot = slots.clone().acquire_owned() => slot,
        };
        let socket = tokio::select! {
            _ = stopped.changed() => break,
            () = &mut sweeping => continue,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match socket {
            Ok((socket, _)) => {
                // Acks are small and must not wait for each other.
                let _ = socket.set_nodelay(true);
                let server = server.clone();
                connections.spawn(async move {
                    wire::serve(socket, server).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                // Out of file descriptors, most likely: others must end first.
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.shutdown().await;
}

impl Emulator {
    /// Where it listens, such as `http://127.0.0.1:40123`; serves all its APIs.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// Its faults.
    pub fn faults(&self) -> &Faults {
        &self.server.faults
    }

    /// What a stream keeps, in the order of fragment numbers; empty if there is no such stream.
    pub fn fragments(&self, stream: &str) -> Vec<StoredFragment> {
        let now_ms = self.server.now_ms();
        let mut store = self.server.store();
        store.stream(stream, now_ms).map_or(Vec::new(), |stream| {
            stream.fragments.values().map(|fragment| StoredFragment::clone(fragment)).collect()
        })
    }

    /// Names of the streams, sorted.
    pub fn streams(&self) -> Vec<String> {
        self.server.store().names(self.server.now_ms())
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        self.server.store().stats.clone()
    }

    /// What time it is for the emulator, in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        self.server.now_ms()
    }

    /// Puts the emulator's clock forward: streams become ACTIVE, media expires, connections grow old.
    pub fn advance(&self, ms: u64) {
        self.server.now.advance(ms);
    }

    /// The latest requests, oldest first.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.server.recorder.all()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.server.recorder.clear();
    }

    /// A connection without a socket, so that a test can pause tokio's clock.
    pub fn connect(&self) -> DuplexStream {
        const PIPE_BYTES: usize = 64 * 1024;
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        tokio::spawn(wire::serve(far, self.server.clone()));
        near
    }

    /// Stops listening, closes all connections, and the file of `data_dir` if there is one.
    pub async fn shutdown(mut self) {
        let _ = self.stop.send(true);
        let _ = (&mut self.task).await;
        self.server.disk.close().wait().await;
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        drop(self.server.disk.close());
    }
}
