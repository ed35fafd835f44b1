//! MediaRecorder chunks to Opus packets: WebM or Ogg, cut anywhere, with the whole state in a small value.
//!
//! The demuxer is in one of three modes. At a **start** it expects a recording's header. **Inside** a recording the
//! container's parser takes one element or page after the other. When bytes are missing or make no sense it **seeks**:
//! it looks for the next Cluster, block, header or Ogg page that proves itself, and reports what it passed on the way. In a recording
//! that cannot be decoded it seeks the next header and nothing else.
//!
//! An element that is not complete stays in the tail, and is looked at again only by its header; what seemed to be a place to go on
//! from and was none costs no more than a fixed effort a push. So the cost of a push is linear in its bytes.

mod effort;
mod item;
mod limits;
mod ogg;
mod opus_head;
mod outcome;
mod seek;
mod sniff;
mod times;
mod webm;

pub use item::{Container, Item, Packet, RecordingHead, SkipReason, Skipped, TimeBasis};
pub use sniff::{Foreign, Sniffed, sniff, sniff_pcm, starts_recording};

use serde::{Deserialize, Serialize};

use self::effort::Effort;
use self::ogg::Ogg;
use self::outcome::{Again, Step};
use self::webm::Webm;
use crate::hash::Fnv;
use crate::time::Samples;

/// An incremental demuxer. It holds no more than an incomplete element or page, is serialisable at any point, and
/// gives the same packets however the bytes are cut.
///
/// One thing a cut does say: a chunk that itself starts with a whole recording header begins a new recording, even in
/// the middle of an element (a restarted recorder begins at a chunk's start, and its predecessor's end may be lost). Where that is
/// the running recording's own header again, the recording goes on behind it, and behind its first blob's sound.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Demuxer {
    #[serde(with = "serde_bytes")]
    tail: Vec<u8>,
    mode: Mode,
    /// The parser of the current recording, or of the one that was left when seeking.
    format: Option<Format>,
    head: Option<RecordingHead>,
    /// The blob that began the recording, of a page that sends it again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_blob: Option<FirstBlob>,
    /// The recording's header once more, of a recorder each of whose runs has the same: what comes behind it shows whether another
    /// one begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "serde_bytes")]
    same_header: Vec<u8>,
}

/// A blob by its length and its hash.
#[derive(Copy, Clone, Debug, PartialEq, Serialize, Deserialize)]
struct FirstBlob {
    len: usize,
    hash: Fnv,
}

impl FirstBlob {
    fn of(blob: &[u8]) -> Self {
        Self { len: blob.len(), hash: Fnv::of(blob) }
    }

    /// Its length, if the chunk begins with it.
    fn repeated_by(self, chunk: &[u8]) -> Option<usize> {
        let begins = chunk.get(..self.len).is_some_and(|begins| Fnv::of(begins) == self.hash);
        begins.then_some(self.len)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
enum Mode {
    #[default]
    Start,
    Inside,
    /// Looks for a place to go on from; the reason goes with the bytes that are passed.
    Seek(SkipReason),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Format {
    Webm(Webm),
    Ogg(Ogg),
}

/// When a push has taken enough.
#[derive(Debug)]
struct Until {
    /// So much audio is yet to come.
    enough: Samples,
    /// So many bytes are taken in any case: they came before.
    at_least: usize,
    is_met: bool,
}

impl Until {
    fn count(&mut self, items: &[Item], used: usize) {
        for item in items {
            if let Item::Packet(packet) = item {
                self.enough = self.enough.saturating_sub(packet.duration);
            }
        }
        self.is_met = self.enough == Samples(0) && used >= self.at_least;
    }
}

impl Demuxer {
    /// The most bytes that are held back, whatever comes in.
    pub const MAX_BUFFERED: usize = 256 * 1024;

    /// A demuxer that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one chunk (bytes cut anywhere) and returns what became complete. Never fails and never panics: what
    /// cannot be used is an [`Item::Skipped`].
    pub fn push(&mut self, chunk: &[u8]) -> Vec<Item> {
        self.push_until(chunk, Samples(u64::MAX)).0
    }

    /// As [`Self::push`], but takes only as much off the chunk's start as completes `enough` audio. Returns how many bytes that was, too:
    /// the end of an element or page, or the chunk's.
    pub fn push_until(&mut self, chunk: &[u8], enough: Samples) -> (Vec<Item>, usize) {
        let mut header = std::mem::take(&mut self.same_header);
        if header.is_empty() || starts_recording(chunk) {
            return self.push_from(0, chunk, enough);
        }
        let before = header.len();
        header.extend_from_slice(chunk);
        let (items, used) = self.push_from(before, &header, enough);
        (items, used.saturating_sub(before))
    }

    /// As [`Self::push_until`]; the first `before` bytes of the chunk came before.
    fn push_from(&mut self, before: usize, mut chunk: &[u8], enough: Samples) -> (Vec<Item>, usize) {
        let all = chunk.len();
        let (mut out, mut effort) = (Vec::new(), Effort::new());
        if starts_recording(chunk) {
            let interrupts = self.mode != Mode::Start || !self.tail.is_empty();
            if interrupts && chunk[0] == 0x1a && webm::open(chunk).is_err() {
                // A recorder that got no audio: a header with no Segment. What it interrupted may still go on.
                return (vec![Item::Skipped(Skipped::new(chunk, SkipReason::NotMedia))], all);
            }
            match self.again(chunk, &mut effort) {
                Some(Again::GoesOn(at)) => chunk = &chunk[at..],
                Some(Again::FirstBlob(at)) => {
                    self.first_blob = Some(FirstBlob::of(&chunk[..at]));
                    chunk = &chunk[at..];
                }
                Some(Again::Misses(at)) => {
                    out = self.bytes_missing();
                    chunk = &chunk[at..];
                }
                Some(Again::Waits(_)) => {
                    self.same_header = chunk.to_vec();
                    return (out, all);
                }
                None => self.cut_short(&mut out),
            }
        }
        let mut tail = std::mem::take(&mut self.tail);
        let came_before = tail.len() + before.saturating_sub(all - chunk.len());
        let mut until = Until { enough, at_least: came_before, is_met: false };
        let left = if tail.is_empty() {
            let used = self.take(chunk, &mut until, &mut effort, &mut out);
            if !until.is_met {
                tail.extend_from_slice(&chunk[used..]);
            }
            chunk.len() - used
        } else {
            tail.extend_from_slice(chunk);
            let used = self.take(&tail, &mut until, &mut effort, &mut out);
            tail.drain(..used);
            tail.len()
        };
        let left = if until.is_met { left } else { 0 };
        if until.is_met {
            tail.clear();
        }
        self.tail = tail;
        times::settle(&mut out);
        let started = out.iter().rev().find_map(|item| match item {
            Item::RecordingStart(head) => Some(head),
            _ => None,
        });
        if started.is_some() {
            (self.head, self.first_blob) = (started.cloned(), None);
        }
        (out, all - left)
    }

    /// Says that bytes are missing between what was pushed and what comes next: drops the incomplete tail
    /// (reported as [`SkipReason::BytesMissing`]) and resynchronises at the next Cluster, header or Ogg page that
    /// proves itself. What is passed on the way comes as [`SkipReason::Resync`]: the missing bytes and then those,
    /// pushed to a clone of the demuxer from before this call, give the lost packets.
    pub fn bytes_missing(&mut self) -> Vec<Item> {
        let mut out = Vec::new();
        self.same_header.clear();
        self.drop_unfinished(SkipReason::BytesMissing, &mut out);
        if let Some(Format::Webm(webm)) = &mut self.format {
            webm.miss();
        }
        if !matches!(self.mode, Mode::Seek(SkipReason::UnsupportedCodec(_))) {
            self.mode = Mode::Seek(SkipReason::Resync);
        }
        out
    }

    /// Whether the demuxer looks for a place to go on from.
    pub fn is_resyncing(&self) -> bool {
        matches!(self.mode, Mode::Seek(_))
    }

    /// While the demuxer looks for a place to go on from: bytes at the end of what was pushed that may begin one. They are neither
    /// passed (and reported) nor taken; with the bytes to come they will be. Else nothing.
    pub fn undecided(&self) -> &[u8] {
        if self.is_resyncing() { &self.tail } else { &[] }
    }

    /// Passes the [undecided](Self::undecided) bytes and reports them as [`SkipReason::Resync`]: the search goes on with what
    /// comes next. What was passed since the loss is then all in reports, and with the missing bytes gives the lost packets.
    pub fn pass_undecided(&mut self) -> Vec<Item> {
        match &self.mode {
            Mode::Seek(reason) if !self.tail.is_empty() => {
                let passed = Skipped::new(&std::mem::take(&mut self.tail), reason.clone());
                vec![Item::Skipped(passed)]
            }
            _ => Vec::new(),
        }
    }

    /// Why the recording cannot be decoded, if it cannot: until the next header, all of it is refused for this.
    pub fn refusal(&self) -> Option<&SkipReason> {
        match &self.mode {
            Mode::Seek(reason @ SkipReason::UnsupportedCodec(_)) => Some(reason),
            _ => None,
        }
    }

    /// The head of the recording that the latest packets belong to.
    pub fn head(&self) -> Option<&RecordingHead> {
        self.head.as_ref()
    }

    /// Bytes held back because what they begin is not complete.
    pub fn buffered(&self) -> usize {
        let unfinished = match &self.format {
            Some(Format::Ogg(ogg)) => ogg.kept(),
            _ => 0,
        };
        self.tail.len() + self.same_header.len() + unfinished
    }

    /// Whether a chunk that begins with a header repeats the running recording's.
    fn again(&self, chunk: &[u8], effort: &mut Effort) -> Option<Again> {
        if let Some(len) = self.first_blob.and_then(|first| first.repeated_by(chunk)) {
            return Some(Again::GoesOn(len));
        }
        let is_inside = matches!(self.mode, Mode::Inside);
        let again = match self.format.as_ref()? {
            Format::Webm(running) => webm::again(running, is_inside.then_some(&self.tail), chunk, effort),
            Format::Ogg(running) => running.repeated(&self.head.as_ref()?.id, chunk),
        }?;
        let has_room = self.buffered() + chunk.len() <= Self::MAX_BUFFERED;
        match again {
            Again::Waits(at) if !is_inside || !has_room => Some(Again::GoesOn(at)),
            again => Some(again),
        }
    }

    /// A new recording begins: what the old one left incomplete stays so.
    fn cut_short(&mut self, out: &mut Vec<Item>) {
        let reason = match std::mem::take(&mut self.mode) {
            Mode::Seek(reason) => reason,
            Mode::Start | Mode::Inside => SkipReason::CutShort,
        };
        self.drop_unfinished(reason, out);
    }

    fn drop_unfinished(&mut self, reason: SkipReason, out: &mut Vec<Item>) {
        let packet = match &mut self.format {
            Some(Format::Ogg(ogg)) => ogg.drop_unfinished(),
            _ => None,
        };
        let tail = std::mem::take(&mut self.tail);
        for bytes in packet.into_iter().chain(Some(tail)).filter(|bytes| !bytes.is_empty()) {
            out.push(Item::Skipped(Skipped::new(&bytes, reason.clone())));
        }
    }

    /// Takes all that is complete off the start of `bytes`; returns how much that was.
    fn take(&mut self, bytes: &[u8], until: &mut Until, effort: &mut Effort, out: &mut Vec<Item>) -> usize {
        let (mut used, mut counted) = (0, 0);
        while used < bytes.len() {
            until.count(&out[counted..], used);
            counted = out.len();
            if until.is_met {
                break;
            }
            if out.len() > limits::ITEMS_PER_PUSH {
                out.push(Item::Skipped(Skipped::new(&bytes[used..], SkipReason::TooManyPackets)));
                self.mode = Mode::Seek(SkipReason::Resync);
                return bytes.len();
            }
            match self.step(&bytes[used..], effort, out) {
                Step::Wait => break,
                Step::Took(more) => used += more,
                Step::Header => self.mode = Mode::Start,
                Step::Broken(reason) => self.mode = Mode::Seek(reason),
            }
        }
        used
    }

    fn step(&mut self, bytes: &[u8], effort: &mut Effort, out: &mut Vec<Item>) -> Step {
        match (&self.mode, &mut self.format) {
            (Mode::Inside, Some(Format::Webm(webm))) => webm.step(bytes, effort, out),
            (Mode::Inside, Some(Format::Ogg(ogg))) => ogg.step(bytes, out),
            (Mode::Seek(reason), _) => self.seek(reason.clone(), bytes, effort, out),
            (Mode::Start | Mode::Inside, _) => self.start(bytes, out),
        }
    }
}

/// The codec of a recording that begins with `bytes` and has no Opus that can be decoded, if its header is all there.
pub fn unsupported_codec(bytes: &[u8]) -> Option<String> {
    if !starts_recording(bytes) {
        return None;
    }
    let mut demuxer = Demuxer::new();
    demuxer.push(bytes);
    match demuxer.refusal() {
        Some(SkipReason::UnsupportedCodec(codec)) => Some(codec.clone()),
        _ => None,
    }
}
