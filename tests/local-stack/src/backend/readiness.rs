//! Starting a Python emulator in its own environment and waiting until it answers.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::Instant;

use super::BackendError;
use crate::process::Process;
use crate::project;

/// How one emulator is started and recognised.
pub(super) struct Emulator<'a> {
    pub(super) name: &'static str,
    pub(super) port: u16,
    /// The path that answers 200 when it is ready.
    pub(super) health: &'static str,
    /// Longest start that is waited for.
    pub(super) patience: Duration,
    pub(super) folder: &'a Path,
}

/// The Python of the project's environment `name`, which is built first if its requirements changed.
pub(super) async fn python(name: &'static str) -> Result<PathBuf, BackendError> {
    let script = project::root().join("scripts/venv.sh");
    let start = |source| BackendError::Start { program: script.display().to_string(), source };
    let output = Command::new(&script).arg(name).stdin(Stdio::null()).output().await.map_err(start)?;
    if output.status.success() {
        return Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = said.lines().last().unwrap_or("it said nothing").to_owned();
    Err(BackendError::Environment { name, reason })
}

impl Emulator<'_> {
    /// Its URL.
    pub(super) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts `command` with output to `NAME.log` and waits until the emulator answers.
    pub(super) async fn launch(&self, mut command: Command) -> Result<Process, BackendError> {
        let log = self.folder.join(format!("{}.log", self.name));
        let start = |source| BackendError::Start { program: self.name.to_owned(), source };
        let file = std::fs::File::create(&log).map_err(start)?;
        command.stdout(file.try_clone().map_err(start)?).stderr(file).current_dir(self.folder);
        let mut process = Process::spawn(command).await.map_err(start)?;
        tokio::select! {
            ended = process.wait() => {
                let status = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                return Err(BackendError::Ended { name: self.name, status, log });
            }
            ready = self.wait_until_ready() => if !ready {
                return Err(BackendError::NotReady { name: self.name, endpoint: self.endpoint(), waited: self.patience, log });
            }
        }
        Ok(process)
    }

    /// Asks the health path every 50 ms; false when the patience ends.
    pub(super) async fn wait_until_ready(&self) -> bool {
        let end = Instant::now() + self.patience;
        while Instant::now() < end {
            if answers(self.port, self.health).await {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }
}

/// Whether `GET path` on the loopback port answers 200 within a second.
pub(super) async fn answers(port: u16, path: &str) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await?;
        std::io::Result::Ok(head.ends_with(b" 200"))
    };
    matches!(tokio::time::timeout(Duration::from_secs(1), asked).await, Ok(Ok(true)))
}
