//! The issuer's public keys: fetched when needed, remembered while they are fresh, fetched again when a token names
//! a key that is not among them.

use std::future::Future;
use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long a key set is believed without asking. A key that the issuer withdraws is refused after that.
const FRESH: Duration = Duration::from_secs(3_600);

/// How long the keys of an issuer that does not answer are still used: handshakes outlive a short outage of it.
const STALE: Duration = Duration::from_secs(12 * 3_600);

/// Between two questions for a key that is not in the set: whoever invents key names must not make us hammer the issuer.
const BETWEEN_LOOKS: Duration = Duration::from_secs(30);

/// After a failure with no keys at hand: an issuer that does not answer must not hold every handshake's environment for its time-out.
const BETWEEN_FAILURES: Duration = Duration::from_secs(10);

/// Where key sets come from.
pub trait Source: Send + Sync {
    /// The body of the key set's document.
    fn get(&self) -> impl Future<Output = Result<Vec<u8>, String>> + Send;
}

/// No keys are known and none can be fetched, so no token can be accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the issuer's keys cannot be fetched: {0}; is JWKS_URL right and reachable?")]
pub struct NoKeys(String);

/// The keys of one issuer.
#[derive(Debug)]
pub struct Keys<S> {
    source: S,
    held: Mutex<Option<Held>>,
    failed: Mutex<Option<(Instant, NoKeys)>>,
}

#[derive(Clone, Debug)]
struct Held {
    set: JwkSet,
    fetched_at: Instant,
    /// The last question, answered or not.
    asked_at: Instant,
}

impl<S: Source> Keys<S> {
    /// None are known yet.
    pub fn new(source: S) -> Self {
        Self { source, held: Mutex::new(None), failed: Mutex::new(None) }
    }

    /// A key set that holds `kid`, if the issuer publishes such a key at all.
    ///
    /// # Errors
    /// [`NoKeys`] where none are known and the source fails.
    pub async fn holding(&self, kid: &str) -> Result<JwkSet, NoKeys> {
        let mut held = self.held.lock().await;
        let now = Instant::now();
        held.take_if(|known| now - known.fetched_at > STALE);
        let known = held.clone();
        if let Some(known) = &known {
            let has_it = known.set.find(kid).is_some();
            let is_fresh = now - known.fetched_at <= FRESH;
            let asked_lately = now - known.asked_at < BETWEEN_LOOKS;
            if (has_it && is_fresh) || asked_lately {
                return Ok(known.set.clone());
            }
        }
        let mut failed = self.failed.lock().await;
        if let (None, Some((_, why))) =
            (&known, failed.as_ref().filter(|(at, _)| now - *at < BETWEEN_FAILURES))
        {
            return Err(why.clone());
        }
        match (self.fetch().await, known) {
            (Ok(set), _) => {
                *held = Some(Held { set: set.clone(), fetched_at: now, asked_at: now });
                Ok(set)
            }
            (Err(reason), Some(known)) => {
                tracing::warn!(reason, "the issuer's keys could not be refreshed; the known ones are used");
                *held = Some(Held { asked_at: now, ..known.clone() });
                Ok(known.set)
            }
            (Err(reason), None) => {
                let why = NoKeys(reason);
                *failed = Some((Instant::now(), why.clone()));
                Err(why)
            }
        }
    }

    async fn fetch(&self) -> Result<JwkSet, String> {
        let body = self.source.get().await?;
        parse(&body).map_err(|error| format!("what came is no JSON Web Key Set: {error}"))
    }
}

/// Reads a key set. Keys of kinds that are not known do not spoil those that are.
fn parse(body: &[u8]) -> serde_json::Result<JwkSet> {
    #[derive(serde::Deserialize)]
    struct Raw {
        keys: Vec<serde_json::Value>,
    }
    let raw: Raw = serde_json::from_slice(body)?;
    Ok(JwkSet { keys: raw.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect() })
}
