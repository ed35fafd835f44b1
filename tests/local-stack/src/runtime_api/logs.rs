//! What the functions print: kept in one file per function, and offered as JSON to whoever listens.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::broadcast;

use crate::lock::lock;
use crate::process::Process;

/// Longer lines are cut, as CloudWatch Logs does.
const LINE_BYTES_MAX: usize = 256 * 1024;

/// A listener that falls this many lines behind loses the oldest ones.
const LINES_KEPT: usize = 16 * 1024;

/// One line that a function printed as JSON.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// Name of the function.
    pub function: Arc<str>,
    /// Number of the execution environment within the function, from 1.
    pub environment: u64,
    /// Its process.
    pub pid: u32,
    /// The line.
    pub value: serde_json::Value,
}

/// Where a line comes from.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) function: Arc<str>,
    pub(super) environment: u64,
    pub(super) pid: u32,
}

/// The log of one function. Cheap to clone.
#[derive(Clone)]
pub struct Logs {
    path: Arc<Path>,
    file: Arc<Mutex<File>>,
    lines: broadcast::Sender<Arc<LogLine>>,
}

impl Logs {
    /// A log in `folder/NAME.log` that offers JSON lines to `lines`.
    ///
    /// # Errors
    /// The operating system's, when the file cannot be made.
    pub fn create(
        folder: &Path,
        name: &str,
        lines: broadcast::Sender<Arc<LogLine>>,
    ) -> std::io::Result<Self> {
        let path: PathBuf = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&path)?;
        Ok(Self { path: path.into(), file: Arc::new(Mutex::new(file)), lines })
    }

    /// A channel for several logs to share.
    pub fn channel() -> broadcast::Sender<Arc<LogLine>> {
        broadcast::channel(LINES_KEPT).0
    }

    /// The log file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads both outputs of `process` until they close.
    pub(super) fn follow(&self, process: &mut Process, origin: &Origin) {
        let child = process.child_mut();
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(self.clone().read_lines(stdout, origin.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(self.clone().read_lines(stderr, origin.clone()));
        }
    }

    async fn read_lines(self, output: impl AsyncRead + Unpin, origin: Origin) {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        loop {
            let (used, ended) = match output.fill_buf().await {
                Ok([]) | Err(_) => break,
                Ok(bytes) => match bytes.iter().position(|byte| *byte == b'\n') {
                    Some(newline) => {
                        extend_bounded(&mut line, &bytes[..newline]);
                        (newline + 1, true)
                    }
                    None => {
                        extend_bounded(&mut line, bytes);
                        (bytes.len(), false)
                    }
                },
            };
            output.consume(used);
            if ended {
                self.take(&line, &origin);
                line.clear();
            }
        }
        if !line.is_empty() {
            self.take(&line, &origin);
        }
    }

    fn take(&self, line: &[u8], origin: &Origin) {
        let text = String::from_utf8_lossy(line);
        {
            let mut file = lock(&self.file);
            // A full disk must not stop the stack.
            let _ = file.write_all(format!("[{} {}] {text}\n", origin.environment, origin.pid).as_bytes());
        }
        if let Ok(value @ serde_json::Value::Object(_)) = serde_json::from_slice(line) {
            let Origin { function, environment, pid } = origin.clone();
            // Nobody listening is fine.
            let _ = self.lines.send(Arc::new(LogLine { function, environment, pid, value }));
        }
    }
}

fn extend_bounded(line: &mut Vec<u8>, bytes: &[u8]) {
    let room = LINE_BYTES_MAX.saturating_sub(line.len());
    line.extend_from_slice(&bytes[..bytes.len().min(room)]);
}
