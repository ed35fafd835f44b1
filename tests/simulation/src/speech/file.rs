//! A recorder run as a file, by a browser or by a recorder that is drawn by lot.

use fastrand::Rng;
use recorder::{Container, Recorder};

use super::tape::tape;
use super::webm::{Browser, header};

/// What a page that repeats its header, cover art and video may add to a blob, so that the door takes it.
const MOST_TAGS_BYTES: usize = 20_000;
const MOST_BLOCK_BYTES: usize = 300;
/// A smaller number is not taken for one that was drawn by lot.
const DRAWN: u64 = 1 << 30;

/// A recorder run, from its header to its tape's end.
pub struct File {
    /// The header, and what follows it.
    pub bytes: Vec<u8>,
    /// Where the header ends, and then each packet: at its block's or page's end.
    pub ends: Vec<usize>,
    /// The format's name, as pages send it.
    pub format: &'static str,
}

impl File {
    /// A tape as its browser writes it, or as the recorder that this number draws does. `uid` is the run's random number.
    pub fn of(number: usize, uid: u64, muxer: Option<u64>) -> Self {
        let tape = tape(number);
        if let Some(seed) = muxer {
            let recorder = draw(tape.browser, uid, seed);
            let packets: Vec<Vec<u8>> = (0..tape.packets()).map(|at| tape.packet(at).to_vec()).collect();
            let recording = recorder.record(&packets);
            let ends = recording.packets.iter().map(|packet| packet.end);
            let ends = std::iter::once(recording.header_len).chain(ends).collect();
            let format = match recorder.container {
                Container::Webm(_) => "webm-opus",
                Container::Ogg(_) => "ogg-opus",
            };
            return Self { bytes: recording.bytes, ends, format };
        }
        let mut bytes = header(tape.browser, uid);
        let mut ends = vec![bytes.len()];
        for block in &tape.blocks {
            bytes.extend_from_slice(block);
            ends.push(bytes.len());
        }
        Self { bytes, ends, format: tape.browser.format() }
    }
}

/// A recorder whose file sounds as the tape does, and fits the door.
fn draw(browser: Browser, uid: u64, seed: u64) -> Recorder {
    let mut rng = Rng::with_seed(seed);
    let mut recorder = Recorder::draw(&mut |below| rng.u64(0..below.max(1)));
    recorder.pre_skip = browser.pre_skip_samples() as u16 * 3;
    (recorder.gain, recorder.padding_us) = (0, 0);
    match &mut recorder.container {
        Container::Webm(webm) => {
            if webm.uid > 1 {
                webm.uid = uid | DRAWN;
            }
            webm.extras.encrypted_block = false;
            webm.extras.attachment_bytes = webm.extras.attachment_bytes.min(MOST_TAGS_BYTES);
            webm.beside
                .iter_mut()
                .for_each(|track| track.block_bytes = track.block_bytes.min(MOST_BLOCK_BYTES));
        }
        Container::Ogg(ogg) => {
            if ogg.serial > 7 {
                ogg.serial = (uid | DRAWN) as u32;
            }
            ogg.tags_bytes = ogg.tags_bytes.min(MOST_TAGS_BYTES);
        }
    }
    recorder
}
