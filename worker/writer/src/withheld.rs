//! What is withheld behind a gap: told when it is, and moved to the DLQ where the gap is given up.

use ingest::fold::Refusal;
use ingest::gap::{ChunkRange, Gap};
use ingest::withheld::{as_messages, withheld_behind};

use crate::event::Event;
use crate::park::Reason;
use crate::ports::Ports;
use crate::stop::Stop;
use crate::work::SessionWork;

/// Why these are parked.
const GIVEN_UP: &str =
    "the chunk with the beginning of its Cluster is missing, and too many gaps are open to wait for it";

impl<P: Ports> SessionWork<'_, P> {
    /// Parks what is withheld behind gaps, before the checkpoint forgets them.
    pub(crate) async fn park_withheld(&self, given_up: &[Gap]) -> Result<(), Stop> {
        for gap in given_up.iter().filter(|gap| withheld_behind(gap).count() > 0) {
            if let Some(start) = self.gap_start(gap).await? {
                let messages = as_messages(&self.session, gap, &start.residue);
                self.park_all(&messages, Reason::Refused(Refusal::Audio(GIVEN_UP.to_owned()))).await?;
            }
        }
        Ok(())
    }

    pub(crate) fn report_withheld(&self, ranges: &[ChunkRange]) {
        for range in ranges {
            self.emit(Event::Withheld {
                session_id: self.session.to_string(),
                chunks: range.count(),
                chunk_first: range.from,
                chunk_last: range.last(),
            });
        }
    }
}
