//! What every target holds the worker to beside its own promises: no input costs more CPU than its bytes are worth.

use std::ffi::c_long;

unsafe extern "C" {
    /// The process's CPU time in µs (C's `clock`, of which POSIX fixes the unit).
    safe fn clock() -> c_long;
}

/// A fixed cost, then so much per byte: ten times what the worst input took with coverage counters.
const FIXED_US: i64 = 50_000;
const US_PER_BYTE: i64 = 40;

/// Runs `work` and holds it to the budget of so many bytes.
pub fn within_budget<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let from = clock();
    let done = work();
    let us = clock() - from;
    assert!(us <= FIXED_US + US_PER_BYTE * bytes as i64, "{bytes} bytes cost {us} µs of CPU");
    done
}

/// Takes bytes off an input's end as numbers below `below`.
pub struct Numbers<'a>(pub &'a [u8]);

impl Numbers<'_> {
    /// The next number; 0 once there are none.
    pub fn below(&mut self, below: usize) -> usize {
        let Some((&[a, b], rest)) = self.0.split_first_chunk::<2>() else { return 0 };
        self.0 = rest;
        usize::from(u16::from_le_bytes([a, b])) % below.max(1)
    }
}
