//! Child processes that cannot outlive this one.
//!
//! Each child is started in a process group of its own and ends in one of three ways: it ends by itself; [`Process::stop`] sends TERM
//! to the group and KILL after a grace; or this process dies, by kill -9 too, and the kernel kills the child (`setpriv --pdeathsig`,
//! util-linux; where that is missing only the first two hold). The kernel ties that signal to the *thread* that forked, so all
//! children are forked by one thread that lives as long as the process.

use std::ffi::OsStr;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

/// A running child process and its process group. Dropping it kills the group.
#[derive(Debug)]
pub struct Process {
    child: Child,
    group: Option<Pid>,
}

/// A command for `program` that dies with this process; environment is empty, standard input is closed.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = if has_setpriv() {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.stdin(Stdio::null()).process_group(0).kill_on_drop(true);
    command
}

fn has_setpriv() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join("setpriv").is_file())
    })
}

impl Process {
    /// Starts `command`, which must come from [`command`].
    ///
    /// # Errors
    /// The operating system's: no such program, no permission, no memory.
    pub async fn spawn(mut command: Command) -> std::io::Result<Self> {
        let (reply, child) = oneshot::channel();
        let runtime = tokio::runtime::Handle::current();
        let job = move || {
            let _entered = runtime.enter();
            // The receiver waits below for as long as this job exists.
            let _ = reply.send(command.spawn());
        };
        let spawner_gone = || std::io::Error::other("the thread that starts child processes has ended");
        spawner().send(Box::new(job)).map_err(|_| spawner_gone())?;
        let child = child.await.map_err(|_| spawner_gone())??;
        let group = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        Ok(Self { child, group })
    }

    /// The process id, or `None` once the process was seen to end.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// The pipes of a child that was started with `Stdio::piped()`.
    pub fn child_mut(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits until the process ends by itself. Safe to drop and call again.
    ///
    /// # Errors
    /// The operating system's.
    pub async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Kills the whole group at once (SIGKILL).
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Sends TERM to the group, and KILL if the process has not ended after `grace`. Returns when it has ended.
    pub async fn stop(&mut self, grace: Duration) {
        self.signal(Signal::TERM);
        if tokio::time::timeout(grace, self.child.wait()).await.is_err() {
            self.signal(Signal::KILL);
            let _ = self.child.wait().await;
        }
    }

    fn signal(&self, signal: Signal) {
        // Only while the leader is not reaped: afterwards the kernel may give its number to somebody else.
        if let (Some(_), Some(group)) = (self.child.id(), self.group) {
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

type Job = Box<dyn FnOnce() + Send>;

fn spawner() -> &'static mpsc::Sender<Job> {
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    SPAWNER.get_or_init(|| {
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::spawn(move || queue.into_iter().for_each(|job| job()));
        jobs
    })
}

/// A TCP port of the loopback interface for a child to listen on, free a moment ago.
///
/// It is below the range from which systems take the ports of outgoing connections, so that no connection grabs it before the child
/// does, and begins at a place of this process's own, so that two stacks that start at the same time do not meet.
///
/// # Errors
/// [`std::io::ErrorKind::AddrInUse`] when all of them are taken.
pub fn free_port() -> std::io::Result<u16> {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    const PER_PROCESS: u32 = 16;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    for _ in 0..COUNT {
        let place =
            std::process::id().wrapping_mul(PER_PROCESS).wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + place % COUNT).unwrap_or_default();
        if port != 0 && std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(std::io::ErrorKind::AddrInUse.into())
}
