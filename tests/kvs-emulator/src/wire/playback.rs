//! HLS, DASH, clips and images: refused as the service refuses a stream of PCM.
//!
//! The service's order is kept as far as its documents tell it: arguments, stream, retention, fragments, codecs. For
//! media that the service could play the emulator says that it cannot.

use super::control::find_readable;
use super::json::Input;
use crate::error::ApiError;
use crate::operation::Operation;
use crate::rules::tracks::Track;
use crate::server::Server;
use crate::storage::StoredFragment;
use http::StatusCode;
use std::sync::Arc;

/// LIVE sessions play fragments of the last half minute.
const LIVE_MS: u64 = 30_000;
const CLIP_MS_MAX: u64 = 24 * 3_600_000;

/// Which fragments are meant.
struct Span {
    producer: bool,
    from_ms: u64,
    to_ms: u64,
}

/// Why nothing can be played.
pub(super) fn answer(operation: Operation, input: &Input, server: &Server) -> ApiError {
    refusal(operation, input, server).unwrap_or_else(|error| error)
}

fn refusal(operation: Operation, input: &Input, server: &Server) -> Result<ApiError, ApiError> {
    let now_ms = server.now_ms();
    let wanted = input.stream()?;
    let span = match operation {
        Operation::GetClip => selector(input, "ClipFragmentSelector", true)?,
        Operation::GetImages => Some(images(input)?),
        Operation::GetDASHStreamingSessionURL => session(input, "DASHFragmentSelector")?,
        _ => session(input, "HLSFragmentSelector")?,
    };
    let live = Span { producer: false, from_ms: now_ms.saturating_sub(LIVE_MS), to_ms: u64::MAX };
    let span = span.unwrap_or(live);
    let mut store = server.store();
    let stream = find_readable(&mut store, &wanted, now_ms)?;
    if stream.is.retention_hours == 0 {
        return Err(ApiError::no_retention(&wanted.name));
    }
    if !span.producer && stream.outlives(span.to_ms, now_ms) {
        return Err(ApiError::outside_retention(span.to_ms));
    }
    let within = |fragment: &&Arc<StoredFragment>| {
        let ms = if span.producer { fragment.producer_timestamp_ms } else { fragment.server_timestamp_ms };
        (span.from_ms..=span.to_ms).contains(&ms) && fragment.listed_from_ms <= now_ms
    };
    let Some(first) = stream.fragments.values().find(within) else {
        return Err(ApiError::no_fragments(operation));
    };
    let codecs: Vec<&str> = first.header.tracks.iter().map(|track| track.codec_id.as_str()).collect();
    let playable = first.header.track(1).is_some_and(|track| plays(operation, track));
    Ok(if playable {
        let message =
            format!("This emulator renders no media; the service would, from {}.", codecs.join(", "));
        ApiError::new(StatusCode::NOT_IMPLEMENTED, "NotImplementedException", message)
    } else {
        unsupported(operation, &codecs)
    })
}

/// What the documents ask of track 1.
fn plays(operation: Operation, track: &Track) -> bool {
    let video = ["V_MPEG/ISO/AVC", "V_MPEG4/ISO/AVC", "V_MPEGH/ISO/HEVC"].contains(&&*track.codec_id);
    video || (operation == Operation::GetHLSStreamingSessionURL && track.codec_id == "A_AAC")
}

fn unsupported(operation: Operation, codecs: &[&str]) -> ApiError {
    let message = format!("Codec {} of track 1 is not supported by {}.", codecs.join(", "), operation.name());
    // GetImages has no exception of its own for this.
    let kind = match operation {
        Operation::GetImages => "InvalidArgumentException",
        _ => "UnsupportedStreamMediaTypeException",
    };
    ApiError::new(StatusCode::BAD_REQUEST, kind, message)
}

/// HLS and DASH: LIVE needs no times, the other modes do.
fn session(input: &Input, name: &str) -> Result<Option<Span>, ApiError> {
    input.number("Expires", 300, 43_200)?;
    input.number("MaxMediaPlaylistFragmentResults", 1, 5000)?;
    input.number("MaxManifestFragmentResults", 1, 5000)?;
    match input.text("PlaybackMode")?.unwrap_or("LIVE") {
        "LIVE" => {
            let stated =
                input.object(name)?.map_or(Ok(None), |selector| selector.object("TimestampRange"))?;
            match stated {
                Some(_) => Err(ApiError::invalid("TimestampRange is not for PlaybackMode LIVE.")),
                None => Ok(None),
            }
        }
        "LIVE_REPLAY" => selector(input, name, false),
        "ON_DEMAND" => selector(input, name, true),
        other => {
            Err(ApiError::invalid(format!("PlaybackMode {other:?} is none of LIVE, LIVE_REPLAY, ON_DEMAND.")))
        }
    }
}

fn selector(input: &Input, name: &str, ends: bool) -> Result<Option<Span>, ApiError> {
    let selector = input.object(name)?.ok_or_else(|| ApiError::invalid(format!("{name} is missing.")))?;
    let producer = producer(&selector, "FragmentSelectorType")?;
    let range =
        selector.object("TimestampRange")?.ok_or_else(|| ApiError::invalid("TimestampRange is missing."))?;
    let missing = |name: &str| ApiError::invalid(format!("{name} is missing."));
    let from_ms = range.time_ms("StartTimestamp")?.ok_or_else(|| missing("StartTimestamp"))?;
    let to_ms = match range.time_ms("EndTimestamp")? {
        None if ends => return Err(missing("EndTimestamp")),
        to_ms => to_ms.unwrap_or(u64::MAX),
    };
    if ends && (to_ms <= from_ms || to_ms - from_ms > CLIP_MS_MAX) {
        return Err(ApiError::invalid("EndTimestamp must be after StartTimestamp, by 24 hours at most."));
    }
    Ok(Some(Span { producer, from_ms, to_ms }))
}

fn images(input: &Input) -> Result<Span, ApiError> {
    let producer = producer(input, "ImageSelectorType")?;
    let time = |name| input.time_ms(name)?.ok_or_else(|| ApiError::invalid(format!("{name} is missing.")));
    let (from_ms, to_ms) = (time("StartTimestamp")?, time("EndTimestamp")?);
    if !matches!(input.required_text("Format")?, "JPEG" | "PNG") {
        return Err(ApiError::invalid("Format is not JPEG or PNG."));
    }
    Ok(Span { producer, from_ms, to_ms })
}

fn producer(input: &Input, name: &str) -> Result<bool, ApiError> {
    match input.required_text(name)? {
        "PRODUCER_TIMESTAMP" => Ok(true),
        "SERVER_TIMESTAMP" => Ok(false),
        other => {
            Err(ApiError::invalid(format!("{name} {other:?} is not PRODUCER_TIMESTAMP or SERVER_TIMESTAMP.")))
        }
    }
}
