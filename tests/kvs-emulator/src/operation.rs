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
    UpdateDataRetention "/updateDataRetention" "Changes how long media is kept.",
    TagStream "/tagStream" "Adds tags to a stream.",
    UntagStream "/untagStream" "Takes tags from a stream.",
    ListTagsForStream "/listTagsForStream" "Tells a stream's tags.",
    GetDataEndpoint "/getDataEndpoint" "Tells where a stream's media is put and got.",
    PutMedia "/putMedia" "Takes fragments.",
    GetMedia "/getMedia" "Gives fragments in the order they came.",
    ListFragments "/listFragments" "Tells which fragments are archived.",
    GetMediaForFragmentList "/getMediaForFragmentList" "Gives archived fragments by number.",
}

impl Operation {
    /// True for the operations of the data endpoints.
    pub fn is_media(self) -> bool {
        use Operation::*;
        matches!(self, PutMedia | GetMedia | ListFragments | GetMediaForFragmentList)
    }
}
