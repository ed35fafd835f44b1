//! One speaker: a recording played over a WebSocket, as its page would have sent it.
//!
//! A page hears an acknowledgement of each chunk, or an error message where one was refused, or API Gateway's own when a function failed.
//! It sees the connection close when API Gateway itself will not take a message (1009: too long) or is tired of it. Then it connects again
//! and sends what was not acknowledged once more; the handler's deduplication ids make that harmless. While the service is busy, nothing
//! overtakes what waits. It leaves when all of its chunks are answered.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::{SinkExt, StreamExt};
use ingest::message::{audio, format, number, string, time};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, coding::CloseCode};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::ledger::Sent;
use super::recording::{Line, Recording};
use super::schedule::schedule;
use crate::report::Refusal;

/// API Gateway closes the connection (1009) at a frame longer than this, and no page can send a message in several.
pub(super) const FRAME_BYTES_MAX: usize = 32 * 1024;
/// Chunks that were sent and not answered yet, as many as a page's (worker/speaker): while the service is busy, the others wait in order.
const IN_FLIGHT: usize = 8;
/// After a connection was lost, so many of the last messages that nobody acknowledges are sent again.
const RESEND: usize = 16;
/// When nothing is heard for so long, what was not answered is sent again.
const SILENCE: Duration = Duration::from_secs(10);
/// How often a lost connection is opened again.
const TRIES: u32 = 6;
/// The wait before the first new try; it doubles with each.
const BACKOFF: Duration = Duration::from_millis(200);
/// The longest wait before messages that found the service busy are sent again.
const BACKOFF_MAX: Duration = Duration::from_millis(800);
/// How often such a message is sent again: for about a minute.
const RESENDS: u32 = 80;
/// How long the gateway may take to go through what it was sent.
const FLUSH: Duration = Duration::from_secs(300);
/// Refusals come at once; after this long without one there will be none.
const QUIET: Duration = Duration::from_secs(1);

/// Who speaks what.
#[derive(Clone, Debug)]
pub struct Speaker {
    /// What is said.
    pub recording: Arc<Recording>,
    /// In which session.
    pub session_id: String,
    /// Times real time.
    pub speed: f64,
    /// Waits this long before it begins.
    pub delay: Duration,
}

/// What became of it, as far as the speaker can tell.
#[derive(Clone, Debug, Default)]
pub struct Spoken {
    /// The messages sent.
    pub sent: Vec<Sent>,
    /// What the door said.
    pub refusals: Vec<Refusal>,
    /// How often the connection was opened again.
    pub reconnects: u32,
}

/// Why a speaker was not heard.
#[derive(Debug, thiserror::Error)]
pub enum SpeakError {
    /// The handshake failed.
    #[error("cannot connect to {url}: {source}")]
    Connect {
        /// Where.
        url: String,
        /// Why; a status is the `$connect` route's own.
        source: Box<tungstenite::Error>,
    },
    /// Nobody can tell which of its messages the door took.
    #[error("the door has not gone through what it was sent within {} s: the machine is too slow for so many sessions", FLUSH.as_secs())]
    TooSlow,
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A message of the recording, ready to be sent.
struct Outgoing {
    text: String,
    index: Option<u64>,
    captured_ms: Option<u64>,
    /// The door acknowledges it.
    is_answered: bool,
    /// The handler will refuse it, as far as can be seen from here: tells which of two messages with one index is meant.
    doubtful: bool,
    tries: u32,
}

struct Talk {
    url: String,
    socket: Socket,
    messages: Vec<Outgoing>,
    spoken: Spoken,
    /// Messages that are to be sent, or sent again, in order.
    waiting: BTreeSet<usize>,
    /// Not before then.
    due: Instant,
    /// Chunks that were sent, and neither acknowledged nor refused.
    unanswered: BTreeSet<usize>,
    /// Since when nothing was heard of them.
    silent_since: Instant,
    /// The gateway has gone through everything up to our last ping.
    flushed: bool,
}

/// Something came in.
enum Heard {
    Message(Message),
    Closed(Option<CloseFrame>),
}

impl Speaker {
    /// Speaks the recording to its end, and ends the stream. `on_sent` is called after each message.
    ///
    /// # Errors
    /// [`SpeakError::Connect`] if the connection cannot be made, or made again.
    pub async fn speak(&self, ws_url: &str, on_sent: &(dyn Fn() + Sync)) -> Result<Spoken, SpeakError> {
        tokio::time::sleep(self.delay).await;
        let url = format!("{ws_url}?sessionId={}&role=speaker", self.session_id);
        let socket = connect(&url).await?;
        let captured: Vec<Option<u64>> = self.recording.lines.iter().map(Line::captured_ms).collect();
        let slots = schedule(&captured, self.speed);
        let (start, start_ms) = (Instant::now(), now_ms());
        let own_id = self.recording.session_id();
        let messages = self.recording.lines.iter().zip(&slots).map(|(line, slot)| {
            let captured_ms = slot.captured_ms.map(|ms| start_ms.saturating_add_signed(ms));
            outgoing(line, captured_ms, &own_id, &self.session_id)
        });
        let messages = messages.collect();
        let spoken = Spoken::default();
        let (waiting, unanswered) = (BTreeSet::new(), BTreeSet::new());
        let (due, silent_since, flushed) = (start, start, false);
        let mut talk =
            Talk { url, socket, messages, spoken, waiting, due, unanswered, silent_since, flushed };
        for (i, slot) in slots.iter().enumerate() {
            talk.listen_until(start + Duration::from_millis(slot.after_ms)).await?;
            talk.send(i).await?;
            on_sent();
        }
        talk.finish().await
    }
}

/// A line as a page would send it. What is no JSON object stays as it is.
fn outgoing(line: &Line, captured_ms: Option<u64>, own_id: &str, session_id: &str) -> Outgoing {
    let fields = match line {
        Line::Message(fields) => fields,
        Line::Raw(text) => {
            let (text, index, captured_ms) = (text.clone(), None, None);
            return Outgoing { text, index, captured_ms, is_answered: false, doubtful: true, tries: 0 };
        }
    };
    let mut fields = fields.clone();
    if fields.get("action").is_some_and(|action| action == "writeToStream") {
        fields.insert("action".into(), json!("audioChunk"));
    }
    if fields.get("sessionId").is_some_and(|id| id == own_id) {
        fields.insert("sessionId".into(), json!(session_id));
    }
    if let Some(captured_ms) = captured_ms {
        fields.insert("timestamp".into(), json!(captured_ms));
    }
    let is_chunk = fields.get("action").is_some_and(|action| action == "audioChunk");
    if is_chunk {
        fields.insert("ack".into(), json!(true));
    }
    let heard = || audio(string(&fields, "audioData")?, format(string(&fields, "format")?)?);
    let fine = is_chunk && heard().is_ok() && time(&fields, "timestamp").is_ok();
    let index = number(&fields, "chunkIndex").ok();
    let captured_ms = number(&fields, "timestamp").ok();
    let is_answered = fine && index.is_some();
    let text = Value::Object(fields).to_string();
    Outgoing { text, index, captured_ms, is_answered, doubtful: !fine, tries: 0 }
}

impl Talk {
    /// Hears what the door says until it is time, and sends what waits.
    async fn listen_until(&mut self, time: Instant) -> Result<(), SpeakError> {
        loop {
            self.send_waiting().await?;
            let due = Some(self.due).filter(|due| !self.waiting.is_empty() && *due > Instant::now());
            let silence = Some(self.silent_since + SILENCE).filter(|_| !self.unanswered.is_empty());
            let wake = [due, silence].into_iter().flatten().fold(time, Instant::min);
            match tokio::time::timeout_at(wake, hear(&mut self.socket)).await {
                Ok(heard) => {
                    self.silent_since = Instant::now();
                    self.react(heard).await?;
                }
                Err(_) if Some(wake) == silence => {
                    self.silent_since = Instant::now();
                    self.resend(Duration::ZERO);
                }
                Err(_) if wake == time => return Ok(()),
                Err(_) => {}
            }
        }
    }

    /// Sends what waits, as far as it is due and the door has answered what was sent before.
    async fn send_waiting(&mut self) -> Result<(), SpeakError> {
        while self.unanswered.len() < IN_FLIGHT && Instant::now() >= self.due {
            let Some(i) = self.waiting.pop_first() else { break };
            if !self.write(i).await {
                return Box::pin(self.reconnect()).await;
            }
        }
        Ok(())
    }

    /// Whether the connection took the message.
    async fn write(&mut self, i: usize) -> bool {
        if self.messages[i].is_answered {
            if self.unanswered.is_empty() {
                self.silent_since = Instant::now();
            }
            self.unanswered.insert(i);
        }
        self.socket.send(Message::text(&self.messages[i].text)).await.is_ok()
    }

    async fn react(&mut self, heard: Heard) -> Result<(), SpeakError> {
        match heard {
            Heard::Message(Message::Text(text)) => self.answer(&text).await,
            Heard::Message(Message::Pong(_)) => {
                self.flushed = true;
                Ok(())
            }
            Heard::Message(_) => Ok(()),
            Heard::Closed(_) => self.reconnect().await,
        }
    }

    /// Sends a message of the recording, behind those that wait. One that is too long ends the connection, which is then opened again.
    async fn send(&mut self, i: usize) -> Result<(), SpeakError> {
        let Outgoing { index, captured_ms, ref text, .. } = self.messages[i];
        let too_long = text.len() > FRAME_BYTES_MAX;
        if i == self.spoken.sent.len() {
            self.spoken.sent.push(Sent { index, captured_ms, at_ms: now_ms(), refused: false });
        }
        if too_long {
            self.write(i).await;
            return self.see_the_door_close(i).await;
        }
        self.waiting.insert(i);
        self.send_waiting().await
    }

    /// The message is too long for the door: it says so by closing.
    async fn see_the_door_close(&mut self, i: usize) -> Result<(), SpeakError> {
        let deadline = Instant::now() + FLUSH;
        while let Ok(heard) = tokio::time::timeout_at(deadline, hear(&mut self.socket)).await {
            let Heard::Closed(frame) = heard else {
                self.react(heard).await?;
                continue;
            };
            let code = frame.as_ref().map_or(1006, |frame| u16::from(frame.code));
            let reason = frame.map_or_else(String::new, |frame| frame.reason.to_string());
            let bytes = self.messages[i].text.len();
            self.refuse(
                i,
                Refusal {
                    message: Some(i),
                    chunk_index: self.messages[i].index,
                    code: format!("CLOSED_{code}"),
                    reason: format!("the message of {bytes} bytes closed the connection: {reason}"),
                    hint: Some(
                        "send at most 22 kB of audio in a message: cut the blob into pieces, all but the last with \"continues\": true"
                            .into(),
                    ),
                },
            );
            return self.reconnect().await;
        }
        Ok(())
    }

    /// An error message of the door.
    async fn answer(&mut self, text: &str) -> Result<(), SpeakError> {
        let Ok(answer) = serde_json::from_str::<Value>(text) else { return Ok(()) };
        let field = |name: &str| answer[name].as_str().map(str::to_owned);
        let chunk_index = answer["chunkIndex"].as_u64();
        let about = match answer["timestamp"].as_u64() {
            Some(captured_ms) => self.acknowledged(chunk_index, captured_ms),
            None => self.meant(chunk_index),
        };
        match (field("code"), about) {
            (Some(code), Some(i)) if code == "RETRY" && self.messages[i].tries < RESENDS => {
                self.send_again(i);
                Ok(())
            }
            (None, Some(i)) if answer["type"] == "ack" => {
                self.settle(i);
                Ok(())
            }
            (Some(code), about) => {
                let reason = field("message").unwrap_or_default();
                let refusal = Refusal { message: about, chunk_index, code, reason, hint: field("hint") };
                match about {
                    Some(i) => self.refuse(i, refusal),
                    None => self.spoken.refusals.push(refusal),
                }
                Ok(())
            }
            // API Gateway's own error, with connectionId and requestId, names no message: it may be any that is in flight.
            (None, _) if answer["message"] == "Internal server error" => {
                self.resend(BACKOFF);
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }

    /// Which message an answer is about: the last one sent with that index (or with none) that was not refused yet, a
    /// doubtful one before others.
    fn meant(&self, index: Option<u64>) -> Option<usize> {
        let fits = |i: &usize| self.messages[*i].index == index && !self.spoken.sent[*i].refused;
        (0..self.spoken.sent.len()).filter(fits).max_by_key(|i| (self.messages[*i].doubtful, *i))
    }

    fn acknowledged(&self, index: Option<u64>, captured_ms: u64) -> Option<usize> {
        let is_it = |i: &usize| {
            (self.messages[*i].index, self.messages[*i].captured_ms) == (index, Some(captured_ms))
        };
        self.unanswered.iter().chain(&self.waiting).copied().find(is_it)
    }

    fn settle(&mut self, i: usize) {
        self.unanswered.remove(&i);
        self.waiting.remove(&i);
    }

    fn refuse(&mut self, i: usize, refusal: Refusal) {
        self.settle(i);
        self.spoken.sent[i].refused = true;
        self.spoken.refusals.push(refusal);
    }

    fn send_again(&mut self, i: usize) {
        let message = &mut self.messages[i];
        message.tries += 1;
        tracing::debug!(index = message.index, tries = message.tries, url = self.url, "sending again");
        let wait = BACKOFF.saturating_mul(2_u32.saturating_pow(message.tries - 1)).min(BACKOFF_MAX);
        self.due = Instant::now() + wait;
        self.unanswered.remove(&i);
        self.waiting.insert(i);
    }

    async fn reconnect(&mut self) -> Result<(), SpeakError> {
        self.spoken.reconnects += 1;
        self.flushed = false;
        let mut tries = 0;
        self.socket = loop {
            match connect(&self.url).await {
                Ok(socket) => break socket,
                Err(error) if tries == TRIES => return Err(error),
                Err(_) => tokio::time::sleep(BACKOFF * 2_u32.pow(tries)).await,
            }
            tries += 1;
        };
        self.resend(Duration::ZERO);
        Ok(())
    }

    /// Sends again, after a while, what was not answered, and the last of what nobody answers: nobody knows which of them were taken.
    fn resend(&mut self, after: Duration) {
        self.due = Instant::now() + after;
        for i in std::mem::take(&mut self.unanswered) {
            self.messages[i].tries += 1;
            self.waiting.insert(i);
        }
        let sent = self.spoken.sent.len();
        for i in sent.saturating_sub(RESEND)..sent {
            let Outgoing { is_answered, tries, ref text, .. } = self.messages[i];
            if is_answered || self.spoken.sent[i].refused || text.len() > FRAME_BYTES_MAX || tries > RESENDS {
                continue;
            }
            self.messages[i].tries += 1;
            self.waiting.insert(i);
        }
    }

    /// Hears the answers to all chunks, or gives up when it is time.
    async fn hear_all(&mut self, deadline: Instant) -> Result<(), SpeakError> {
        while !(self.waiting.is_empty() && self.unanswered.is_empty()) && Instant::now() < deadline {
            self.listen_until(deadline.min(Instant::now() + BACKOFF)).await?;
        }
        Ok(())
    }

    /// Ends the stream, waits until the door has gone through everything, and leaves.
    async fn finish(mut self) -> Result<Spoken, SpeakError> {
        let accepted = self
            .messages
            .iter()
            .zip(&self.spoken.sent)
            .rev()
            .find(|(message, sent)| message.index.is_some() && !message.doubtful && !sent.refused);
        let end =
            json!({"action": "endStream", "chunkIndex": accepted.and_then(|(message, _)| message.index)});
        let deadline = Instant::now() + FLUSH;
        self.hear_all(deadline).await?;
        while !self.flushed && Instant::now() < deadline {
            self.flushed = false;
            let written = self.socket.send(Message::text(end.to_string())).await;
            let pinged = self.socket.send(Message::Ping(Vec::new().into())).await;
            if written.is_ok() && pinged.is_ok() {
                let reconnects = self.spoken.reconnects;
                while !self.flushed && self.spoken.reconnects == reconnects && Instant::now() < deadline {
                    self.listen_until(deadline.min(Instant::now() + BACKOFF)).await?;
                }
            } else {
                self.reconnect().await?;
            }
        }
        if !(self.flushed && self.unanswered.is_empty()) {
            return Err(SpeakError::TooSlow);
        }
        while let Ok(heard) = tokio::time::timeout(QUIET, hear(&mut self.socket)).await {
            if matches!(heard, Heard::Closed(_)) {
                return Ok(self.spoken);
            }
            self.react(heard).await?;
        }
        let good_bye = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let _ = self.socket.close(Some(good_bye)).await;
        let _ = tokio::time::timeout(QUIET, async { while self.socket.next().await.is_some() {} }).await;
        Ok(self.spoken)
    }
}

async fn connect(url: &str) -> Result<Socket, SpeakError> {
    let connected = tokio_tungstenite::connect_async(url).await;
    let failed = |source| SpeakError::Connect { url: url.to_owned(), source: Box::new(source) };
    Ok(connected.map_err(failed)?.0)
}

/// Waits for the next message; a connection that has ended says so.
async fn hear(socket: &mut Socket) -> Heard {
    match socket.next().await {
        Some(Ok(Message::Close(frame))) => Heard::Closed(frame),
        Some(Ok(message)) => Heard::Message(message),
        Some(Err(_)) | None => Heard::Closed(None),
    }
}

/// Now, epoch ms.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(value: Value) -> Line {
        Line::Message(value.as_object().unwrap().clone())
    }

    #[test]
    fn a_queue_message_becomes_what_the_page_had_sent() {
        let recorded = line(json!({"action": "writeToStream", "sessionId": "a", "audioData": "AAAA",
            "timestamp": 5, "format": "ogg-opus", "chunkIndex": 3}));
        let sent = outgoing(&recorded, Some(77), "a", "a-01");
        let expected = json!({"action": "audioChunk", "sessionId": "a-01", "audioData": "AAAA",
            "timestamp": 77, "format": "ogg-opus", "chunkIndex": 3, "ack": true});
        assert_eq!(serde_json::from_str::<Value>(&sent.text).unwrap(), expected);
        assert_eq!((sent.index, sent.captured_ms, sent.doubtful), (Some(3), Some(77), false));
    }

    #[test]
    fn hostile_lines_are_sent_as_they_are() {
        let raw = outgoing(&Line::Raw("{nope".into()), None, "a", "b");
        assert_eq!((raw.text.as_str(), raw.index, raw.doubtful), ("{nope", None, true));
        let foreign = line(json!({"action": "dance", "sessionId": "other", "chunkIndex": "3"}));
        let sent = outgoing(&foreign, None, "a", "b");
        assert_eq!(
            serde_json::from_str::<Value>(&sent.text).unwrap(),
            json!({"action": "dance",
            "sessionId": "other", "chunkIndex": "3"})
        );
        assert!(sent.doubtful);
    }
}
