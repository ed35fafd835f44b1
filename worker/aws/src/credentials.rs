//! Credentials for requests that no SDK client signs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use ingest::failure::ServiceFailure;
use writer::ports::Result;

use crate::failure;

/// Credentials that expire sooner than this are renewed.
const RENEW_BEFORE: Duration = Duration::from_secs(300);

/// Keeps a provider's credentials until shortly before they expire.
#[derive(Clone, Debug)]
pub struct CachedCredentials {
    provider: SharedCredentialsProvider,
    last: Arc<Mutex<Option<Credentials>>>,
}

impl CachedCredentials {
    /// Nothing is asked for before the first use.
    pub fn new(provider: SharedCredentialsProvider) -> Self {
        Self { provider, last: Arc::default() }
    }

    /// Credentials that are good for the next minutes.
    ///
    /// # Errors
    /// A failure that may pass where the provider has none, and none are left that are still good: nothing was sent.
    pub async fn get(&self) -> Result<Credentials> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let good_at =
            |at: SystemTime| last.clone().filter(|known| known.expiry().is_none_or(|expiry| expiry > at));
        if let Some(credentials) = good_at(SystemTime::now() + RENEW_BEFORE) {
            return Ok(credentials);
        }
        let fresh = match self.provider.provide_credentials().await {
            Ok(fresh) => fresh,
            Err(e) => {
                return good_at(SystemTime::now()).ok_or_else(|| ServiceFailure::Service {
                    operation: "GetCredentials".into(),
                    status: 0,
                    code: "NoCredentials".into(),
                    message: failure::chain(&e),
                });
            }
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(fresh.clone());
        Ok(fresh)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use aws_credential_types::provider::error::CredentialsError;
    use aws_credential_types::provider::future;

    use super::*;

    /// Gives credentials that are good for a number of seconds, and counts how often it is asked.
    #[derive(Debug)]
    struct Expiring(Duration, Arc<AtomicU64>);

    impl ProvideCredentials for Expiring {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            self.1.fetch_add(1, Ordering::Relaxed);
            future::ProvideCredentials::ready(if self.0.is_zero() {
                Err(CredentialsError::not_loaded("none here"))
            } else {
                Ok(Credentials::new("AKID", "secret", None, Some(SystemTime::now() + self.0), "test"))
            })
        }
    }

    async fn asked(good_for: Duration) -> u64 {
        let count = Arc::<AtomicU64>::default();
        let cached =
            CachedCredentials::new(SharedCredentialsProvider::new(Expiring(good_for, count.clone())));
        cached.get().await.unwrap();
        cached.get().await.unwrap();
        count.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn the_provider_is_asked_again_only_when_expiry_is_near() {
        assert_eq!(asked(Duration::from_secs(3_600)).await, 1);
        assert_eq!(asked(Duration::from_secs(60)).await, 2);
    }

    #[tokio::test]
    async fn a_provider_that_fails_may_work_the_next_time() {
        let provider = Expiring(Duration::ZERO, Arc::default());
        let cached = CachedCredentials::new(SharedCredentialsProvider::new(provider));
        let failure = cached.get().await.unwrap_err();
        assert_eq!(failure.class(), ingest::failure::Class::Passing);
        assert!(!failure.may_have_stored(), "the stream would be asked for what was never sent");
        assert!(failure.to_string().contains("none here"));
    }

    #[tokio::test]
    async fn credentials_that_end_soon_are_better_than_none() {
        let provider = Expiring(Duration::ZERO, Arc::default());
        let cached = CachedCredentials::new(SharedCredentialsProvider::new(provider));
        let ends = SystemTime::now() + Duration::from_secs(60);
        let known = Credentials::new("AKID", "secret", None, Some(ends), "test");
        *cached.last.lock().unwrap() = Some(known.clone());
        assert_eq!(cached.get().await, Ok(known), "the provider's failure parks audio that could be written");
    }
}
