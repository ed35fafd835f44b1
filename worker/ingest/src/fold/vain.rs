//! A large chunk without sound is demuxed once, however often the chunks around it are folded. Hostile bytes can cost as much to demux
//! as minutes of audio, and they are at hand again for each fragment that is written before them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::demux::Reading;
use super::taken::{Before, Taken};
use crate::message::{Chunk, Format};
use crate::piece::{Head, Piece};

/// A smaller chunk is not remembered: a recorder's have a few kB, and to remember costs as much as to look.
const LEAST_BYTES: usize = 8 * 1024;
/// No more are remembered at a time: each may hold 0.5 MB.
const MOST: usize = 64;

/// What large chunks without sound came to.
#[derive(Debug, Default)]
pub struct Vain(Mutex<VecDeque<Known>>);

/// All that a look at a chunk depends on.
#[derive(Debug)]
struct Look {
    chunk: Arc<Chunk>,
    head: Option<Head>,
    lies: Before,
    blank: Taken,
    reading: Reading,
}

#[derive(Debug)]
struct Known {
    look: Look,
    reading: Reading,
    taken: Taken,
}

impl Look {
    fn is_the_same(&self, piece: &Piece, lies: Before, blank: &Taken, reading: &Reading) -> bool {
        (self.head, self.lies, self.chunk.format) == (piece.head, lies, piece.format)
            && self.blank == *blank
            && self.reading == *reading
            && self.chunk.audio == piece.audio
    }
}

impl Vain {
    /// Reads a chunk, or knows what came of it.
    pub(super) fn once(&self, reading: &mut Reading, piece: &Piece, lies: Before, blank: Taken) -> Taken {
        let is_large = piece.audio.as_ref().is_ok_and(|bytes| bytes.len() >= LEAST_BYTES);
        if !is_large || piece.format == Format::Pcm {
            return reading.chunk(piece, lies, blank);
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = known.iter().find(|known| known.look.is_the_same(piece, lies, &blank, reading)) {
            reading.clone_from(&same.reading);
            return same.taken.clone();
        }
        let (chunk, head) = (piece.chunk.clone(), piece.head);
        let look = Look { chunk, head, lies, blank: blank.clone(), reading: reading.clone() };
        let taken = reading.chunk(piece, lies, blank);
        if taken.steps.is_empty() {
            if known.len() == MOST {
                known.pop_front();
            }
            known.push_back(Known { look, reading: reading.clone(), taken: taken.clone() });
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Around, fold};
    use super::*;
    use crate::fold::Refusal;
    use crate::snapshot::Snapshot;
    use media::time::{EpochMs, Samples};
    use recorder::{Container, Lacing, Recorder, baits, full_of};

    fn piece(index: u64, bytes: Vec<u8>) -> Piece {
        Piece::new(
            0,
            Chunk { index, captured_at: EpochMs(1_000 * index), audio: Ok(bytes), ..Chunk::default() },
        )
    }

    /// How many looks are remembered: each that is not was a look in vain.
    fn looks(vain: &Vain) -> usize {
        vain.0.lock().unwrap().len()
    }

    #[test]
    fn a_chunk_without_sound_is_looked_at_once_however_often_it_is_folded() {
        let sound = Recorder::plain(300_000).record(&recorder::packets(20_000, 20, 1)).bytes;
        for (name, bait) in baits() {
            let pieces: Vec<Piece> = [sound.clone()]
                .into_iter()
                .chain(vec![full_of(&bait); 3])
                .zip(0..)
                .map(|(b, i)| piece(i, b))
                .collect();
            let (start, vain) = (Snapshot::default(), Vain::default());
            let first = fold(&start, &pieces, Around::of(None, &vain));
            let remembered = looks(&vain);
            for _ in 0..3 {
                let again = fold(&start, &pieces, Around::of(None, &vain));
                assert!(again == first, "{name}: another look gives something else");
            }
            assert_eq!(looks(&vain), remembered, "{name}: it is looked at again for each fragment before it");
            let silent =
                first.chunks[1..].iter().filter(|chunk| chunk.audio.as_ref().ok().is_none_or(|s| s.0 == 0));
            assert_eq!(remembered, silent.count(), "{name}: chunks without sound are not remembered");
            assert!(
                fold(&start, &pieces, Around::default()) == first,
                "{name}: what is remembered is not true"
            );
        }
    }

    /// Forty-five thousand packets claim an hour and a half: it takes a thousand of them to know that this is too much.
    #[test]
    fn a_chunk_of_hours_is_not_looked_at_to_its_end() {
        let mut recorder = Recorder::plain(20_000_000);
        if let Container::Webm(webm) = &mut recorder.container {
            (webm.lacing, webm.per_block) = (Lacing::Fixed, 256);
        }
        let bomb = recorder.record(&vec![vec![0xfb, 6]; 45_000]).bytes;
        let folded = fold(&Snapshot::default(), &[piece(0, bomb)], Around::default());
        let Err(Refusal::TooLong { ms }) = folded.chunks[0].audio else { panic!("{:?}", folded.chunks) };
        let block = Samples::from_ms(256 * 120).ms_floor();
        assert!((120_000..125_000 + 2 * block).contains(&ms), "{ms} ms were looked at, of 5,400,000");
    }
}
