//! GetMedia: fragments in the order they arrived, and those that arrive meanwhile.

use super::body::{self, Body};
use super::flow::{Flow, ReadFault};
use super::json::Input;
use super::line::Peer;
use super::media::seconds_text;
use super::slot::ReadSlot;
use crate::error::ApiError;
use crate::faults::FaultKind;
use crate::operation::Operation;
use crate::server::Server;
use crate::storage::{Store, StoredFragment, Stream};
use http::{HeaderValue, Response, header};
use std::ops::Bound;
use std::sync::Arc;

/// What GetMedia answers and the archive answers alike.
pub(super) const CONTENT_TYPE: &str = "video/webm";

/// Where reading begins.
enum Start {
    /// After this fragment number; the empty one is before all.
    After(String),
    /// No fragment has this number: told in the stream, error 4000.
    Missing,
}

pub(super) fn answer(
    input: &Input,
    server: &Arc<Server>,
    faults: &[FaultKind],
    peer: &Peer,
) -> Result<Response<Body>, ApiError> {
    let now_ms = server.now_ms();
    let wanted = input.stream()?;
    let selector =
        input.object("StartSelector")?.ok_or_else(|| ApiError::invalid("StartSelector is missing."))?;
    let mut store = server.store();
    let connections_max = server.config.limits.get_media_connections;
    let stream = super::control::find_readable(&mut store, &wanted, now_ms)?;
    let start = start(&selector, stream)?;
    ReadSlot::check(stream, Operation::GetMedia, connections_max)?;
    let slot = ReadSlot::take(server, stream, Operation::GetMedia);
    let (arn, name) = (stream.arn.clone(), wanted.name);
    drop(store);
    let (writer, body) = body::channel();
    let flow = Flow::new(server.clone(), writer, peer.clone(), faults);
    let reader = Reader { server: server.clone(), name, arn, flow, fault: ReadFault::of(faults), given: 0 };
    slot.run(peer.clone(), reader.run(start));
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    Ok(response)
}

fn start(selector: &Input, stream: &Stream) -> Result<Start, ApiError> {
    let kind = selector.required_text("StartSelectorType")?;
    let before = |number: Option<&String>| {
        let earlier = number.and_then(|number| stream.fragments.range(..number.clone()).next_back());
        Start::After(earlier.map_or(String::new(), |(number, _)| number.clone()))
    };
    let time = || {
        let ms = selector.time_ms("StartTimestamp")?;
        ms.ok_or_else(|| ApiError::invalid(format!("{kind} needs StartTimestamp.")))
    };
    Ok(match kind {
        "EARLIEST" => Start::After(String::new()),
        "NOW" => before(stream.fragments.keys().next_back()),
        "FRAGMENT_NUMBER" => after(stream, selector.text("AfterFragmentNumber")?, "AfterFragmentNumber")?,
        "CONTINUATION_TOKEN" => after(stream, selector.text("ContinuationToken")?, "ContinuationToken")?,
        "SERVER_TIMESTAMP" => {
            let ms = time()?;
            at_time(stream, ms, |fragment| fragment.server_timestamp_ms, |_| 0, before)
        }
        "PRODUCER_TIMESTAMP" => {
            let ms = time()?;
            at_time(
                stream,
                ms,
                |fragment| fragment.producer_timestamp_ms,
                |fragment| fragment.media_ms,
                before,
            )
        }
        other => {
            return Err(ApiError::invalid(format!(
                "StartSelectorType {other:?} is none of NOW, EARLIEST, FRAGMENT_NUMBER, PRODUCER_TIMESTAMP, \
                 SERVER_TIMESTAMP, CONTINUATION_TOKEN."
            )));
        }
    })
}

fn after(stream: &Stream, number: Option<&str>, member: &str) -> Result<Start, ApiError> {
    let number = number.ok_or_else(|| ApiError::invalid(format!("{member} is missing.")))?;
    if number.is_empty() || number.len() > 128 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ApiError::invalid(format!("{member} {number:?} is not a fragment number.")));
    }
    Ok(if stream.fragments.contains_key(number) { Start::After(number.to_owned()) } else { Start::Missing })
}

/// The fragment that contains `ms`, or else the one that begins next; after all of them if none does.
fn at_time(
    stream: &Stream,
    ms: u64,
    begin: impl Fn(&StoredFragment) -> u64,
    length: impl Fn(&StoredFragment) -> u64,
    before: impl Fn(Option<&String>) -> Start,
) -> Start {
    let all = || stream.fragments.values();
    let containing =
        all().find(|fragment| (begin(fragment)..=begin(fragment) + length(fragment)).contains(&ms));
    let next = || all().filter(|fragment| begin(fragment) > ms).min_by_key(|fragment| begin(fragment));
    match containing.or_else(next) {
        Some(fragment) => before(Some(&fragment.number)),
        None => Start::After(stream.fragments.keys().next_back().cloned().unwrap_or_default()),
    }
}

struct Reader {
    server: Arc<Server>,
    name: String,
    arn: String,
    flow: Flow,
    fault: Option<ReadFault>,
    /// Fragments so far.
    given: u64,
}

/// What comes after a fragment.
enum Next {
    /// This one.
    Fragment(Arc<StoredFragment>),
    /// None so far.
    Nothing,
    /// The stream was deleted.
    Gone,
}

impl Reader {
    async fn run(mut self, start: Start) {
        let mut last = match start {
            Start::After(number) => number,
            Start::Missing => return self.error(4000, "Requested fragment is not found").await,
        };
        let linger_ms = self.server.config.get_media_linger_ms;
        let server = self.server.clone();
        let mut ends_ms = server.now_ms().saturating_add(linger_ms);
        loop {
            if let Some(fault) = self.fault.take_if(|fault| fault.after <= self.given) {
                return self.error(fault.id, &fault.code).await;
            }
            // Listening begins before looking, so that no fragment slips between.
            let mut stored = std::pin::pin!(server.stored.notified());
            stored.as_mut().enable();
            match self.next(&last) {
                Next::Fragment(fragment) => {
                    last = fragment.number.clone();
                    if !self.fragment(&fragment).await {
                        return;
                    }
                    self.given += 1;
                    ends_ms = server.now_ms().saturating_add(linger_ms);
                }
                Next::Nothing => tokio::select! {
                    () = stored => {}
                    () = server.now.sleep_until(ends_ms) => return,
                    // One that still reads has its answer: what there was when it closed its side.
                    () = self.flow.closed() => return,
                    () = self.flow.gone() => return,
                },
                Next::Gone => return,
            }
        }
    }

    /// Tells inside the media why it ends.
    async fn error(mut self, id: u16, text: &str) {
        let code = ("AWS_KINESISVIDEO_ERROR_CODE", text.to_owned());
        self.flow.send_error(&[code, ("AWS_KINESISVIDEO_ERROR_ID", id.to_string())]).await;
    }

    fn next(&self, last: &str) -> Next {
        let now_ms = self.server.now_ms();
        let mut store = self.server.store();
        let Some(stream) = same_stream(&mut store, &self.name, &self.arn, now_ms) else { return Next::Gone };
        let after = (Bound::Excluded(last), Bound::Unbounded);
        match stream.fragments.range::<str, _>(after).next() {
            Some((_, fragment)) => Next::Fragment(fragment.clone()),
            None => Next::Nothing,
        }
    }

    async fn fragment(&mut self, fragment: &StoredFragment) -> bool {
        let before = [
            ("AWS_KINESISVIDEO_FRAGMENT_NUMBER", fragment.number.clone()),
            ("AWS_KINESISVIDEO_SERVER_TIMESTAMP", seconds_text(fragment.server_timestamp_ms)),
            ("AWS_KINESISVIDEO_PRODUCER_TIMESTAMP", seconds_text(fragment.producer_timestamp_ms)),
        ];
        let behind_ms = self.server.now_ms().saturating_sub(fragment.server_timestamp_ms);
        let behind = [
            ("AWS_KINESISVIDEO_MILLIS_BEHIND_NOW", behind_ms.to_string()),
            ("AWS_KINESISVIDEO_CONTINUATION_TOKEN", fragment.number.clone()),
        ];
        self.flow.send_fragment(&before, fragment, &behind).await
    }
}

fn same_stream<'a>(store: &'a mut Store, name: &str, arn: &str, now_ms: u64) -> Option<&'a mut Stream> {
    store.stream(name, now_ms).ok().filter(|stream| stream.arn == arn && stream.life.gone_ms.is_none())
}
