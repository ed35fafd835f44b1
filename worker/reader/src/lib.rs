//! Reads what a session's stream holds, for people and for services.
//!
//! [`stream::StreamReader`] lists fragments and brings their media, each as a [`fragment::Fragment`] with its audio. From
//! those and the writer's checkpoint, [`ledger`] says where every chunk and every millisecond is; [`audio_file`] makes a
//! file of the audio, [`picture`] a drawing of the session.
//!
//! The same producer time, numbering and chunk range is one fragment to every reader of this project: [`fragment::Once`].

pub mod audio_file;
pub mod fragment;
pub mod ledger;
pub mod mkv;
pub mod picture;
pub mod ranges;
pub mod stream;
pub mod text;
