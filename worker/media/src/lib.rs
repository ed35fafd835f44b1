//! Bytes to packets to samples to fragment bytes: no clock, no async, no AWS.
