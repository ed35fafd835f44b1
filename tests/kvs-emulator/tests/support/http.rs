//! An HTTP/1.1 client with nothing between the test and the bytes.

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub const SIGNED: &str = "Authorization: AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/kinesisvideo/aws4_request, \
                          SignedHeaders=host;x-amz-date, Signature=00\r\n";

/// One connection.
pub struct Http<S> {
    pub io: S,
    received: Vec<u8>,
}

#[derive(Debug)]
pub struct Head {
    pub status: u16,
    pub text: String,
}

impl Head {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.text.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The exception's name.
    pub fn error_type(&self) -> Option<&str> {
        self.header("x-amzn-errortype")?.split(':').next()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Http<S> {
    pub fn new(io: S) -> Self {
        Self { io, received: Vec::new() }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.unwrap();
        self.io.flush().await.unwrap();
    }

    /// One chunk of a chunked body.
    pub async fn send_chunk(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let mut out = format!("{:x}\r\n", bytes.len()).into_bytes();
            out.extend_from_slice(bytes);
            out.extend_from_slice(b"\r\n");
            self.send(&out).await;
        }
    }

    pub async fn end_body(&mut self) {
        self.send(b"0\r\n\r\n").await;
    }

    async fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.io.read(&mut buffer).await {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                true
            }
        }
    }

    async fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.received.windows(end.len()).position(|window| window == end) {
                return Some(self.received.drain(..at + end.len()).collect());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// The next status line and header fields; `None` if the connection ended.
    pub async fn head(&mut self) -> Option<Head> {
        let text = String::from_utf8(self.until(b"\r\n\r\n").await?).unwrap();
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        Some(Head { status, text })
    }

    /// The next chunk of a chunked answer: `Ok(None)` at its proper end, `Err` if the connection was cut.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, ()> {
        let line = self.until(b"\r\n").await.ok_or(())?;
        let size = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
        while self.received.len() < size + 2 {
            if !self.more().await {
                return Err(());
            }
        }
        let chunk: Vec<u8> = self.received.drain(..size + 2).take(size).collect();
        Ok((size > 0).then_some(chunk))
    }

    /// The rest of a chunked answer, and whether it ended properly.
    pub async fn chunks(&mut self) -> (Vec<Vec<u8>>, bool) {
        let mut chunks = Vec::new();
        loop {
            match self.chunk().await {
                Ok(Some(chunk)) => chunks.push(chunk),
                Ok(None) => return (chunks, true),
                Err(()) => return (chunks, false),
            }
        }
    }

    /// The next acknowledgement.
    pub async fn ack(&mut self) -> Value {
        let chunk = self.chunk().await.expect("the connection was cut").expect("the answer ended");
        serde_json::from_slice(&chunk)
            .unwrap_or_else(|_| panic!("not one ack: {}", String::from_utf8_lossy(&chunk)))
    }

    /// All further acknowledgements, and whether the answer ended properly.
    pub async fn acks(&mut self) -> (Vec<Value>, bool) {
        let (chunks, proper) = self.chunks().await;
        let text = String::from_utf8(chunks.concat()).unwrap();
        (text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), proper)
    }

    /// A JSON operation.
    pub async fn call(&mut self, path: &str, input: Value) -> (Head, Value) {
        let (head, body) = self.call_bytes(path, input).await.expect("no answer");
        let value = serde_json::from_slice(&body)
            .unwrap_or_else(|_| panic!("{path}: no JSON, but {} bytes", body.len()));
        (head, value)
    }

    /// A request without body; gives status and JSON.
    pub async fn plain(&mut self, method: &str, path: &str) -> (u16, Value) {
        self.send(format!("{method} {path} HTTP/1.1\r\nHost: kvs\r\n\r\n").as_bytes()).await;
        let (head, body) = self.answer().await.expect("no answer");
        (head.status, serde_json::from_slice(&body).unwrap())
    }

    /// A JSON operation whose answer is of any kind; `None` if the connection ends without an answer.
    pub async fn call_bytes(&mut self, path: &str, input: Value) -> Option<(Head, Vec<u8>)> {
        let body = input.to_string();
        let length = body.len();
        let request =
            format!("POST {path} HTTP/1.1\r\nHost: kvs\r\n{SIGNED}Content-Length: {length}\r\n\r\n{body}");
        self.send(request.as_bytes()).await;
        self.answer().await
    }

    async fn answer(&mut self) -> Option<(Head, Vec<u8>)> {
        let head = self.head().await?;
        if head.header("transfer-encoding") == Some("chunked") {
            return Some((head, self.chunks().await.0.concat()));
        }
        let length: usize = head.header("content-length").unwrap().parse().unwrap();
        while self.received.len() < length {
            assert!(self.more().await, "the answer is shorter than it says");
        }
        Some((head, self.received.drain(..length).collect()))
    }

    /// Begins PutMedia on a stream, with absolute timecodes.
    pub async fn put_media(&mut self, stream: &str) -> Head {
        self.put_media_with(stream, "ABSOLUTE", "1700000000.000", "").await
    }

    pub async fn put_media_with(&mut self, stream: &str, timecodes: &str, start: &str, more: &str) -> Head {
        let request = format!(
            "POST /putMedia HTTP/1.1\r\nHost: kvs\r\n{SIGNED}{more}Transfer-Encoding: chunked\r\n\
             x-amzn-stream-name: {stream}\r\nx-amzn-fragment-timecode-type: {timecodes}\r\n\
             x-amzn-producer-start-timestamp: {start}\r\n\r\n"
        );
        self.send(request.as_bytes()).await;
        self.head().await.expect("no answer to PutMedia")
    }
}

/// Event types, in order.
pub fn events(acks: &[Value]) -> Vec<&str> {
    acks.iter().map(|ack| ack["EventType"].as_str().unwrap()).collect()
}
