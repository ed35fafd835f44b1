//! The page's files.

/// A file as it is served.
pub(super) struct Asset {
    pub(super) path: &'static str,
    pub(super) media_type: &'static str,
    pub(super) body: &'static str,
}

/// All of them, the page first. `make studio` builds the scripts from `studio/src` and `worker/speaker`; `make speaker` fails where they are
/// not fresh. They are committed, so that the stack is built without node.
pub(super) const ASSETS: [Asset; 5] = [
    Asset {
        path: "/",
        media_type: "text/html; charset=utf-8",
        body: include_str!("../../studio/index.html"),
    },
    Asset {
        path: "/studio.css",
        media_type: "text/css; charset=utf-8",
        body: include_str!("../../studio/studio.css"),
    },
    Asset {
        path: "/studio.js",
        media_type: "text/javascript; charset=utf-8",
        body: include_str!("../../studio/dist/studio.js"),
    },
    Asset {
        path: "/pcm-worklet.js",
        media_type: "text/javascript; charset=utf-8",
        body: include_str!("../../studio/dist/pcm-worklet.js"),
    },
    Asset { path: "/icon.svg", media_type: "image/svg+xml", body: include_str!("../../studio/icon.svg") },
];
