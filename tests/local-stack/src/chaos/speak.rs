//! A session's speaker: its pages, one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::ChaosError;
use super::pages::audio;
use super::reference::Sent;
use crate::progress::Progress;
use crate::replay::recording::Recording;
use crate::replay::speaker::{SpeakError, Speaker};
use crate::stack::Stack;

/// A page that cannot connect tries again so often; the functions' calls are being broken, `$connect`'s too.
const CONNECT_TRIES: u32 = 20;
/// Between two of these tries.
const CONNECT_PAUSE: Duration = Duration::from_millis(500);

/// What a session will say.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) session_id: String,
    pub(super) pages: Vec<Arc<Recording>>,
    pub(super) delay: Duration,
}

/// What it has said.
#[derive(Clone, Debug)]
pub(super) struct Spoken {
    pub(super) session_id: String,
    pub(super) recording: String,
    pub(super) pages: usize,
    /// Chunks that the door took, in order.
    pub(super) sent: Vec<Sent>,
    /// Chunks that the door refused: they never went in.
    pub(super) refused: usize,
}

/// Speaks all pages.
pub(super) async fn speak(
    stack: &Stack,
    script: &Script,
    progress: &dyn Progress,
) -> Result<Spoken, ChaosError> {
    tokio::time::sleep(script.delay).await;
    let session_id = script.session_id.clone();
    let recording = script.pages.first().map(|page| page.name.clone()).unwrap_or_default();
    let mut spoken =
        Spoken { session_id, recording, pages: script.pages.len(), sent: Vec::new(), refused: 0 };
    for (page, recording) in script.pages.iter().enumerate() {
        let said = speak_page(stack, &script.session_id, recording, progress).await;
        let said =
            said.map_err(|source| ChaosError::Speak { session_id: script.session_id.clone(), source })?;
        for (sent, line) in said.sent.iter().zip(&recording.lines) {
            let (Some(index), Some(captured_ms), Ok((format, audio))) =
                (sent.index, sent.captured_ms, audio(line))
            else {
                continue; // `pages` lets only good chunks through
            };
            if sent.refused {
                spoken.refused += 1;
                continue;
            }
            let (key, at_ms) = ((page as u32, index), sent.at_ms);
            spoken.sent.push(Sent { key, captured_ms, at_ms, format, audio });
        }
    }
    Ok(spoken)
}

/// Speaks one page; where it is not even let in, again.
async fn speak_page(
    stack: &Stack,
    session_id: &str,
    recording: &Arc<Recording>,
    progress: &dyn Progress,
) -> Result<crate::replay::speaker::Spoken, SpeakError> {
    let recording = Arc::clone(recording);
    let speaker = Speaker { recording, session_id: session_id.to_owned(), speed: 1.0, delay: Duration::ZERO };
    let sent = AtomicUsize::new(0);
    let on_sent = || {
        sent.fetch_add(1, Ordering::Relaxed);
        progress.sent();
    };
    let mut tries = 0;
    loop {
        tries += 1;
        match speaker.speak(&stack.ws_url(), &on_sent).await {
            Err(_) if sent.load(Ordering::Relaxed) == 0 && tries < CONNECT_TRIES => {
                tokio::time::sleep(CONNECT_PAUSE).await;
            }
            settled => return settled,
        }
    }
}
