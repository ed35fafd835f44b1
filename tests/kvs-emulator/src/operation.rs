//! The operations and their paths.

use serde::{Deserialize, Serialize};

macro_rules! operations {
    ($($name:ident $path:literal $text:literal),* $(,)?) => {
        /// What a request asks for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Operation {
            $(#[doc = $text] $name),*
        }

        impl Operation {
            /// All of them.
            pub const ALL: &[Operation] = &[$(Operation::$name),*];

            /// The operation of a path, as the SDKs send it.
            pub fn from_path(path: &str) -> Option<Self> {
                match path {
                    $($path => Some(Operation::$name),)*
                    _ => None,
                }
            }

            /// Its path, as the SDKs send it.
            pub fn path(self) -> &'static str {
                match self {
                    $(Operation::$name => $path),*
                }
            }

            /// Its name in the API reference.
            pub fn name(self) -> &'static str {
                match self {
                    $(Operation::$name => stringify!($name)),*
                }
            }
        }
    };
}

operations! {
    CreateStream "/createStream" "Begins a stream.",
    DescribeStream "/describeStream" "Tells a stream's state.",
    ListStreams "/listStreams" "Names the account's streams.",
    DeleteStream "/deleteStream" "Ends a stream and its media.",
    UpdateStream "/updateStream" "Changes a stream's device name and media type.",
    DescribeStreamStorageConfiguration "/describeStreamStorageConfiguration" "Tells a stream's storage tier.",
    UpdateStreamStorageConfiguration "/updateStreamStorageConfiguration" "Changes a stream's storage tier.",
    UpdateDataRetention "/updateDataRetention" "Changes how long media is kept.",
    TagStream "/tagStream" "Adds tags to a stream.",
    UntagStream "/untagStream" "Takes tags from a stream.",
    ListTagsForStream "/listTagsForStream" "Tells a stream's tags.",
    GetDataEndpoint "/getDataEndpoint" "Tells where a stream's media is put and got.",
    PutMedia "/putMedia" "Takes fragments.",
    GetMedia "/getMedia" "Gives fragments in the order they came.",
    ListFragments "/listFragments" "Tells which fragments are archived.",
    GetMediaForFragmentList "/getMediaForFragmentList" "Gives archived fragments by number.",
    GetHLSStreamingSessionURL "/getHLSStreamingSessionURL" "Refused: PCM has no HLS.",
    GetDASHStreamingSessionURL "/getDASHStreamingSessionURL" "Refused: PCM has no DASH.",
    GetClip "/getClip" "Refused: PCM has no MP4.",
    GetImages "/getImages" "Refused: PCM has no images.",
}

impl Operation {
    /// True for the operations of the data endpoints.
    pub fn is_media(self) -> bool {
        use Operation::*;
        matches!(self, PutMedia | GetMedia | ListFragments | GetMediaForFragmentList) || self.is_playback()
    }

    /// True for the operations whose body or answer is media.
    pub fn carries_media(self) -> bool {
        matches!(self, Operation::PutMedia | Operation::GetMedia | Operation::GetMediaForFragmentList)
    }

    /// True for the operations that turn media into something playable.
    pub fn is_playback(self) -> bool {
        use Operation::*;
        matches!(self, GetHLSStreamingSessionURL | GetDASHStreamingSessionURL | GetClip | GetImages)
    }
}
