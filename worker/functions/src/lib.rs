//! The Lambda binaries: wiring only.
