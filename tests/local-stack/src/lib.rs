//! The whole system on one laptop: backends, Lambda Runtime API, event source mapping, WebSocket gateway.
