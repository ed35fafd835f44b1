//! The story of a batch: group, decide, plan, lease, put, commit, answer; generic over its ports.
