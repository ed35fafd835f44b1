//! What a body declares before its first Cluster: EBML header, Info, Tracks (RFC 9559, section 5.1).

use super::ebml::Node;
use super::schema;

/// One declared track.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// TrackNumber, which blocks refer to.
    pub number: u64,
    /// TrackType: 1 video, 2 audio.
    pub kind: u64,
    /// CodecID, such as `A_PCM/INT/LIT`.
    pub codec_id: String,
    /// Name, by which readers choose a track.
    pub name: Option<String>,
    /// What the Audio element says, if there is one.
    pub audio: Option<Audio>,
}

/// The Audio element of a track.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Audio {
    /// SamplingFrequency in Hz.
    pub sampling_hz: f64,
    /// Channels.
    pub channels: u64,
    /// BitDepth, needed for PCM.
    pub bit_depth: Option<u64>,
}

/// What the elements before the first Cluster declare.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// TimestampScale: nanoseconds of one tick.
    pub tick_ns: u64,
    /// The tracks in their order.
    pub tracks: Vec<Track>,
}

/// Why a header is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum HeaderError {
    #[error("DocType is {0:?}; Kinesis Video takes \"matroska\"")]
    DocType(String),
    #[error("the EBML header asks for {what} {value}; at most {max} can be read")]
    Version { what: &'static str, value: u64, max: u64 },
    #[error("{0} is missing before the first Cluster")]
    Missing(&'static str),
    #[error("{0} comes twice; a PutMedia body has exactly one")]
    Twice(&'static str),
    #[error("{0} comes after the first Cluster")]
    Late(&'static str),
    #[error("TimestampScale is {0} ns; 100 ns to 1 s are taken")]
    TimestampScale(u64),
    #[error("Tracks declares no track")]
    NoTracks,
    #[error("{count} tracks, at most {max} are taken")]
    TooManyTracks { count: usize, max: usize },
    #[error("track {track}: {what} is missing or not valid")]
    Track { track: u64, what: &'static str },
    #[error("track number {0} is declared twice")]
    SameNumber(u64),
}

const TICK_NS_MIN: u64 = 100;
const TICK_NS_MAX: u64 = 1_000_000_000;
const TICK_NS_DEFAULT: u64 = 1_000_000;

impl Header {
    /// Reads the header elements; `tracks_max` is the service's limit of tracks.
    ///
    /// # Errors
    /// The first thing that is missing or wrong.
    pub fn read(info: &Node, tracks: &Node, tracks_max: usize) -> Result<Self, HeaderError> {
        let tick_ns = info.child(schema::TIMESTAMP_SCALE).map_or(TICK_NS_DEFAULT, Node::uint);
        if !(TICK_NS_MIN..=TICK_NS_MAX).contains(&tick_ns) {
            return Err(HeaderError::TimestampScale(tick_ns));
        }
        let read = tracks.all(schema::TRACK_ENTRY).map(Track::read).collect::<Result<Vec<_>, _>>()?;
        if read.is_empty() {
            return Err(HeaderError::NoTracks);
        }
        if read.len() > tracks_max {
            return Err(HeaderError::TooManyTracks { count: read.len(), max: tracks_max });
        }
        for (index, track) in read.iter().enumerate() {
            if read[..index].iter().any(|other| other.number == track.number) {
                return Err(HeaderError::SameNumber(track.number));
            }
        }
        Ok(Self { tick_ns, tracks: read })
    }

    /// The declared track with this number.
    pub fn track(&self, number: u64) -> Option<&Track> {
        self.tracks.iter().find(|track| track.number == number)
    }
}

/// Checks the EBML header (RFC 8794, section 11.2).
///
/// # Errors
/// Another DocType, or versions that the service's parser cannot be expected to read.
pub fn check_ebml(ebml: &Node) -> Result<(), HeaderError> {
    let doc_type = ebml.child(schema::DOC_TYPE).and_then(Node::text).unwrap_or("");
    if doc_type != "matroska" {
        return Err(HeaderError::DocType(doc_type.to_owned()));
    }
    let limits = [
        (schema::EBML_READ_VERSION, "EBMLReadVersion", 1),
        (schema::EBML_MAX_ID_LENGTH, "EBMLMaxIDLength", 4),
        (schema::EBML_MAX_SIZE_LENGTH, "EBMLMaxSizeLength", 8),
        (schema::DOC_TYPE_READ_VERSION, "DocTypeReadVersion", 4),
    ];
    for (id, what, max) in limits {
        let value = ebml.child(id).map_or(1, Node::uint);
        if value > max {
            return Err(HeaderError::Version { what, value, max });
        }
    }
    Ok(())
}

impl Track {
    fn read(entry: &Node) -> Result<Self, HeaderError> {
        let number = entry.child(schema::TRACK_NUMBER).map_or(0, Node::uint);
        let wrong = |what| HeaderError::Track { track: number, what };
        if number == 0 {
            return Err(wrong("TrackNumber"));
        }
        if entry.child(schema::TRACK_UID).is_none_or(|uid| uid.uint() == 0) {
            return Err(wrong("TrackUID"));
        }
        let kind = entry.child(schema::TRACK_TYPE).map_or(0, Node::uint);
        if kind == 0 {
            return Err(wrong("TrackType"));
        }
        let codec_id = entry.child(schema::CODEC_ID).and_then(Node::text).unwrap_or("").to_owned();
        if codec_id.is_empty() {
            return Err(wrong("CodecID"));
        }
        let audio = entry.child(schema::AUDIO).map(|audio| Audio::read(audio, number)).transpose()?;
        let name = entry.child(schema::TRACK_NAME).and_then(Node::text).map(str::to_owned);
        let track = Self { number, kind, codec_id, name, audio };
        track.check_pcm()?;
        Ok(track)
    }

    /// Linear PCM has no header of its own: without the Audio element nobody can play it.
    fn check_pcm(&self) -> Result<(), HeaderError> {
        if !self.codec_id.starts_with("A_PCM/") {
            return Ok(());
        }
        let missing = |what| HeaderError::Track { track: self.number, what };
        let audio = self.audio.ok_or(missing("Audio (SamplingFrequency, Channels, BitDepth)"))?;
        let bit_depth = audio.bit_depth.ok_or(missing("BitDepth"))?;
        if bit_depth == 0 || bit_depth % 8 != 0 || bit_depth > 64 {
            return Err(missing("BitDepth"));
        }
        Ok(())
    }

    /// Bytes of one PCM sample of all channels, `None` for other codecs.
    pub fn pcm_frame_bytes(&self) -> Option<u64> {
        let audio = self.audio.filter(|_| self.codec_id.starts_with("A_PCM/"))?;
        Some(audio.channels.checked_mul(audio.bit_depth?)? / 8).filter(|bytes| *bytes > 0)
    }

    /// Milliseconds that `bytes` of PCM last, 0 for other codecs.
    pub fn pcm_ms(&self, bytes: u64) -> u64 {
        let Some((frame, audio)) = self.pcm_frame_bytes().zip(self.audio) else { return 0 };
        ((bytes / frame) as f64 * 1000.0 / audio.sampling_hz) as u64
    }
}

impl Audio {
    fn read(audio: &Node, track: u64) -> Result<Self, HeaderError> {
        let wrong = |what| HeaderError::Track { track, what };
        let sampling_hz = audio
            .child(schema::SAMPLING_FREQUENCY)
            .and_then(Node::float)
            .filter(|hz| hz.is_finite() && *hz > 0.0)
            .ok_or(wrong("SamplingFrequency"))?;
        let channels = audio
            .child(schema::CHANNELS)
            .map(Node::uint)
            .filter(|n| (1..=255).contains(n))
            .ok_or(wrong("Channels"))?;
        Ok(Self { sampling_hz, channels, bit_depth: audio.child(schema::BIT_DEPTH).map(Node::uint) })
    }
}
