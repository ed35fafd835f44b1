//! The kinds of trouble that pages, networks and clocks make, each of which can be drawn by itself.

use std::fmt;
use std::str::FromStr;

use fastrand::Rng;

/// A kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// None: a page that works, with pauses and restarted recorders.
    Steady,
    /// The page stands still while the recorder goes on, and then hands out everything at once.
    Stall,
    /// The network is away; the page keeps its chunks with their right times, and sends all when it is back.
    Burst,
    /// Chunks overtake each other on their way, and their timestamps are off by milliseconds.
    Disorder,
    /// Somebody sets the speaker's clock.
    Clock,
    /// The recorder's clock is faster or slower than the speaker's, by up to 1 %.
    Drift,
    /// A second page speaks while the first one goes on.
    SecondPage,
    /// Empty blobs among the others.
    Empty,
    /// Blobs of 20 to 120 ms, that may end anywhere.
    Small,
    /// After a reconnect chunks come again, with new times.
    Resend,
    /// The Sessions table says `ended` while the last chunks are on their way.
    End,
    /// A chunk with a made-up time.
    Hostile,
    /// Plain samples, of a page without a recorder; or before or after one.
    Pcm,
    /// Blobs of 5 to 20 s, which the page cuts into pieces and says that they go on.
    Pieces,
    /// PutMedia's connection breaks, and its fragment is persisted up to 20 s later.
    Late,
    /// ListFragments is away, and for longer than PutMedia.
    Archive,
    /// Recorders of any muxer, in WebM and Ogg: laced blocks, groups, other tracks, pages of any size.
    Recorders,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Steady,
        Self::Stall,
        Self::Burst,
        Self::Disorder,
        Self::Clock,
        Self::Drift,
        Self::SecondPage,
        Self::Empty,
        Self::Small,
        Self::Resend,
        Self::End,
        Self::Hostile,
        Self::Pcm,
        Self::Pieces,
        Self::Late,
        Self::Archive,
        Self::Recorders,
    ];

    /// Whether it is the services' trouble, not a speaker's.
    pub fn is_of_services(self) -> bool {
        matches!(self, Self::Late | Self::Archive)
    }

    fn bit(self) -> u32 {
        1 << self as u32
    }

    /// Its name on the command line.
    pub fn name(self) -> String {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_ascii_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Kinds(u32);

impl Kinds {
    /// No kind: cases are drawn as they were before there were kinds.
    pub const NONE: Self = Self(0);
    /// Every kind.
    pub const ALL: Self = Self((1 << Kind::ALL.len()) - 1);

    /// The set of these.
    pub fn of(kinds: impl IntoIterator<Item = Kind>) -> Self {
        Self(kinds.into_iter().fold(0, |set, kind| set | kind.bit()))
    }

    /// Those that speakers are in.
    pub fn of_speakers(self) -> Self {
        Self::of(self.iter().filter(|kind| !kind.is_of_services()))
    }

    /// Whether a kind is in it.
    pub fn has(self, kind: Kind) -> bool {
        self.0 & kind.bit() != 0
    }

    /// Whether none is in it.
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// Its kinds.
    pub fn iter(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| self.has(*kind))
    }

    /// The command line's argument for it; nothing for none.
    pub fn argument(self) -> String {
        let names: Vec<String> = self.iter().map(Kind::name).collect();
        if names.is_empty() { String::new() } else { format!(" --kinds {}", names.join(",")) }
    }

    /// Draws one to three of them.
    pub fn draw(self, rng: &mut Rng) -> Self {
        let mut kinds: Vec<Kind> = self.iter().collect();
        rng.shuffle(&mut kinds);
        let count = *rng.choice(&[1, 1, 2, 2, 3]).unwrap_or(&1);
        Self::of(kinds.into_iter().take(count))
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl FromStr for Kinds {
    type Err = String;

    /// Reads `all`, `none`, or names with commas between them.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => return Ok(Self::ALL),
            "none" => return Ok(Self::NONE),
            _ => {}
        }
        let kind = |name: &str| {
            let known = Kind::ALL.into_iter().find(|kind| kind.name() == name);
            known.ok_or_else(|| {
                let names: Vec<String> = Kind::ALL.iter().map(|kind| kind.name()).collect();
                format!("unknown kind {name:?}, expected all, none or some of {}", names.join(","))
            })
        };
        text.split(',').map(kind).collect::<Result<Vec<_>, _>>().map(Self::of)
    }
}
