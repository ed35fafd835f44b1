//! Gaps remember the past: chunks that were parked or lost come back into the very hole that they left.

#![allow(clippy::unwrap_used, clippy::result_large_err)]

mod common;

use common::{batch, recordings};
use ingest::checkpoint::{Checkpoint, MAX_GAPS};
use ingest::gap::{Gap, GapId, ParkedBatch, State};
use ingest::message::{Chunk, Entry, Record, Rejection};
use ingest::piece::Piece;
use ingest::plan::Plan;
use ingest::snapshot::{Snapshot, SnapshotKey};
use ingest::sort::sort;
use media::time::EpochMs;
use proptest::prelude::*;
use recorder::{Container, Cut, Recorder};

/// A recording without the stubs at its end, which hold no audio and are parked for good.
fn pieces(folder: &std::path::Path) -> Vec<Piece> {
    common::pieces(folder).into_iter().filter(|p| p.audio.as_ref().is_ok_and(|a| a.len() > 110)).collect()
}

/// A session on paper: a checkpoint, its snapshots, and the audio as a reader finds it.
#[derive(Default)]
struct Session {
    checkpoint: Checkpoint,
    snapshots: Vec<(SnapshotKey, Snapshot)>,
    /// Begin, end, samples of each fragment.
    stream: Vec<(u64, u64, Vec<i16>)>,
}

impl Session {
    fn live_start(&self) -> Snapshot {
        let stored = self.checkpoint.live_snapshot.as_ref().map(|key| self.stored(key));
        stored.map_or_else(Snapshot::default, |stored| Snapshot {
            position: self.checkpoint.live.clone(),
            ..stored
        })
    }

    fn stored(&self, key: &SnapshotKey) -> Snapshot {
        self.snapshots.iter().find(|(k, _)| k == key).expect("what the checkpoint names is stored").1.clone()
    }

    fn write(&mut self, pieces: &[Piece]) {
        let (plan, pcm, _) = batch(&self.live_start(), None, pieces);
        self.store(plan, pcm);
    }

    fn store(&mut self, plan: Plan, pcm: Vec<i16>) {
        self.snapshots.extend(plan.snapshots);
        if !plan.advance.samples.is_zero() {
            self.stream.push((plan.advance.at.0, plan.advance.until.0, pcm));
        }
        self.checkpoint.commit(plan.advance);
    }

    fn park(&mut self, pieces: &[Piece]) {
        let (plan, ..) = batch(&self.live_start(), None, pieces);
        let (gap, snapshots) = plan.if_parked(&self.live_start());
        self.snapshots.extend(snapshots);
        self.snapshots.extend(plan.snapshots);
        self.checkpoint.park(plan.advance, gap);
    }

    fn backfill(&mut self, pieces: &[Piece]) {
        let holds = |g: &&Gap| g.chunks.numbering == pieces[0].numbering && g.chunks.holds(pieces[0].index);
        let gap = self.checkpoint.gaps.iter().find(holds).cloned().expect("the gap is remembered");
        let mut start = self.stored(&gap.snapshot);
        gap.taken_until.iter().for_each(|until| start.position.timeline.go_on_after(*until));
        start.residue.extend(gap.search.keys.iter().flat_map(|key| self.stored(key).residue));
        start.leave_claimed(gap.search.claimed);
        let (mut plan, pcm, _) = batch(&start, Some(&gap), pieces);
        let next = plan.ends_before().map(|from| GapId { from, ..gap.id() });
        if let Some(next) = next.and_then(|id| self.checkpoint.gap(id)) {
            plan.resume_gap(self.stored(&next.snapshot));
        }
        self.store(plan, pcm);
    }

    /// The session's audio in time order; panics where fragments overlap.
    fn audio(&mut self) -> Vec<i16> {
        self.stream.sort_by_key(|(at, ..)| *at);
        for pair in self.stream.windows(2) {
            assert!(pair[0].1 <= pair[1].0, "fragments overlap: {} > {}", pair[0].1, pair[1].0);
        }
        self.stream.iter().flat_map(|(.., pcm)| pcm.iter().copied()).collect()
    }
}

fn undisturbed(pieces: &[Piece]) -> Vec<i16> {
    let mut session = Session::default();
    pieces.chunks(7).for_each(|batch| session.write(batch));
    session.audio()
}

#[test]
fn a_parked_batch_that_comes_back_leaves_no_trace() {
    for folder in recordings() {
        let pieces = pieces(&folder);
        let mut session = Session::default();
        session.write(&pieces[..8]);
        session.park(&pieces[8..15]);
        session.park(&pieces[15..20]);
        session.write(&pieces[20..27]);
        session.write(&pieces[27..]);
        assert_eq!(session.checkpoint.gaps.len(), 2);
        session.backfill(&pieces[15..20]);
        session.backfill(&pieces[8..12]);
        session.backfill(&pieces[12..15]);
        assert!(session.checkpoint.gaps.is_empty(), "gaps remain: {:?}", session.checkpoint.gaps);
        assert!(session.audio() == undisturbed(&pieces), "{}: redrive did not restore", folder.display());
    }
}

#[test]
fn the_very_first_batch_can_be_parked_and_come_back() {
    let pieces = pieces(&recordings()[3]);
    let mut session = Session::default();
    session.park(&pieces[..7]);
    session.write(&pieces[7..14]);
    session.write(&pieces[14..]);
    session.backfill(&pieces[..7]);
    assert!(session.audio() == undisturbed(&pieces));
}

#[test]
fn lost_chunks_cost_their_own_audio_and_come_back_into_their_hole() {
    for folder in recordings() {
        let pieces = pieces(&folder);
        let mut session = Session::default();
        session.write(&pieces[..10]);
        session.write(&pieces[12..20]);
        session.write(&pieces[20..]);
        assert_eq!(session.checkpoint.gaps.len(), 1);
        let without = session.audio().len();
        session.backfill(&pieces[10..12]);
        assert!(session.checkpoint.gaps.is_empty());
        let with = session.audio().len();
        let whole = undisturbed(&pieces).len();
        assert_eq!(with, whole, "{}: {without} samples without the lost chunks", folder.display());
    }
}

/// A Cluster lasts a second, and its Timestamp may be in a lost chunk: what follows is heard all the same.
#[test]
fn chunks_in_the_middle_of_a_lost_cluster_are_heard_and_what_was_lost_fits_before_them() {
    let pieces = pieces(recordings().iter().find(|folder| folder.ends_with("firefox-speech")).unwrap());
    for lost in 3..9 {
        let mut session = Session::default();
        session.write(&pieces[..lost]);
        session.write(&pieces[lost + 1..lost + 9]);
        let withheld_to = session.checkpoint.gaps[0].search.withheld_to;
        assert_eq!(withheld_to, 0, "all of what follows chunk {lost} can be decoded");
        session.write(&pieces[lost + 9..]);
        session.backfill(&pieces[lost..=lost]);
        assert_eq!(session.audio().len(), undisturbed(&pieces).len(), "chunk {lost} comes back");
    }
}

/// The page is over, and its chunk has just the index that the next page waits for.
#[test]
fn a_late_chunk_that_came_back_is_known_when_it_is_delivered_again() {
    let pieces = pieces(recordings().iter().find(|folder| folder.ends_with("firefox-speech")).unwrap());
    let mut session = Session::default();
    session.write(&pieces[2..8]);
    session.backfill(&pieces[..2]);
    let mut next_page = pieces[0].clone();
    next_page.numbering = 1;
    next_page.captured_at.0 += 600_000;
    next_page.record.sent_at.0 += 600_000;
    session.write(&[next_page]);
    let mut again = pieces[1].clone();
    again.record.sequence_number = 1 << 100;
    again.record.sent_at.0 += 605_000;
    let sorted = sort(&session.checkpoint, &[Entry::Chunk(again.chunk)], &[]);
    assert_eq!((sorted.duplicates.len(), sorted.live.len()), (1, 0), "it would be written twice");
}

/// What a parked batch skipped in search of a Cluster is in the DLQ: it comes back with the batch, not with the gap before.
#[test]
fn a_parked_batch_with_a_hole_behind_a_hole_comes_back() {
    let pieces = pieces(recordings().iter().find(|folder| folder.ends_with("firefox-speech")).unwrap());
    let mut session = Session::default();
    session.write(&pieces[..4]);
    session.write(&pieces[5..6]); // 4 is late, and 5 the middle of its Cluster
    session.park(&[&pieces[6..7], &pieces[8..14]].concat()); // so is 6; 7 is late
    session.write(&pieces[14..]);
    session.backfill(&pieces[4..5]);
    session.backfill(&pieces[6..14]);
    assert_eq!(session.audio().len(), undisturbed(&pieces).len(), "redrive did not restore");
}

/// The speaker's clock is 45 s ahead, the first chunks come 5 s late, and the fourth is bad: nothing but what was written
/// tells where the live audio may begin.
#[test]
fn live_audio_begins_after_what_came_back_before_there_was_any() {
    let mut pieces = pieces(recordings().iter().find(|folder| folder.ends_with("firefox-speech")).unwrap());
    for (i, piece) in pieces.iter_mut().enumerate() {
        piece.record.sent_at.0 = piece.captured_at.0 + if i < 4 { 5_000 } else { 40 };
        piece.captured_at.0 += 45_000;
    }
    pieces[3].audio = Err(Rejection::BadBase64 { offset: 0 });
    let mut session = Session::default();
    session.write(&pieces[2..4]); // the third is the middle of a Cluster
    session.backfill(&pieces[..2]);
    session.write(&pieces[4..14]);
    let [.., (_, until, came_back), (at, _, live)] = &session.stream[..] else { panic!("too few batches") };
    assert!(!came_back.is_empty() && !live.is_empty());
    assert!(until <= at, "the live audio begins {} ms before the end of what precedes it", until - at);
}

#[test]
fn audio_goes_on_when_the_first_chunk_never_comes() {
    for folder in recordings() {
        let pieces = pieces(&folder);
        let mut session = Session::default();
        session.write(&pieces[1..20]);
        session.write(&pieces[20..]);
        let heard = session.audio().len() as f64 / undisturbed(&pieces).len() as f64;
        assert!(heard > 0.9, "{}: only {heard:.2} of the audio without chunk 0", folder.display());
    }
}

/// A recording with a pause of 3.2 s, whose end is seen only by the chunks after it, and the index of the chunk before it.
fn with_a_pause() -> (Vec<Piece>, usize) {
    let folder = recordings().into_iter().find(|f| f.ends_with("chromium-pause-resume")).unwrap();
    let pieces = pieces(&folder);
    let paused = pieces.windows(2).position(|w| w[1].captured_at.0 - w[0].captured_at.0 > 2_000).unwrap();
    (pieces, paused)
}

/// Where a pause ends is told by all chunks after it that are at hand; fewer of them must not tell otherwise when they
/// come back, or they would not fit before the audio after them.
#[test]
fn a_parked_batch_with_a_pause_in_it_comes_back_to_the_same_times_in_any_order() {
    let (pieces, paused) = with_a_pause();
    let (from, to) = (paused - 3, paused + 6);
    for order in [[2, 1, 0], [1, 2, 0], [2, 0, 1], [0, 2, 1]] {
        let mut session = Session::default();
        session.write(&pieces[..from]);
        session.park(&pieces[from..to]);
        session.write(&pieces[to..]);
        for part in order {
            session.backfill(&pieces[from + 3 * part..from + 3 * part + 3]);
        }
        assert!(session.checkpoint.gaps.is_empty(), "{order:?}: {:?}", session.checkpoint.gaps);
        // Out of order, a decoder has not heard what lies before: its first packets sound a little different.
        assert_eq!(session.audio().len(), undisturbed(&pieces).len(), "{order:?}: audio is missing");
    }
}

/// Alone it cannot tell whether it comes behind a pause. The chunks that were parked around it can.
#[test]
fn a_chunk_that_was_missing_in_a_parked_batch_comes_back_behind_the_pause_before_it() {
    let (pieces, paused) = with_a_pause();
    for (from, late) in [(paused, paused + 3), (paused + 1, paused + 1)] {
        let (parked_before, parked_behind) = (&pieces[from..late], &pieces[late + 1..late + 4]);
        let mut session = Session::default();
        session.write(&pieces[..from]);
        session.park(&[parked_before, parked_behind].concat());
        let backfilled = [&pieces[late..=late], parked_behind, parked_before];
        backfilled.iter().filter(|part| !part.is_empty()).for_each(|part| session.backfill(part));
        assert!(session.checkpoint.gaps.is_empty(), "{:?}", session.checkpoint.gaps);
        session.write(&pieces[late + 4..]);
        assert_eq!(
            session.audio().len(),
            undisturbed(&pieces).len(),
            "what was parked finds its place taken"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_parked_and_in_whatever_pieces_it_comes_back(
        parked in proptest::collection::vec(any::<bool>(), 20),
        split in 1usize..6,
        which in 0usize..5,
        backwards in any::<bool>(),
    ) {
        let pieces = pieces(&recordings()[which]);
        let mut session = Session::default();
        let batches: Vec<&[Piece]> = pieces.chunks(6).collect();
        for (batch, park) in batches.iter().zip(parked.iter().chain(std::iter::repeat(&false))) {
            if *park { session.park(batch) } else { session.write(batch) }
        }
        for (batch, _) in batches.iter().zip(&parked).filter(|(_, park)| **park) {
            match backwards {
                false => batch.chunks(split).for_each(|part| session.backfill(part)),
                true => batch.rchunks(split).for_each(|part| session.backfill(part)),
            }
        }
        prop_assert!(session.checkpoint.gaps.is_empty());
        let (restored, whole) = (session.audio(), undisturbed(&pieces));
        prop_assert_eq!(restored.len(), whole.len());
        prop_assert!(backwards || restored == whole);
    }
}

#[test]
fn a_recorders_last_chunk_has_the_time_of_the_one_before_it_and_still_a_place() {
    let pieces = pieces(&recordings()[3]);
    let mut session = Session::default();
    session.write(&pieces[..6]);
    let mut last = pieces[6].clone();
    last.captured_at = pieces[5].captured_at;
    session.park(&[last]);
    let gap = &session.checkpoint.gaps[0];
    assert!(pieces[5].captured_at >= gap.captured.0, "redriven, it would have no place: {gap:?}");
}

#[test]
fn the_end_of_a_page_that_comes_late_is_not_taken_for_its_successors_parked_beginning() {
    let pieces = pieces(&recordings()[3]);
    let mut session = Session::default();
    session.write(&pieces[..6]);
    let new_page = pieces[..4].iter().cloned().map(|mut piece| {
        piece.numbering = 1;
        piece.captured_at.0 += 20_000;
        piece
    });
    session.park(&new_page.collect::<Vec<_>>());
    let gap = &session.checkpoint.gaps[0];
    assert!(
        pieces[6].captured_at <= gap.captured.0,
        "a chunk that the old page recorded would fall into {gap:?}"
    );
}

#[test]
fn a_chunk_that_claims_hours_is_refused_and_the_session_goes_on() {
    let mut pieces = pieces(&recordings()[3]);
    // A Cluster of 7,000 SimpleBlocks, each a one-byte packet that claims 20 ms: 140 s in 49 kB.
    let mut bytes = b"\x1f\x43\xb6\x75\x01\xff\xff\xff\xff\xff\xff\xff\xe7\x81\x00".to_vec();
    bytes.extend((0..7_000).flat_map(|_| *b"\xa3\x85\x81\x00\x00\x80\xf8"));
    let at = pieces.len() - 20;
    let header = pieces[0].audio.as_ref().unwrap().clone();
    let clusters = header.windows(4).position(|w| w == b"\x1f\x43\xb6\x75").unwrap();
    pieces[at].audio = Ok([&header[..clusters], &bytes].concat());
    let mut session = Session::default();
    session.write(&pieces[..at]);
    let (plan, pcm, _) = batch(&session.live_start(), None, &pieces[at..at + 7]);
    assert_eq!(plan.refused.len(), 1, "{:?}", plan.refused);
    assert_eq!(plan.refused[0].1.code(), "CHUNK_TOO_LONG");
    assert!(pcm.len() > 16_000, "the other six chunks are heard");
}

/// Each block of it would pass for an Opus packet now and then, and that is loud.
#[test]
fn a_recording_of_another_codec_is_refused_to_its_end_and_the_next_one_is_heard() {
    let pieces = pieces(&recordings()[3]);
    let codec = |audio: &[u8]| audio.windows(6).position(|bytes| bytes == b"A_OPUS");
    let mut flac = pieces[..10].to_vec();
    for piece in &mut flac {
        let audio = piece.audio.as_mut().unwrap();
        if let Some(at) = codec(audio) {
            audio[at..at + 6].copy_from_slice(b"A_FLAC");
        }
    }
    let (plan, pcm, _) = batch(&Snapshot::default(), None, &flac[..7]);
    assert_eq!((plan.refused.len(), pcm.len()), (7, 0));
    assert!(
        plan.refused.iter().all(|(_, refusal)| refusal.to_string().contains("A_FLAC")),
        "{:?}",
        plan.refused
    );
    let start = plan.snapshots.last().unwrap().1.clone();
    let (plan, pcm, _) = batch(&start, None, &flac[7..]);
    assert_eq!((plan.refused.len(), pcm.len()), (3, 0), "another process knows it, too");
    let start = plan.snapshots.last().unwrap().1.clone();
    let mut restarted = pieces[..7].to_vec();
    restarted.iter_mut().for_each(|piece| piece.index += 10);
    let (plan, pcm, _) = batch(&start, None, &restarted);
    assert_eq!(plan.refused.len(), 0, "{:?}", plan.refused);
    assert!(pcm.len() > 16_000);
}

/// Pieces of a recording with Clusters of 10 s, whose page hands each blob out up to 45 ms late.
fn long_clusters(us: u64, seed: u64) -> Vec<Piece> {
    let mut recorder = Recorder::safari();
    recorder.pre_skip = 0;
    let recording = recorder.record(&recorder::packets(us, 16_000_000 / us as usize, seed));
    let blobs = recording.blobs(&Cut::IntoElement { timeslice_us: 250_000 });
    let mut late = seed;
    let chunk = |(i, audio): (usize, Vec<u8>)| {
        late = late.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let ends_ms = (i as u64 + 1) * (250_000_u64.div_ceil(us) * us / 1_000);
        let captured_at = EpochMs(1_795_335_900_000 + ends_ms + (late >> 33) % 45);
        let sent_at = EpochMs(captured_at.0 + 40);
        let record = Record { sent_at, sequence_number: i as u128 + 1, ..Record::default() };
        let (index, audio) = (i as u64, Ok(audio));
        Piece::new(0, Chunk { record, index, captured_at, audio, ..Chunk::default() })
    };
    blobs.into_iter().enumerate().map(chunk).collect()
}

/// The blob that is lost has the Timestamp that tells the times of all behind it.
#[test]
fn a_lost_timestamp_of_a_long_cluster_leaves_room_for_what_comes_back() {
    for (us, lost) in [(60_000, 33), (20_000, 38)] {
        for seed in 0..20 {
            let pieces = long_clusters(us, seed);
            let mut session = Session::default();
            pieces[..lost].chunks(7).for_each(|batch| session.write(batch));
            pieces[lost + 1..].chunks(7).for_each(|batch| session.write(batch));
            session.backfill(&pieces[lost..=lost]);
            let (restored, whole) = (session.audio().len(), undisturbed(&pieces).len());
            assert_eq!(restored, whole, "packets of {us} us, seed {seed}");
            let (begins, ends) = (session.stream[0].0, session.stream.last().unwrap().1);
            let surplus_ms = (ends - begins) as i64 - whole as i64 / 16;
            assert!(surplus_ms.abs() <= 90, "packets of {us} us, seed {seed}: {surplus_ms} ms off");
        }
    }
}

/// Chunks of so many bytes: a page or a Cluster lasts for many of them.
fn small_chunks(recorder: &Recorder, bytes: usize) -> Vec<Piece> {
    let recording = recorder.record(&recorder::packets(20_000, 150, 7));
    let chunk = |(i, audio): (usize, &[u8])| {
        let until = i * bytes + audio.len();
        let spoken = recording.packets.iter().filter(|packet| packet.end <= until).count();
        let captured_at = EpochMs(1_795_335_900_000 + 20 * spoken as u64 + i as u64);
        let sent_at = EpochMs(captured_at.0 + 40);
        let record = Record { sent_at, sequence_number: i as u128 + 1, ..Record::default() };
        let (index, audio) = (i as u64, Ok(audio.to_vec()));
        Piece::new(0, Chunk { record, index, captured_at, audio, ..Chunk::default() })
    };
    recording.bytes.chunks(bytes).enumerate().map(chunk).collect()
}

/// A batch ends amid the page behind a missing chunk: the next one's chunks complete it, whether or not the missing one ever comes.
#[test]
fn a_place_to_go_on_is_found_however_the_chunks_behind_a_gap_are_cut_into_batches() {
    for (name, recorder) in [
        ("ogg", Recorder::firefox_ogg()),
        ("firefox", Recorder::firefox()),
        ("chromium", Recorder::chromium()),
    ] {
        let pieces = small_chunks(&recorder, 150);
        let lost = pieces.len() / 3;
        let mut at_once = Session::default();
        at_once.write(&pieces[..lost]);
        at_once.write(&pieces[lost + 1..]);
        let whole = undisturbed(&pieces).len();
        assert!(at_once.audio().len() < whole, "{name}: the lost chunk is not missed");
        for batch in [1, 2, 3, 5] {
            let mut session = Session::default();
            session.write(&pieces[..lost]);
            pieces[lost + 1..].chunks(batch).for_each(|some| session.write(some));
            let heard = session.audio().len();
            assert_eq!(heard, at_once.audio().len(), "{name}: batches of {batch} lose what one does not");
            session.backfill(&pieces[lost..=lost]);
            assert_eq!(session.audio().len(), whole, "{name}, batches of {batch}: the chunk comes back");
        }
    }
}

/// A chunk that can never be read is a batch's last, the one behind it comes late, and the page's last one tells nothing alone: the two
/// gaps before that are one by then.
#[test]
fn what_was_skipped_behind_a_gap_is_heard_although_the_gap_became_part_of_the_one_before() {
    let mut pieces = small_chunks(&Recorder::chromium(), 200);
    let (bad, late) = (pieces.len() - 3, pieces.len() - 2);
    pieces[bad].audio = Err(Rejection::BadBase64 { offset: 0 });
    let mut in_order = Session::default();
    in_order.write(&pieces[..late]);
    in_order.write(&pieces[late..]);
    let mut session = Session::default();
    session.write(&pieces[..late]);
    session.write(&pieces[late + 1..]);
    assert_eq!(session.checkpoint.gaps.len(), 1, "nothing lies between them");
    session.backfill(&pieces[late..=late]);
    assert_eq!(session.audio().len(), in_order.audio().len(), "the page's last words are lost");
}

/// The second of two missing chunks comes, and the first never does: what lies between them goes on in the second.
#[test]
fn a_page_that_ends_in_a_late_chunk_is_heard_although_one_before_it_is_lost() {
    let pieces = small_chunks(&Recorder::firefox_ogg(), 150);
    let lost = pieces.len() / 3;
    for between in [1, 2, 3, 5, 8, 13] {
        let late = lost + between + 1;
        let mut session = Session::default();
        session.write(&pieces[..lost]);
        session.write(&pieces[lost + 1..late]);
        session.write(&pieces[late + 1..]);
        session.backfill(&pieces[late..=late]);
        let mut without = Session::default();
        without.write(&pieces[..lost]);
        without.write(&pieces[lost + 1..]); // late or not, as much is heard
        assert_eq!(session.audio().len(), without.audio().len(), "{between} chunks lie between");
        session.backfill(&pieces[lost..=lost]);
        assert_eq!(session.audio().len(), undisturbed(&pieces).len(), "{between} chunks lie between");
    }
}

/// Two late chunks have the Timestamps of a second each. The clock fills the first hole, so the next Timestamp at hand, which is later
/// by both, says nothing of the second one.
#[test]
fn what_the_clock_has_shown_of_one_hole_is_not_counted_in_the_next() {
    let pieces = pieces(recordings().iter().find(|folder| folder.ends_with("firefox-speech")).unwrap());
    let begins_cluster =
        |piece: &&Piece| piece.audio.as_ref().unwrap().windows(4).any(|bytes| bytes == b"\x1f\x43\xb6\x75");
    let with_timestamp: Vec<usize> =
        pieces.iter().filter(begins_cluster).map(|piece| piece.index as usize).collect();
    let ends = |parts: &[&[Piece]]| {
        let mut session = Session::default();
        parts.iter().for_each(|part| session.write(part));
        session.stream.last().unwrap().1
    };
    for lost in with_timestamp[2..].windows(3) {
        let [first, second, behind] = lost else { unreachable!("windows of three") };
        let to = behind + 2;
        let ended = ends(&[&pieces[..*first], &pieces[first + 1..*second], &pieces[second + 1..to]]);
        let off_ms = ended.abs_diff(ends(&[&pieces[..to]]));
        assert!(off_ms <= 100, "{first} and {second} are late: what follows is {off_ms} ms off");
    }
}

/// The last chunk of a recorder is nothing but the end of a block that a late chunk begins; seconds later a recorder is started again.
#[test]
fn a_late_block_s_end_does_not_move_to_where_the_next_recording_begins() {
    let (mut pieces, header) = started_again(Recorder::safari(), 60_000, 0);
    pieces.truncate(header + 2);
    for later in &mut pieces[header..] {
        (later.captured_at.0, later.record.sent_at.0) =
            (later.captured_at.0 + 8_000, later.record.sent_at.0 + 8_000);
    }
    let (late, last) = (header - 2, header - 1);
    let whole = pieces[late].audio.clone().unwrap();
    for bytes in 1..100 {
        let (begin, end) = whole.split_at(whole.len() - bytes);
        (pieces[late].audio, pieces[last].audio) = (Ok(begin.to_vec()), Ok(end.to_vec()));
        let mut session = Session::default();
        session.write(&pieces[..late]);
        session.write(&pieces[last..]);
        session.backfill(&pieces[late..=late]);
        let (at, until, pcm) = session.stream.last().unwrap();
        assert!(until - at <= pcm.len() as u64 / 16 + 1, "{bytes} bytes tear it apart by {} ms", until - at);
    }
}

/// A page whose recorder is started again 100 ms after its end, and where its second header is. Its sound has come to lie `ahead_ms`
/// before the speaker's clock by then.
fn started_again(mut recorder: Recorder, us: u64, ahead_ms: u64) -> (Vec<Piece>, usize) {
    let (mut pieces, mut header, mut begins_ms) = (Vec::new(), 0, 1_795_335_900_000);
    for run in 0..2_u64 {
        match &mut recorder.container {
            Container::Webm(webm) => webm.uid += run,
            Container::Ogg(ogg) => ogg.serial += run as u32,
        }
        header = pieces.len();
        let recording = recorder.record(&recorder::packets(us, 6_000_000 / us as usize, run));
        let (mut end, mut captured_ms) = (0, begins_ms);
        for audio in recording.blobs(&Cut::AtElement { timeslice_us: 300_000 }) {
            end += audio.len();
            let index = pieces.len() as u64;
            let spoken = recording.packets.iter().filter(|packet| packet.end <= end).map(|packet| packet.us);
            captured_ms = begins_ms + spoken.sum::<u64>() / 1_000 - ahead_ms.min(15 * index);
            let captured_at = EpochMs(captured_ms);
            let sent_at = EpochMs(captured_ms + 40);
            let record = Record { sent_at, sequence_number: index.into(), ..Record::default() };
            pieces.push(Piece::new(
                0,
                Chunk { record, index, captured_at, audio: Ok(audio), ..Chunk::default() },
            ));
        }
        begins_ms = captured_ms + 100 + ahead_ms;
    }
    (pieces, header)
}

/// The clock alone places what is behind a lost header, and the audio before may be ahead of it by nearly as much as is missing.
#[test]
fn a_late_header_of_a_recorder_that_was_started_again_finds_room() {
    let recorders = [Recorder::firefox_ogg(), Recorder::chromium(), Recorder::firefox(), Recorder::safari()];
    for (recorder, ahead_ms) in recorders.iter().flat_map(|recorder| [(recorder, 0), (recorder, 280)]) {
        let (pieces, header) = started_again(recorder.clone(), 60_000, ahead_ms);
        let mut whole = Session::default();
        pieces.chunks(7).for_each(|batch| whole.write(batch));
        let ends = whole.stream.last().unwrap().1;
        for (from, to, at_once) in [(0, 1, 1), (0, 1, 5), (0, 2, 3), (1, 1, 1), (1, 1, 5), (1, 2, 3)] {
            let lost = header - from..header + to;
            let mut session = Session::default();
            pieces[..lost.start].chunks(7).for_each(|batch| session.write(batch));
            let (first, later) = pieces[lost.end..].split_at(at_once);
            session.write(first);
            later.chunks(7).for_each(|batch| session.write(batch));
            session.backfill(&pieces[lost.clone()]);
            let told = format!("{ahead_ms} ms ahead, {lost:?} are late: {recorder:?}");
            assert_eq!(session.audio().len(), whole.audio().len(), "{told}");
            let later_ms = session.stream.last().unwrap().1.abs_diff(ends);
            assert!(later_ms <= 110, "{later_ms} ms off, {told}");
        }
    }
}

/// The table at the head of gap.rs, row by row.
#[test]
fn a_gap_walks_through_its_states() {
    let pieces = pieces(&recordings()[3]);
    let mut session = Session::default();
    session.write(&pieces[..10]);
    session.write(&pieces[12..20]);
    let state = |session: &Session| session.checkpoint.gaps.first().map(Gap::state);
    assert_eq!(state(&session), Some(State::Open), "what was lost may still come");
    let gap = session.checkpoint.gaps[0].clone();
    let (plan, ..) = batch(&session.stored(&gap.snapshot), Some(&gap), &pieces[10..12]);
    let parked = Some(ParkedBatch { first: 10, at: plan.advance.at });
    session.checkpoint.park(plan.advance.clone(), Gap { parked, ..gap.clone() });
    assert_eq!(state(&session), Some(State::Parked), "its batch lies in the DLQ");
    let unsure = Some(Box::new(plan.advance.clone()));
    session.checkpoint.park(plan.advance.clone(), Gap { parked, unsure, ..gap.clone() });
    assert_eq!(state(&session), Some(State::Unsure), "it would be written twice without a question");
    session.checkpoint.close_stored(&gap, &plan.advance);
    assert_eq!(state(&session), None, "it is closed");
    for piece in pieces[21..].iter().step_by(2).take(MAX_GAPS + 1) {
        session.write(std::slice::from_ref(piece));
    }
    assert_eq!((session.checkpoint.gaps.len(), session.checkpoint.given_up.len()), (MAX_GAPS, 1));
    let oldest = session.checkpoint.given_up[0];
    assert!(oldest.holds(20), "the oldest is given up, with its range: {oldest:?}");
}

/// Chunks of the middle of a Cluster, which nobody can decode or tell from noise.
fn middle(like: &Piece, from: u64, count: u64, bytes: usize) -> Vec<Piece> {
    let noise =
        |index: u64, n: usize| ((n as u64 ^ index).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8 | 0x20;
    let piece = |index: u64| {
        let captured_at = EpochMs(like.captured_at.0 + index * 250);
        let record = Record { sent_at: EpochMs(captured_at.0 + 40), ..Record::default() };
        let audio = Ok((0..bytes).map(|n| noise(index, n)).collect());
        Piece::new(0, Chunk { record, index, captured_at, audio, ..(*like.chunk).clone() })
    };
    (from..from + count).map(piece).collect()
}

/// Minutes of it behind one lost chunk: bounded in the checkpoint and in each item, and nothing is dropped without a word.
#[test]
fn what_is_kept_behind_a_gap_is_bounded_and_the_rest_is_refused() {
    for (count, bytes) in [(400, 4_000), (100, 15_000), (48, 90_000)] {
        let recording = pieces(&recordings()[0]);
        let mut session = Session::default();
        session.write(&recording[..4]);
        let (mut kept, mut refused) = (0, 0);
        let all = middle(&recording[3], 5, count, bytes);
        for batch_of in all.chunks(8) {
            let (plan, ..) = batch(&session.live_start(), None, batch_of);
            assert!(plan.is_silent(), "noise is decoded as audio");
            refused += plan.refused.len();
            kept += (batch_of.len() - plan.refused.len()) * bytes;
            for (key, snapshot) in &plan.snapshots {
                let size = snapshot.encode().len();
                assert!(size <= 400 * 1024, "{key} has {size} bytes: the store refuses it");
            }
            session.snapshots.extend(plan.snapshots);
            session.checkpoint.carry(plan.advance);
        }
        let checkpoint = session.checkpoint.encode().len();
        assert!(kept + bytes > 480_000, "only {kept} bytes are kept: 30 s of one Cluster have 480,000");
        assert!(kept <= 1_200_000, "{kept} bytes are kept of chunks of {bytes}");
        assert!(refused > 0, "{bytes}: none is refused, and what is not kept is gone");
        assert!(session.checkpoint.gaps.len() <= 3, "{} gaps", session.checkpoint.gaps.len());
        assert!(checkpoint < 100_000, "the checkpoint has {checkpoint} bytes");
    }
}
