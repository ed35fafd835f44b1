//! A Kinesis Video Streams emulator: control plane, PutMedia, GetMedia, archive.
