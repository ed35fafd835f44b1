//! A speaker's session, told as what its pages and recorders do; and the messages that come of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use writer::ports::SessionStatus;

use super::tape::{FRAME, library};
use super::webm::{Browser, header};
use crate::run::{Arrival, Incident};

/// When simulations begin, in epoch ms.
pub const BEGIN_MS: u64 = 1_732_622_783_000;
/// Samples of a millisecond.
const PER_MS: usize = 16;

/// What becomes of a chunk on its way into the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It comes after this many ms.
    Sent(u64),
    /// It never comes.
    Lost,
    /// It comes as a message that nobody can use.
    Bad(Bad),
}

/// What is wrong with a bad message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// Not JSON at all: nothing tells its chunk.
    NotJson,
    /// Its audio is not base64.
    NotBase64,
    /// Its audio is random bytes.
    Noise,
    /// Its audio is the stub of a recorder that got none.
    Stub,
}

/// One blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Bytes of the recording up to which the chunk goes.
    pub until: usize,
    /// When it was handed out, after the session's start, by a true clock.
    pub handed_out_ms: u64,
    /// What becomes of it.
    pub passage: Passage,
    /// The client sends it again, so much later, with the same deduplication id.
    pub resent_after_ms: Option<u64>,
}

/// One recorder run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Take {
    /// Which tape it plays, from its start.
    pub tape: usize,
    /// The recorder's random track number.
    pub uid: u64,
    /// A new page numbers its chunks from 0; a restarted recorder goes on counting.
    pub new_page: bool,
    /// Which WebSocket connection its chunks come over.
    pub connection: u32,
    /// Its blobs.
    pub chunks: Vec<Chunk>,
}

/// A speaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub name: String,
    /// When it begins, by a true clock.
    pub begins_ms: u64,
    /// By how much the speaker's clock is ahead of the true one.
    pub skew_ms: i64,
    /// Whether connection_handler adds `connectionId`.
    pub tells_connection: bool,
    /// Its recorder runs.
    pub takes: Vec<Take>,
    /// So long after the last chunk was handed out comes `endStream`.
    pub end_after_ms: Option<u64>,
}

/// A chunk, as the judge knows it.
#[derive(Clone, Debug)]
pub struct Fact {
    /// Index of its take.
    pub take: usize,
    /// Its message's deduplication id.
    pub name: String,
    /// Its part of the recording's bytes.
    pub bytes: std::ops::Range<usize>,
    /// What becomes of it.
    pub passage: Passage,
}

impl Take {
    /// A recorder that runs for `chunks` blobs without a hitch, on a page of its own.
    pub fn steady(tape: usize, chunks: usize) -> Self {
        let library = library();
        let browser = library.tapes[tape].browser;
        let mut take =
            Self { tape, uid: tape as u64 + 1, new_page: false, connection: 0, chunks: Vec::new() };
        let mut end = header(browser, take.uid).len();
        let mut ends = library.tapes[tape].blocks.iter().map(|block| {
            end += block.len();
            end
        });
        let packet_ms = (browser.frames_per_packet() * FRAME / PER_MS) as u64;
        for n in 0..chunks {
            let packets = browser.packets_per_chunk();
            let Some(until) = ends.nth(packets - 1) else { break };
            let over = usize::from(browser == Browser::Chromium && n + 1 < chunks);
            let handed_out_ms = ((n + 1) * packets) as u64 * packet_ms;
            take.chunks.push(Chunk {
                until: until + over,
                handed_out_ms,
                passage: Passage::Sent(40),
                resent_after_ms: None,
            });
        }
        take
    }

    /// The whole recording, and where in it each packet ends.
    pub fn recording(&self) -> (Vec<u8>, Vec<usize>) {
        let tape = &library().tapes[self.tape];
        let mut bytes = header(tape.browser, self.uid);
        let last = self.chunks.last().map_or(0, |chunk| chunk.until);
        let mut ends = Vec::new();
        for block in &tape.blocks {
            if bytes.len() >= last {
                break;
            }
            bytes.extend_from_slice(block);
            ends.push(bytes.len());
        }
        bytes.truncate(last);
        ends.retain(|end| *end <= last);
        (bytes, ends)
    }

    /// A player's time at the end of the last packet that ends within the first `until` bytes.
    pub fn media_ms(&self, until: usize) -> u64 {
        let browser = library().tapes[self.tape].browser;
        let (_, ends) = self.recording();
        let packets = ends.iter().filter(|end| **end <= until).count();
        (packets * browser.frames_per_packet() * FRAME / PER_MS) as u64
    }
}

impl Session {
    /// A session of these takes, without anything special about it.
    pub fn of(name: &str, takes: Vec<Take>) -> Self {
        Self {
            name: name.to_owned(),
            begins_ms: BEGIN_MS,
            skew_ms: 0,
            tells_connection: false,
            takes,
            end_after_ms: None,
        }
    }

    /// Every chunk, in the order of recording.
    pub fn facts(&self) -> Vec<Fact> {
        let mut facts = Vec::new();
        for (take, t) in self.takes.iter().enumerate() {
            let mut from = 0;
            for (n, chunk) in t.chunks.iter().enumerate() {
                let name = format!("{}/{take}/{n}", self.name);
                facts.push(Fact { take, name, bytes: from..chunk.until, passage: chunk.passage });
                from = chunk.until;
            }
        }
        facts
    }

    /// The session's messages and its row of the Sessions table.
    pub fn arrivals(&self) -> Vec<Arrival> {
        let active = Incident::Status(self.name.clone(), SessionStatus::Active);
        let mut arrivals = vec![Arrival { at_ms: self.begins_ms, what: active }];
        let (mut index, mut ends_ms) = (0, 0);
        for (n, take) in self.takes.iter().enumerate() {
            let (bytes, _) = take.recording();
            if take.new_page {
                index = 0;
            }
            let mut from = 0;
            for (c, chunk) in take.chunks.iter().enumerate() {
                let handed_out_ms = self.begins_ms + chunk.handed_out_ms;
                ends_ms = handed_out_ms;
                let audio = &bytes[from..chunk.until];
                let message = self.message(&format!("{}/{n}/{c}", self.name), take, index, chunk, audio);
                arrivals.extend(message);
                from = chunk.until;
                index += 1;
            }
        }
        if let Some(after_ms) = self.end_after_ms {
            let body = json!({"action": "endStream", "sessionId": self.name}).to_string();
            let deduplication = format!("{}/end", self.name);
            let what = Incident::Message { group: self.name.clone(), deduplication, body };
            arrivals.push(Arrival { at_ms: ends_ms + after_ms, what });
        }
        arrivals
    }

    fn message(&self, name: &str, take: &Take, index: u64, chunk: &Chunk, audio: &[u8]) -> Vec<Arrival> {
        let (bad, delay_ms) = match chunk.passage {
            Passage::Lost => return Vec::new(),
            Passage::Sent(delay_ms) => (None, delay_ms),
            Passage::Bad(bad) => (Some(bad), 40),
        };
        let handed_out_ms = self.begins_ms + chunk.handed_out_ms;
        let body = self.body(take, index, handed_out_ms.saturating_add_signed(self.skew_ms), audio, bad);
        let group = self.name.clone();
        let what = Incident::Message { group, deduplication: name.to_owned(), body };
        let at_ms = handed_out_ms + delay_ms;
        let again = chunk.resent_after_ms.map(|ms| Arrival { at_ms: at_ms + ms, what: what.clone() });
        std::iter::once(Arrival { at_ms, what }).chain(again).collect()
    }

    fn body(&self, take: &Take, index: u64, timestamp: u64, audio: &[u8], bad: Option<Bad>) -> String {
        let noise = || (0..audio.len().max(40)).map(|i| (i * i * 31 + i * 7 + 3) as u8).collect::<Vec<u8>>();
        let audio = match bad {
            None => STANDARD.encode(audio),
            Some(Bad::NotJson) => return format!("{{ chunk {index} of {}", take.uid),
            Some(Bad::NotBase64) => "=?=".to_owned(),
            Some(Bad::Noise) => STANDARD.encode(noise()),
            Some(Bad::Stub) => STANDARD.encode([&header(Browser::Chromium, 1)[..44], &[0; 66]].concat()),
        };
        let mut body = json!({
            "action": "writeToStream",
            "sessionId": self.name,
            "audioData": audio,
            "timestamp": timestamp,
            "format": "webm-opus",
            "chunkIndex": index,
        });
        if self.tells_connection {
            body["connectionId"] = format!("c{}", take.connection).into();
        }
        body.to_string()
    }
}
