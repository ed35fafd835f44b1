//! From the start of a `bootstrap` process to its first question for work.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use path_bench::batches::BenchError;

/// Longer than any start takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts `bootstrap` `starts` times, one after the other, on a Runtime API that never has work, and gives the time of each.
///
/// # Errors
/// [`BenchError::Program`] if it does not start, or does not ask within 10 s.
pub fn cold_starts(bootstrap: &Path, starts: usize) -> Result<Vec<Duration>, BenchError> {
    let failed = |reason: String| BenchError::Program { program: bootstrap.display().to_string(), reason };
    (0..starts).map(|_| cold_start(bootstrap).map_err(|error| failed(error.to_string()))).collect()
}

fn cold_start(bootstrap: &Path) -> std::io::Result<Duration> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    let (asked, first_question) = mpsc::channel();
    let over = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&over);
    let server = std::thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            if stop.load(Ordering::Acquire) {
                return;
            }
            let asked = asked.clone();
            std::thread::spawn(move || serve(connection, &asked));
        }
    });
    let mut command = Command::new(bootstrap);
    command.env_clear().envs(environment()).env("AWS_LAMBDA_RUNTIME_API", address.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let started = Instant::now();
    let mut child = command.spawn()?;
    let asked = first_question.recv_timeout(PATIENCE);
    child.kill()?;
    child.wait()?;
    over.store(true, Ordering::Release);
    if TcpStream::connect(address).is_ok() {
        let _ = server.join();
    }
    match asked {
        Ok(asked) => Ok(asked.saturating_duration_since(started)),
        Err(_) => Err(std::io::Error::other("it did not ask for an invocation within 10 s")),
    }
}

/// Answers the registration of the runtime's internal extension, and lets every question for work wait.
fn serve(mut connection: TcpStream, asked: &mpsc::Sender<Instant>) {
    let Ok(reading) = connection.try_clone() else { return };
    let mut reading = BufReader::new(reading);
    while let Some((request, body_bytes)) = head(&mut reading) {
        if std::io::copy(&mut (&mut reading).take(body_bytes), &mut std::io::sink()).is_err() {
            return;
        }
        if request.contains("/runtime/invocation/next") {
            let _ = asked.send(Instant::now());
        } else if request.contains("/extension/register") {
            let body =
                r#"{"functionName":"kvs-stream-writer","functionVersion":"$LATEST","handler":"bootstrap"}"#;
            let answer = format!(
                "HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: 1\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
            if connection.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// Request line and body length of the next request; `None` at the connection's end.
fn head(reading: &mut impl BufRead) -> Option<(String, u64)> {
    let mut request = String::new();
    let mut body_bytes = 0;
    loop {
        let mut line = String::new();
        if reading.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Some((request, body_bytes));
        }
        if request.is_empty() {
            line.clone_into(&mut request);
        } else if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            body_bytes = value.trim().parse().ok()?;
        }
    }
}

/// What Lambda and the template set. No service is called before the first invocation, so nothing listens at these addresses.
fn environment() -> [(&'static str, &'static str); 19] {
    [
        ("AWS_LAMBDA_FUNCTION_NAME", "kvs-stream-writer"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/kvs-stream-writer"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "bench"),
        ("_HANDLER", "bootstrap"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("QUEUE_URL", "http://127.0.0.1:9/000000000000/audio-chunks.fifo"),
        ("DLQ_URL", "http://127.0.0.1:9/000000000000/audio-chunks-dlq.fifo"),
        ("SESSIONS_TABLE", "sessions"),
        ("CONNECTIONS_TABLE", "connections"),
        ("STATE_TABLE", "writer-state"),
        ("KVS_RETENTION_HOURS", "1"),
        ("TOKEN_ISSUER", "https://issuer.example"),
        ("TOKEN_AUDIENCE", "bench"),
        ("TOKEN_ALGORITHM", "RS256"),
    ]
}
