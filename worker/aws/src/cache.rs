//! A small bounded map for what a warm process may remember.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Remembers at most `capacity` values, each for at most `keep`; the one used longest ago goes first.
#[derive(Debug)]
pub struct Cache<V> {
    capacity: usize,
    keep: Duration,
    entries: Mutex<HashMap<String, Entry<V>>>,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    stored: Instant,
    used: Instant,
}

impl<V: Clone> Cache<V> {
    /// An empty cache.
    pub fn new(capacity: usize, keep: Duration) -> Self {
        Self { capacity, keep, entries: Mutex::default() }
    }

    /// The value, unless it is too old.
    pub fn get(&self, key: &str) -> Option<V> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get_mut(key).filter(|entry| entry.stored.elapsed() < self.keep)?;
        entry.used = Instant::now();
        Some(entry.value.clone())
    }

    /// Remembers a value.
    pub fn put(&self, key: &str, value: V) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= self.capacity && !entries.contains_key(key) {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
            oldest.and_then(|key| entries.remove(&key));
        }
        let now = Instant::now();
        entries.insert(key.to_owned(), Entry { value, stored: now, used: now });
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_value_is_forgotten_when_it_is_too_old_even_if_it_was_used() {
        let cache = Cache::new(8, 10 * SECOND);
        cache.put("a", 1);
        advance(9 * SECOND).await;
        assert_eq!(cache.get("a"), Some(1));
        advance(SECOND).await;
        assert_eq!(cache.get("a"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_sessions_take_the_room_of_a_few_and_the_busy_ones_stay() {
        let cache = Cache::new(3, 3_600 * SECOND);
        cache.put("busy", 0);
        for session in 0..1_000 {
            advance(SECOND / 1_000).await;
            cache.put(&session.to_string(), session);
            advance(SECOND / 1_000).await;
            assert_eq!(cache.get("busy"), Some(0));
        }
        assert_eq!(cache.entries.lock().unwrap().len(), 3);
    }
}
