//! A recording on disk: `messages.jsonl`, one queue message a line, as a browser's page made them.
//!
//! A line need not be good: what is no JSON object is kept as it is, so that a person can see what the system says to it. A blob that
//! does not fit one message is cut, as its page must do (`pieces.rs`).

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde_json::{Map, Value};

use super::pieces::cut;

/// The largest `messages.jsonl` that is read: several hours of audio.
const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Why a folder cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// There is no such file, or it may not be read.
    #[error("cannot read {}: {source}; RECORDING is a folder that holds messages.jsonl", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The file is too large to be held in memory.
    #[error("{} has {bytes} bytes, more than {FILE_BYTES_MAX}; cut it into several recordings", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The file holds no line at all.
    #[error("{} holds no message; each line should be one queue message (JSON)", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A JSON object.
    Message(Map<String, Value>),
    /// Anything else; bytes that are no UTF-8 are replaced, because a WebSocket text message must be UTF-8.
    Raw(String),
}

impl Line {
    fn parse(text: String) -> Self {
        match serde_json::from_str(&text) {
            Ok(Value::Object(fields)) => Self::Message(fields),
            _ => Self::Raw(text),
        }
    }

    /// `chunkIndex`, where there is one.
    pub fn chunk_index(&self) -> Option<u64> {
        self.field("chunkIndex")?.as_u64()
    }

    /// `timestamp`, where there is one: the speaker's clock, ms.
    pub fn captured_ms(&self) -> Option<u64> {
        self.field("timestamp")?.as_u64()
    }

    pub(super) fn field(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Message(fields) => fields.get(name),
            Self::Raw(_) => None,
        }
    }

    fn starts_recorder_run(&self) -> bool {
        let audio = self.field("audioData").and_then(Value::as_str);
        let bytes = audio.and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
        bytes.is_some_and(|bytes| media::demux::starts_recording(&bytes))
    }
}

/// A recording: its messages in the order they were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// The folder's name.
    pub name: String,
    /// The folder.
    pub folder: PathBuf,
    /// The messages.
    pub lines: Vec<Line>,
}

impl Recording {
    /// Reads `folder/messages.jsonl`. Empty lines are passed over.
    ///
    /// # Errors
    /// [`RecordingError`] if the file is missing, too large or empty; never because of what a line holds.
    pub fn read(folder: &Path) -> Result<Self, RecordingError> {
        let path = folder.join("messages.jsonl");
        let unreadable = |source| RecordingError::Unreadable { path: path.clone(), source };
        let file = std::fs::File::open(&path).map_err(unreadable)?;
        let bytes = file.metadata().map_err(unreadable)?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(RecordingError::TooLarge { path, bytes });
        }
        let mut lines = Vec::new();
        for line in std::io::BufReader::new(file).split(b'\n') {
            let text = String::from_utf8_lossy(&line.map_err(unreadable)?).trim_end_matches('\r').to_owned();
            if !text.trim().is_empty() {
                lines.push(Line::parse(text));
            }
        }
        if lines.is_empty() {
            return Err(RecordingError::Empty { path });
        }
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
        Ok(Self::of(name, folder.to_owned(), lines))
    }

    /// These messages, what does not fit one of them cut into several.
    pub fn of(name: String, folder: PathBuf, lines: Vec<Line>) -> Self {
        Self { name, folder, lines: cut(lines) }
    }

    /// The session id that most messages name; `replay` where none is usable as a stream's name.
    pub fn session_id(&self) -> String {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for id in self.lines.iter().filter_map(|line| line.field("sessionId")?.as_str()) {
            *votes.entry(id).or_default() += 1;
        }
        let usable = votes.into_iter().filter(|(id, _)| ingest::message::SessionId::parse(id).is_ok());
        usable.max_by_key(|(_, votes)| *votes).map_or_else(|| "replay".to_owned(), |(id, _)| id.to_owned())
    }

    /// How many recorder runs it holds: chunks that begin with a whole header.
    pub fn recorder_runs(&self) -> usize {
        self.lines.iter().filter(|line| line.starts_recorder_run()).count()
    }

    /// `reference.wav` beside the messages: what one pass of another decoder made of the whole recording.
    ///
    /// # Errors
    /// The file is missing or is not 16-bit PCM.
    pub fn reference(&self) -> hound::Result<Vec<i16>> {
        hound::WavReader::open(self.folder.join("reference.wav"))?.into_samples().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(name: &str, text: &[u8]) -> Result<Recording, RecordingError> {
        let folder = std::env::temp_dir().join(format!("kvs-recording-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("messages.jsonl"), text).unwrap();
        let recording = Recording::read(&folder);
        std::fs::remove_dir_all(&folder).unwrap();
        recording
    }

    #[test]
    fn a_hostile_file_is_kept_line_by_line() {
        let file = b"{\"sessionId\":\"a\",\"chunkIndex\":3,\"timestamp\":7}\r\n\n[1]\nnot json \xff\n{\"chunkIndex\":\"3\"}";
        let recording = recorded("hostile", file).unwrap();
        assert_eq!(recording.lines.len(), 4);
        assert_eq!((recording.lines[0].chunk_index(), recording.lines[0].captured_ms()), (Some(3), Some(7)));
        assert_eq!(recording.lines[1], Line::Raw("[1]".into()));
        assert_eq!(recording.lines[2], Line::Raw("not json \u{fffd}".into()));
        assert_eq!(recording.lines[3].chunk_index(), None, "an index that is a string is sent as it is");
        assert_eq!(recording.session_id(), "a");
    }

    #[test]
    fn a_session_id_that_is_no_stream_name_does_not_name_the_session() {
        let recording =
            recorded("ids", b"{\"sessionId\":\"no name!\"}\n{\"sessionId\":\"no name!\"}").unwrap();
        assert_eq!(recording.session_id(), "replay");
    }

    #[test]
    fn a_folder_without_messages_is_refused_with_a_hint() {
        assert!(matches!(recorded("empty", b"\n \n"), Err(RecordingError::Empty { .. })));
        let missing = Recording::read(Path::new("/nowhere/at/all")).unwrap_err();
        assert!(missing.to_string().contains("RECORDING is a folder that holds messages.jsonl"));
    }
}
