//! FNV-1a, 64 bits: names bytes, the same in every version of this program. It distinguishes; it keeps no attacker out.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The hash of bytes, which may come in parts. As text: 16 hex digits.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fnv(u64);

impl Fnv {
    /// Of no bytes.
    pub const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hash = Self::new();
        hash.add(bytes);
        hash
    }

    /// Takes in more bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0 =
            bytes.iter().fold(self.0, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    }

    /// The number.
    pub fn value(self) -> u64 {
        self.0
    }
}

impl Default for Fnv {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Fnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_change_with_the_version() {
        assert_eq!(Fnv::of(b"a").to_string(), "af63dc4c8601ec8c", "the published test vector");
        let mut parts = Fnv::new();
        parts.add(b"foo");
        parts.add(b"bar");
        assert_eq!(parts.to_string(), "85944171f73967e8", "the published test vector, in parts");
    }
}
