//! Goes through a batch's chunks from where the line stands: what each holds, where it lies in time, what is
//! missing. Demuxing shows all of that; nothing is decoded here.
//!
//! Two passes: [`taking`] takes chunk by chunk, [`place`] puts them in time, because only the chunks behind one
//! show whether a pause or a stall lies before it. The result depends on its arguments alone. What a decision took from the clock
//! (how many chunks, [`Around::calm`], where a long chunk is cut) the lease keeps as places, so a second attempt is the same fragment.

mod apart;
mod around;
mod demux;
mod folded;
mod hear;
mod holes;
mod own;
mod place;
mod taken;
mod taking;
mod vain;

pub use apart::{cut, take_apart};
pub use around::Around;
pub use folded::{Folded, Outcome, Refusal, Run, Step, Undecoded};
pub use place::DOUBT_MS;
pub use vain::Vain;

use crate::piece::Piece;
use crate::snapshot::Snapshot;

/// Goes through `pieces` (sorted by numbering and index, each once) from `start`.
pub fn fold(start: &Snapshot, pieces: &[Piece], around: Around<'_>) -> Folded {
    let (media, taken) = taking::take(start, pieces, (around.vain, around.sight));
    place::place(start, &pieces[..taken.len()], around, media, taken)
}
