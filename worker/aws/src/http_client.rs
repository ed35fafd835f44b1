//! One HTTP stack for the SDK's clients and for PutMedia.

use std::sync::OnceLock;
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{self, TlsContext, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

/// Longest time to connect. Services of the same Region take a few milliseconds.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection that was idle for longer is not used again: a frozen process does not notice that the service closed
/// it, and a conditional write that meets a dead connection has an unknown outcome.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// An HTTP client that loads the trusted roots at the first request. The SDK's own client does so whenever a
/// client is built, which is most of a cold start.
#[derive(Debug, Default)]
pub struct LazyHttpClient(OnceLock<SharedHttpConnector>);

impl HttpClient for LazyHttpClient {
    /// The settings are those of `config::load`, the same for every client.
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        self.0.get_or_init(|| SharedHttpConnector::new(LazyConnector::new(None))).clone()
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        Some(ConnectorMetadata::new("hyper", Some("1.x".into())))
    }
}

/// A connector for PutMedia: each request on a connection of its own that is closed behind it, and no limit on the
/// time between the request's head and the last acknowledgement. HTTP/2 where the endpoint offers it, else HTTP/1.1.
pub fn single_use_connector() -> SharedHttpConnector {
    SharedHttpConnector::new(LazyConnector::new(Some(0)))
}

/// The same, with other roots than the system's.
#[cfg(test)]
pub(crate) fn single_use_connector_that_trusts(context: TlsContext) -> SharedHttpConnector {
    SharedHttpConnector::new(LazyConnector { context, ..LazyConnector::new(Some(0)) })
}

/// Two connectors, built when needed: a plain one, which needs no trusted roots, and one with TLS.
#[derive(Debug)]
struct LazyConnector {
    idle_per_host: Option<usize>,
    context: TlsContext,
    plain: OnceLock<Connector>,
    tls: OnceLock<Connector>,
}

impl LazyConnector {
    fn new(idle_per_host: Option<usize>) -> Self {
        Self { idle_per_host, context: TlsContext::default(), plain: OnceLock::new(), tls: OnceLock::new() }
    }
}

impl HttpConnector for LazyConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build();
        let mut builder = Connector::builder().connector_settings(settings);
        builder.set_pool_max_idle_per_host(self.idle_per_host);
        builder.set_pool_idle_timeout(Some(Some(IDLE_TIMEOUT)));
        let connector = if request.uri().starts_with("https:") {
            let provider = tls::Provider::rustls(CryptoMode::AwsLc);
            let tls = || builder.tls_provider(provider).tls_context(self.context.clone()).build();
            self.tls.get_or_init(tls)
        } else {
            self.plain.get_or_init(|| builder.build_http())
        };
        connector.call(request)
    }
}
