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
    /// A lasting failure of `operation` where the provider has none.
    pub async fn get(&self, operation: &str) -> Result<Credentials> {
        if let Some(credentials) = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
            && credentials.expiry().is_none_or(|expiry| expiry > SystemTime::now() + RENEW_BEFORE)
        {
            return Ok(credentials);
        }
        let fresh = self.provider.provide_credentials().await.map_err(|e| ServiceFailure::Service {
            operation: operation.into(),
            status: 0,
            code: "MissingAuthenticationToken".into(),
            message: format!("no credentials: {}", failure::chain(&e)),
        })?;
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
        cached.get("PutMedia").await.unwrap();
        cached.get("PutMedia").await.unwrap();
        count.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn the_provider_is_asked_again_only_when_expiry_is_near() {
        assert_eq!(asked(Duration::from_secs(3_600)).await, 1);
        assert_eq!(asked(Duration::from_secs(60)).await, 2);
    }

    #[tokio::test]
    async fn no_credentials_is_a_failure_that_will_not_pass() {
        let provider = Expiring(Duration::ZERO, Arc::default());
        let cached = CachedCredentials::new(SharedCredentialsProvider::new(provider));
        let failure = cached.get("PutMedia").await.unwrap_err();
        assert_eq!(failure.class(), ingest::failure::Class::Lasting);
        assert!(failure.to_string().contains("none here"));
    }
}
