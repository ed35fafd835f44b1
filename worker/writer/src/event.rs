//! What happened, as values: one per decision, never one per chunk. The adapter turns each into one JSON log
//! line that carries its metrics too (CloudWatch EMF).

use serde::Serialize;

/// One thing that happened to one session.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// A fragment is persisted and its chunks are done.
    FragmentWritten {
        /// The session.
        session_id: String,
        /// `FragmentNumber`.
        fragment_number: String,
        /// Producer timestamp, epoch ms.
        producer_timestamp_ms: u64,
        /// Samples at 16 kHz.
        samples: u64,
        /// First chunkIndex.
        chunk_first: u64,
        /// Last chunkIndex.
        chunk_last: u64,
        /// Chunks in it.
        chunks: u64,
        /// From the start of PutMedia to PERSISTED; absent where a probe found the fragment.
        persisted_after_ms: Option<u64>,
        /// Time to decode and pack its audio; absent where an earlier attempt did that.
        decode_us: Option<u64>,
        /// From the end of its audio, by the speaker's clock, to the commit.
        age_ms: u64,
        /// Real attempts, this one included.
        attempts: u32,
        /// A gap was filled, at its true time.
        backfill: bool,
        /// The speaker's clock minus the media clock, since the last hole in the audio.
        drift_ms: i64,
        /// W3C trace context of its first chunk, where the page or the gateway gave one.
        #[serde(skip_serializing_if = "Option::is_none")]
        traceparent: Option<String>,
    },
    /// A batch that is not ripe was handed back to the queue for a moment.
    Deferred {
        /// The session.
        session_id: String,
        /// Records handed back.
        records: u64,
        /// For how long.
        seconds: u32,
        /// Why: `young`, `hole`, `doubt`, `future`, `unsure`, `leased`, `end`.
        why: &'static str,
        /// First chunkIndex.
        chunk_first: Option<u64>,
        /// Last chunkIndex.
        chunk_last: Option<u64>,
    },
    /// Chunks that wait for others before them were acknowledged; the session's state keeps them.
    SetAside {
        /// The session.
        session_id: String,
        /// Chunks set aside now.
        messages: u64,
        /// Their lowest chunkIndex.
        chunk_first: Option<u64>,
        /// Their highest chunkIndex.
        chunk_last: Option<u64>,
        /// Chunks that the state keeps now.
        in_all: u64,
    },
    /// A PutMedia failed and is tried again at once.
    Retried {
        /// The session.
        session_id: String,
        /// First chunkIndex.
        chunk_first: u64,
        /// Last chunkIndex.
        chunk_last: u64,
        /// The failure's short name.
        reason: String,
        /// Tries so far.
        tries: u32,
    },
    /// Records were handed back because of a failure that may pass.
    GivenBack {
        /// The session.
        session_id: String,
        /// Records handed back.
        records: u64,
        /// For how long.
        seconds: u32,
        /// First chunkIndex, where known.
        chunk_first: Option<u64>,
        /// Last chunkIndex, where known.
        chunk_last: Option<u64>,
        /// `passing`, `lasting`, `session` (another worker holds it), `crash` or `state` (unreadable).
        class: &'static str,
        /// The failure's short name.
        reason: String,
        /// The failure, for a person.
        message: String,
    },
    /// Messages were moved to the DLQ.
    Parked {
        /// The session (empty if the message names none).
        session_id: String,
        /// Messages moved.
        messages: u64,
        /// The failure's short name.
        reason: String,
        /// `message`, `audio`, `session`, `passing` or `lasting`.
        class: &'static str,
        /// The failure, for a person.
        message: String,
        /// First chunkIndex, where known.
        chunk_first: Option<u64>,
        /// Last chunkIndex, where known.
        chunk_last: Option<u64>,
    },
    /// The session passed chunks without writing them.
    GapOpened {
        /// The session.
        session_id: String,
        /// First chunkIndex of the gap.
        chunk_first: u64,
        /// Last chunkIndex of the gap.
        chunk_last: u64,
    },
    /// A gap's last missing chunks were written at their true time.
    GapClosed {
        /// The session.
        session_id: String,
        /// First chunkIndex of what closed it.
        chunk_first: u64,
        /// Last chunkIndex of the gap.
        chunk_last: u64,
    },
    /// Chunks behind a gap cannot be decoded without it: they are acknowledged, and the session's state keeps their bytes.
    Withheld {
        /// The session.
        session_id: String,
        /// How many.
        chunks: u64,
        /// First chunkIndex.
        chunk_first: u64,
        /// Last chunkIndex.
        chunk_last: u64,
    },
    /// Too many gaps: the oldest one's checkpoint was given up; its chunks can no longer be placed.
    GapGivenUp {
        /// The session.
        session_id: String,
        /// First chunkIndex of the gap.
        chunk_first: u64,
        /// Last chunkIndex of the gap.
        chunk_last: u64,
    },
    /// A recording with several audio tracks begins; the first Opus one is used.
    SeveralAudioTracks {
        /// The session.
        session_id: String,
        /// The codecs of the others.
        codecs: String,
        /// First chunkIndex of the batch in which it begins.
        chunk_first: u64,
        /// For a person.
        message: &'static str,
    },
    /// Encrypted blocks were passed over: there is no key.
    EncryptedBlocks {
        /// The session.
        session_id: String,
        /// How many.
        blocks: u64,
        /// First chunkIndex of their batch.
        chunk_first: u64,
        /// Last chunkIndex of their batch.
        chunk_last: u64,
    },
    /// The work on a session panicked: a defect. Its chunks come again, and are parked after a few times.
    Crashed {
        /// The session.
        session_id: String,
        /// What the panic says.
        message: String,
    },
    /// The stream holds two fragments of the same audio: one try was stored later than the service was thought to need, and the
    /// audio had been written again meanwhile. Readers take two of the same producer time, numbering and chunk range for one.
    FragmentTwice {
        /// The session.
        session_id: String,
        /// The one that was committed.
        fragment_number: String,
        /// The other one.
        other_fragment_number: String,
        /// Producer timestamp of both, epoch ms.
        producer_timestamp_ms: u64,
        /// First chunkIndex.
        chunk_first: u64,
        /// Last chunkIndex.
        chunk_last: u64,
    },
    /// Messages delivered again although their chunks are written; acknowledged.
    DuplicatesDropped {
        /// The session.
        session_id: String,
        /// How many.
        messages: u64,
    },
}

/// Where events go.
pub trait Telemetry: Send + Sync {
    /// Reports an event; must not block and must not fail.
    fn emit(&self, event: &Event);
}
