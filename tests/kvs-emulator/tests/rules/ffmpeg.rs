use crate::NOW_MS;
use kvs_emulator::rules::fragment::Timecodes;
use kvs_emulator::rules::put_call::PutCall;
use kvs_emulator::{Elements, FragmentRules};
use std::process::Command;

/// The Chime call analytics sample puts what ffmpeg writes on a pipe, so the service takes it.
#[test]
fn what_ffmpeg_muxes_on_a_pipe_is_taken() {
    let sine = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=16000:duration=5"];
    let muxed = ["-c:a", "pcm_s16le", "-ac", "1", "-f", "matroska", "-"];
    let output = Command::new("ffmpeg").args(["-v", "error"]).args(sine).args(muxed).output();
    let body = output.expect("ffmpeg must be installed (Debian package ffmpeg)").stdout;
    let mut call = PutCall::new(FragmentRules::default(), Timecodes::Relative { start_ms: NOW_MS - 10_000 });
    let mut steps = Vec::new();
    for piece in body.chunks(777) {
        call.push(piece, NOW_MS, &mut steps).unwrap();
    }
    call.finish(NOW_MS, &mut steps).unwrap();
    let fragments = crate::completed(&steps);
    let bytes: usize =
        fragments.iter().flat_map(|fragment| &fragment.blocks).map(|block| block.data.len()).sum();
    assert_eq!(bytes, 5 * 16_000 * 2, "every sample is in a fragment");
    let ends: Vec<i64> = fragments.iter().map(|f| f.timecode_ms + f.media_ms as i64).collect();
    assert_eq!(ends.last(), Some(&5000), "times and lengths come out as ffmpeg meant them: {ends:?}");
    let rules = FragmentRules { elements: Elements::Generator, ..FragmentRules::default() };
    let strict = PutCall::new(rules, Timecodes::Absolute).push(&body, NOW_MS, &mut Vec::new());
    assert!(strict.is_err(), "the strict list does not take it");
}
