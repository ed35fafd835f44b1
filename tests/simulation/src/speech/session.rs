//! A speaker's session, described by what its pages and recorders do; and the messages that come of it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use media::time::EpochMs;
use serde_json::json;
use writer::ports::SessionStatus;

use super::file::{File, drawn_format};
use super::tape::{FRAME, tape};
use super::webm::{Browser, header};
use crate::case::kinds::Kinds;
use crate::run::{Arrival, Incident};

/// When simulations begin, in epoch ms.
pub const BEGIN_MS: u64 = 1_732_622_783_000;
/// Samples of a millisecond.
const PER_MS: usize = 16;
/// A timestamp that is further off its clock is made up.
const MISSTAMPED_MS: i64 = 1_000;

/// What becomes of a chunk on its way into the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It comes after this many ms.
    Sent(u64),
    /// It never comes.
    Lost,
    /// It comes as a message that cannot be used.
    Bad(Bad),
}

/// What is wrong with a bad message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// Not JSON at all: its chunk is unknown.
    NotJson,
    /// Its audio is not base64.
    NotBase64,
    /// Its audio is random bytes.
    Noise,
    /// Its audio is the stub of a recorder that got none.
    Stub,
}

/// One blob.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Bytes of the recording up to which the chunk goes: as far as the one before it if it is empty.
    pub until: usize,
    /// When it was handed out, after the session's start, by a true clock.
    pub handed_out_ms: u64,
    /// By how much its audio had ended before that: the page stood still.
    pub late_ms: u64,
    /// By how much its timestamp is off the speaker's clock.
    pub misstamped_ms: i64,
    /// A piece of a blob that goes on in the next chunk, and says so.
    pub continues: bool,
    /// What becomes of it.
    pub passage: Passage,
    /// The client sends it again, so much later, with the same deduplication id.
    pub resent_after_ms: Option<u64>,
    /// The client sends it again, so much later, over its next connection and with a new timestamp.
    pub restamped_after_ms: Option<u64>,
}

impl Chunk {
    /// A blob that is handed out when its audio ends, and soon sent.
    pub fn new(until: usize, handed_out_ms: u64) -> Self {
        Self {
            until,
            handed_out_ms,
            late_ms: 0,
            misstamped_ms: 0,
            continues: false,
            passage: Passage::Sent(40),
            resent_after_ms: None,
            restamped_after_ms: None,
        }
    }

    /// When its message reaches the queue, after the session's start.
    pub fn arrives_ms(&self) -> Option<u64> {
        match self.passage {
            Passage::Sent(ms) => Some(self.handed_out_ms + ms),
            Passage::Bad(_) => Some(self.handed_out_ms + 40),
            Passage::Lost => None,
        }
    }
}

impl fmt::Debug for Chunk {
    /// On one line, with what is usual left out: a case has many.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "to {} at {} {:?}", self.until, self.handed_out_ms, self.passage)?;
        for (what, ms) in [("late", self.late_ms as i64), ("misstamped", self.misstamped_ms)] {
            if ms != 0 {
                write!(f, " {what} {ms}")?;
            }
        }
        if self.continues {
            write!(f, " continues")?;
        }
        for (what, ms) in [("resent", self.resent_after_ms), ("restamped", self.restamped_after_ms)] {
            if let Some(ms) = ms {
                write!(f, " {what} after {ms}")?;
            }
        }
        Ok(())
    }
}

/// One recorder run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Take {
    /// Which tape it plays, from its start.
    pub tape: usize,
    /// The recorder's random track number.
    pub uid: u64,
    /// It is written by the recorder that this number draws, not by the tape's browser.
    pub muxer: Option<u64>,
    /// A new page numbers its chunks from 0; a restarted recorder goes on counting.
    pub new_page: bool,
    /// Which WebSocket connection its chunks come over.
    pub connection: u32,
    /// Where in `chunks` a further connection begins.
    pub reconnects: Vec<usize>,
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
    /// From when on, after the session's start, it is ahead by how much instead: it was set.
    pub clock_set: Vec<(u64, i64)>,
    /// Whether connection_handler adds `connectionId`.
    pub tells_connection: bool,
    /// Its recorder runs.
    pub takes: Vec<Take>,
    /// So long after the last chunk was handed out comes `endStream`.
    pub end_after_ms: Option<u64>,
    /// The Sessions table says that the session has ended.
    pub ended: Option<Ended>,
    /// The kinds of trouble it was drawn with. It is held against what is promised of them, if there are any.
    pub kinds: Kinds,
}

/// How a session ends in the Sessions table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// When the table changes, after the session's start.
    pub changes_ms: u64,
    /// `endedAt`, after the session's start by a true clock.
    pub told_ms: Option<u64>,
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
    /// By how much its timestamp is off the speaker's clock.
    pub misstamped_ms: i64,
}

impl Fact {
    /// Whether its timestamp is made up.
    pub fn is_misstamped(&self) -> bool {
        self.misstamped_ms.abs() > MISSTAMPED_MS
    }
}

impl Take {
    /// A recorder that runs for `chunks` blobs without a hitch, on a page of its own.
    pub fn steady(number: usize, chunks: usize) -> Self {
        let browser = tape(number).browser;
        let uid = number as u64 + 1;
        let (new_page, connection, reconnects) = (false, 0, Vec::new());
        let mut take =
            Self { tape: number, uid, muxer: None, new_page, connection, reconnects, chunks: Vec::new() };
        let mut ends = take.file().ends.into_iter().skip(1);
        let packet_ms = (browser.frames_per_packet() * FRAME / PER_MS) as u64;
        for n in 0..chunks {
            let packets = browser.packets_per_chunk();
            let Some(until) = ends.nth(packets - 1) else { break };
            let over = usize::from(browser == Browser::Chromium && n + 1 < chunks);
            let handed_out_ms = ((n + 1) * packets) as u64 * packet_ms;
            take.chunks.push(Chunk::new(until + over, handed_out_ms));
        }
        take
    }

    /// The whole recording, and where in it each packet ends.
    pub fn recording(&self) -> (Vec<u8>, Vec<usize>) {
        let File { mut bytes, mut ends } = self.file();
        let last = self.chunks.last().map_or(0, |chunk| chunk.until);
        bytes.truncate(last);
        ends.remove(0);
        ends.retain(|end| *end <= last);
        (bytes, ends)
    }

    /// All that its recorder would write.
    pub fn file(&self) -> File {
        File::of(self.tape, self.uid, self.muxer)
    }

    /// A player's time at the end of the last packet that ends within the first `until` bytes.
    pub fn media_ms(&self, until: usize) -> u64 {
        let browser = tape(self.tape).browser;
        let (_, ends) = self.recording();
        let packets = ends.iter().filter(|end| **end <= until).count();
        (packets * browser.frames_per_packet() * FRAME / PER_MS) as u64
    }
}

impl Take {
    fn format(&self) -> &'static str {
        match self.muxer {
            Some(seed) => drawn_format(self.tape, self.uid, seed),
            None => tape(self.tape).browser.format(),
        }
    }
}

impl Session {
    /// A session of these takes, without anything special about it.
    pub fn of(name: &str, takes: Vec<Take>) -> Self {
        Self {
            name: name.to_owned(),
            begins_ms: BEGIN_MS,
            skew_ms: 0,
            clock_set: Vec::new(),
            tells_connection: false,
            takes,
            end_after_ms: None,
            ended: None,
            kinds: Kinds::NONE,
        }
    }

    /// By how much the speaker's clock is ahead at a time after the session's start.
    pub fn skew_at(&self, ms: u64) -> i64 {
        let set = self.clock_set.iter().rev().find(|(from_ms, _)| *from_ms <= ms);
        set.map_or(self.skew_ms, |(_, skew_ms)| *skew_ms)
    }

    /// Every chunk, in the order of recording.
    pub fn facts(&self) -> Vec<Fact> {
        let mut facts = Vec::new();
        for (take, t) in self.takes.iter().enumerate() {
            let mut from = 0;
            for (n, chunk) in t.chunks.iter().enumerate() {
                let name = format!("{}/{take}/{n}", self.name);
                let Chunk { until, passage, misstamped_ms, .. } = *chunk;
                facts.push(Fact { take, name, bytes: from..until, passage, misstamped_ms });
                from = chunk.until;
            }
        }
        facts
    }

    /// The session's messages and its row of the Sessions table.
    pub fn arrivals(&self) -> Vec<Arrival> {
        let mut arrivals = self.statuses();
        let (mut index, mut ends_ms) = (0, 0);
        for (n, take) in self.takes.iter().enumerate() {
            let (bytes, _) = take.recording();
            if take.new_page {
                index = 0;
            }
            let mut from = 0;
            for (c, chunk) in take.chunks.iter().enumerate() {
                ends_ms = ends_ms.max(self.begins_ms + chunk.handed_out_ms);
                let audio = &bytes[from..chunk.until];
                arrivals.extend(self.messages((n, c), index, audio));
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

    fn statuses(&self) -> Vec<Arrival> {
        let status = |at_ms: u64, status: SessionStatus| Arrival {
            at_ms: self.begins_ms + at_ms,
            what: Incident::Status(self.name.clone(), status),
        };
        let ended = self.ended.map(|ended| {
            let at = ended.told_ms.map(|ms| EpochMs(self.begins_ms + ms));
            status(ended.changes_ms, SessionStatus::Ended { at })
        });
        std::iter::once(status(0, SessionStatus::Active)).chain(ended).collect()
    }

    /// A chunk's message, as often as it is sent.
    fn messages(&self, (n, c): (usize, usize), index: u64, audio: &[u8]) -> Vec<Arrival> {
        let take = &self.takes[n];
        let chunk = &take.chunks[c];
        let Some(arrives_ms) = chunk.arrives_ms() else { return Vec::new() };
        let connection = take.connection + take.reconnects.iter().filter(|from| **from <= c).count() as u32;
        let name = format!("{}/{n}/{c}", self.name);
        let send = |at_ms: u64, name: &str, stamped_at_ms: u64, connection: u32| {
            let stamp = self.stamp(stamped_at_ms, chunk.misstamped_ms);
            let body = self.body(take, (index, connection), stamp, audio, chunk);
            let (group, deduplication) = (self.name.clone(), name.to_owned());
            Arrival { at_ms: self.begins_ms + at_ms, what: Incident::Message { group, deduplication, body } }
        };
        let mut messages = vec![send(arrives_ms, &name, chunk.handed_out_ms, connection)];
        let again = chunk.resent_after_ms;
        messages.extend(again.map(|ms| send(arrives_ms + ms, &name, chunk.handed_out_ms, connection)));
        let restamped = chunk.restamped_after_ms.map(|ms| chunk.handed_out_ms + ms);
        messages.extend(restamped.map(|at| send(at + 40, &format!("{name}/again"), at, connection + 1)));
        messages
    }

    /// A timestamp as the page gives it at a time after the session's start.
    fn stamp(&self, at_ms: u64, off_ms: i64) -> u64 {
        let clock_ms = (self.begins_ms + at_ms).saturating_add_signed(self.skew_at(at_ms));
        clock_ms.saturating_add_signed(off_ms)
    }

    fn body(
        &self,
        take: &Take,
        (index, connection): (u64, u32),
        timestamp: u64,
        audio: &[u8],
        chunk: &Chunk,
    ) -> String {
        let noise = || (0..audio.len().max(40)).map(|i| (i * i * 31 + i * 7 + 3) as u8).collect::<Vec<u8>>();
        let audio = match chunk.passage {
            Passage::Sent(_) | Passage::Lost => STANDARD.encode(audio),
            Passage::Bad(Bad::NotJson) => return format!("{{ chunk {index} of {}", take.uid),
            Passage::Bad(Bad::NotBase64) => "=?=".to_owned(),
            Passage::Bad(Bad::Noise) => STANDARD.encode(noise()),
            Passage::Bad(Bad::Stub) => {
                STANDARD.encode([&header(Browser::Chromium, 1)[..44], &[0; 66]].concat())
            }
        };
        let mut body = json!({
            "action": "writeToStream",
            "sessionId": self.name,
            "audioData": audio,
            "timestamp": timestamp,
            "format": take.format(),
            "chunkIndex": index,
        });
        if chunk.continues {
            body["continues"] = true.into();
        }
        if self.tells_connection {
            body["connectionId"] = format!("c{connection}").into();
        }
        body.to_string()
    }
}
