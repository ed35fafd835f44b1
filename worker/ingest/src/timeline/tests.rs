use super::*;

const T0: u64 = 1_732_622_783_000;
const CALM: Sight = Sight { calm: true, in_gap: false, latest: None };

fn chunk(captured_ms: u64, media_ms: u64, joint: Joint) -> Timing {
    Timing {
        samples: Samples::from_ms(media_ms),
        captured_at: EpochMs(T0 + captured_ms),
        sent_at: EpochMs(T0 + captured_ms + 40),
        joint,
        continues: false,
    }
}

/// Places every chunk with all later ones in sight; returns start times relative to T0.
fn place_all(chunks: &[Timing]) -> Vec<i64> {
    let mut timeline = Timeline::default();
    (0..chunks.len())
        .map(|i| timeline.place(&chunks[i], &chunks[i + 1..], CALM).at.0 as i64 - T0 as i64)
        .collect()
}

#[test]
fn audio_starts_when_its_first_chunk_was_captured() {
    assert_eq!(place_all(&[chunk(300, 300, Joint::Clock), chunk(600, 300, Joint::Continues)]), [0, 300]);
}

#[test]
fn a_late_first_event_does_not_move_the_audio_into_the_future() {
    // The first blob was handed out 80 ms late; the second one tells.
    assert_eq!(place_all(&[chunk(380, 300, Joint::Clock), chunk(600, 300, Joint::Continues)]), [0, 300]);
}

#[test]
fn a_session_that_begins_with_a_stall_waits_for_its_burst() {
    // The page stood still from the beginning; of what it hands out then, the queue shows the first blob alone.
    let burst = [
        chunk(9_000, 3_000, Joint::Clock),
        chunk(9_000, 6_000, Joint::Continues),
        chunk(12_000, 3_000, Joint::Continues),
    ];
    let busy = Sight { calm: false, ..CALM };
    let first = |in_sight: usize| Timeline::default().place(&burst[0], &burst[1..in_sight], busy);
    assert!(first(1).doubtful, "all of the session would lie 6 s too late");
    let placed = first(3);
    assert_eq!((placed.at.0 - T0, placed.doubtful), (0, false));
}

#[test]
fn a_session_that_begins_without_a_network_waits_for_the_end_of_a_blob_that_was_held_up_less() {
    // The speaker's clock is 20 s ahead.
    let piece = |delay_ms: u64, continues: bool, chunk: Timing| {
        let sent_at = EpochMs(chunk.captured_at.0 + delay_ms - 20_000);
        Timing { sent_at, continues, ..chunk }
    };
    let begun = [
        piece(15_000, false, chunk(6_000, 6_000, Joint::Clock)),
        piece(5_000, false, chunk(12_000, 6_000, Joint::Continues)),
        piece(40, true, chunk(21_000, 3_000, Joint::Continues)),
    ];
    let busy = Sight { calm: false, ..CALM };
    let first = |in_sight: &[Timing]| Timeline::default().place(&in_sight[0], &in_sight[1..], busy);
    assert!(first(&begun).doubtful, "all would lie 5 s too late");
    let ended = piece(40, false, chunk(21_000, 6_000, Joint::Continues));
    let at_its_pace = piece(40, false, chunk(22_000, 1_000, Joint::Continues));
    let placed = first(&[&begun[..], &[ended, at_its_pace]].concat());
    assert_eq!((T0 - placed.at.0, placed.doubtful), (19_960, false));
}

#[test]
fn a_pause_shows_in_the_time_although_the_container_hides_it() {
    let chunks = [
        chunk(300, 300, Joint::Clock),
        chunk(3600, 300, Joint::Continues),
        chunk(3900, 300, Joint::Continues),
    ];
    assert_eq!(place_all(&chunks), [0, 3300, 3600]);
}

#[test]
fn a_stalled_page_that_catches_up_is_no_pause() {
    let chunks = [
        chunk(300, 300, Joint::Clock),
        chunk(1500, 300, Joint::Continues), // due at 600
        chunk(1502, 300, Joint::Continues), // due at 900
        chunk(1504, 300, Joint::Continues), // due at 1200
        chunk(1506, 300, Joint::Continues), // on time again
    ];
    assert_eq!(place_all(&chunks), [0, 300, 600, 900, 1200]);
}

#[test]
fn the_first_piece_of_a_burst_shows_no_pace() {
    // The page stood still for 2 s: first the small blob that was due, then all the rest in one that it cut.
    let chunks = [
        chunk(300, 300, Joint::Clock),
        chunk(2_500, 200, Joint::Continues),
        chunk(2_780, 300, Joint::Continues),
        chunk(2_780, 900, Joint::Continues),
        chunk(2_780, 1_080, Joint::Continues),
        chunk(3_080, 300, Joint::Continues),
    ];
    let busy = Sight { calm: false, ..CALM };
    let small = |in_sight: usize| {
        let mut timeline = Timeline::default();
        timeline.place(&chunks[0], &chunks[1..], CALM);
        timeline.place(&chunks[1], &chunks[2..in_sight], busy)
    };
    assert!(small(4).doubtful, "the pieces that are at hand would make a pause of 1 s");
    assert_eq!((small(6).at.0 - T0, small(6).doubtful), (300, false));
}

#[test]
fn a_burst_that_is_not_over_is_no_pause_yet() {
    // The page stood still for 5 s: first the small blob that was due, then all the rest in one.
    let chunks = [
        chunk(300, 300, Joint::Clock),
        chunk(5_300, 100, Joint::Continues),
        chunk(5_580, 4_980, Joint::Continues),
    ];
    let busy = Sight { calm: false, ..CALM };
    let mut timeline = Timeline::default();
    timeline.place(&chunks[0], &[], busy);
    let alone = timeline.clone().place(&chunks[1], &[], busy);
    assert!(alone.doubtful, "a stall would be taken for a pause of 5 s");
    let seen = timeline.place(&chunks[1], &chunks[2..], busy);
    assert_eq!((seen.at.0 - T0, seen.doubtful), (300, false));
}

#[test]
fn a_pause_is_known_as_soon_as_one_chunk_behind_it_comes_at_its_pace() {
    let chunks = [
        chunk(300, 300, Joint::Clock),
        chunk(5_300, 300, Joint::Continues),
        chunk(5_600, 300, Joint::Continues),
    ];
    let mut timeline = Timeline::default();
    timeline.place(&chunks[0], &[], Sight::default());
    let after = timeline.place(&chunks[1], &chunks[2..], Sight::default());
    assert_eq!((after.at.0 - T0, after.doubtful), (5_000, false));
}

/// For 3 h the sample clock is `ppm` off, and the speaker's clock `clock_ppm`, in chunks of 300 ms.
fn drifting(ppm: i64, clock_ppm: i64) -> i64 {
    let mut timeline = Timeline::default();
    let mut worst = 0;
    for i in 1..36_000_i64 {
        let true_ms = i * (300_000_000 - 300 * ppm) / 1_000_000;
        let captured = T0 as i64 + true_ms + true_ms * clock_ppm / 1_000_000;
        let chunk = Timing {
            samples: Samples::from_ms(300),
            captured_at: EpochMs(captured as u64),
            sent_at: EpochMs(T0 + true_ms as u64 + 40),
            joint: if i == 1 { Joint::Clock } else { Joint::Continues },
            continues: false,
        };
        timeline.place(&chunk, &[], Sight::default());
        worst = worst.max((timeline.end().unwrap().0 as i64 - T0 as i64 - true_ms).abs());
    }
    worst
}

#[test]
fn three_hours_of_drift_by_up_to_one_percent_stay_within_half_a_second_of_true_time() {
    for (ppm, clock_ppm) in
        [(10_000, 0), (-10_000, 0), (2_000, 0), (0, 10_000), (0, -10_000), (5_000, -5_000)]
    {
        let worst_ms = drifting(ppm, clock_ppm);
        assert!(worst_ms < 500, "{ppm} ppm, clock {clock_ppm} ppm: audio is {worst_ms} ms off its true time");
    }
}

#[test]
fn a_pause_after_the_clock_was_set_back_by_an_hour_keeps_its_length() {
    let chunks = [
        (300, 340),
        (600, 640),
        (900 - 3_600_000, 940),
        (10_900 - 3_600_000, 10_940),
        (11_200 - 3_600_000, 11_240),
    ];
    let chunks: Vec<Timing> = chunks
        .into_iter()
        .map(|(captured, sent)| Timing {
            captured_at: EpochMs((T0 as i64 + captured) as u64),
            sent_at: EpochMs(T0 + sent),
            ..chunk(0, 300, Joint::Continues)
        })
        .collect();
    let placed = place_all(&chunks);
    assert_eq!(placed, [0, 300, 600, 10_600, 10_900]);
}

/// A blob that is handed out at `captured_ms`, cut into pieces of so many ms.
fn blob(captured_ms: u64, pieces_ms: &[u64]) -> Vec<Timing> {
    let piece = |(n, ms): (usize, &u64)| Timing {
        continues: n + 1 < pieces_ms.len(),
        sent_at: EpochMs(T0 + captured_ms + 40 + 25 * n as u64),
        ..chunk(captured_ms, *ms, Joint::Continues)
    };
    pieces_ms.iter().enumerate().map(piece).collect()
}

#[test]
fn a_large_blob_after_a_pause_lies_at_its_true_time_however_much_of_it_is_in_sight() {
    let pieces = [vec![chunk(1_000, 1_000, Joint::Clock)], blob(91_000, &[1_400; 43])].concat();
    let next = chunk(92_000, 1_000, Joint::Continues);
    let begins_ms = 91_000 - 43 * 1_400;
    for in_sight in [2, 10, 44] {
        let mut timeline = Timeline::default();
        let busy = Sight { calm: false, ..CALM };
        timeline.place(&pieces[0], &[], busy);
        let alone = timeline.clone().place(&pieces[1], &pieces[2..11], busy);
        assert!(alone.doubtful, "as long as its last piece is not there, nobody knows where it begins");
        let all = [&pieces[1..], &[next]].concat();
        for n in 0..all.len() {
            // From the second piece on, a batch may see few of those behind it.
            let to = if n == 0 { all.len() } else { all.len().min(n + in_sight) };
            let placed = timeline.place(&all[n], &all[n + 1..to], busy);
            let true_ms = if n < 43 { begins_ms + n as u64 * 1_400 } else { 91_000 };
            let off_ms = (placed.at.0 - T0).abs_diff(true_ms);
            assert!(off_ms <= 45, "piece {n} is {off_ms} ms off with {in_sight} in sight");
            assert!(!placed.doubtful, "piece {n} waits for others");
        }
    }
}

#[test]
fn a_blob_shows_as_a_whole_that_the_clock_was_set_ahead() {
    // The speaker's clock is 3 s behind; before the second blob it is set an hour ahead.
    let set_ahead = |piece: Timing| Timing { captured_at: EpochMs(piece.captured_at.0 + 3_597_000), ..piece };
    let behind = |piece: Timing| Timing { captured_at: EpochMs(piece.captured_at.0 - 3_000), ..piece };
    let first = blob(5_600, &[1_400; 4]).into_iter().map(behind);
    let second = blob(11_200, &[1_400; 4]).into_iter().map(set_ahead);
    let placed = place_all(&first.chain(second).collect::<Vec<_>>());
    let expected: Vec<i64> = (0..8).map(|n| n * 1_400 - 3_000).collect();
    assert_eq!(placed, expected, "the second blob would lie 3 s behind the first");
}

#[test]
fn a_blob_lies_where_the_piece_that_came_first_shows() {
    // The clock is 1.5 s ahead, and the network was away while the blob's first piece was sent.
    let mut pieces = blob(7_500, &[1_400; 4]);
    pieces.iter_mut().for_each(|piece| piece.sent_at = EpochMs(T0 + 6_040));
    pieces[0].sent_at = EpochMs(T0 + 9_500);
    assert_eq!(place_all(&pieces), [440, 1_840, 3_240, 4_640]);
}

#[test]
fn a_piece_that_is_missing_leaves_its_room_before_a_blob_is_placed() {
    // Four pieces of 1.5 s; the third is missing, and the container does not tell how long it was.
    let mut pieces = blob(6_000, &[1_500, 1_500, 1_500]);
    pieces[2].joint = Joint::ClockBehind(Samples::from_ms(1_500));
    assert_eq!(place_all(&pieces)[..2], [0, 1_500], "the beginning would lie 1.5 s too late");
}

#[test]
fn missing_chunks_of_a_burst_do_not_end_it() {
    // The page stood still for 9 s; of what it hands out then, the queue shows two chunks, and the container does not tell how much lies
    // between them.
    let stalled = [
        chunk(300, 300, Joint::Clock),
        chunk(9_300, 300, Joint::Continues),
        chunk(9_303, 300, Joint::ClockBehind(Samples::from_ms(3_000))),
    ];
    let busy = Sight { calm: false, ..CALM };
    let mut timeline = Timeline::default();
    timeline.place(&stalled[0], &[], busy);
    assert!(timeline.place(&stalled[1], &stalled[2..], busy).doubtful, "a stall would be taken for a pause");
}

#[test]
fn a_session_that_begins_with_what_was_kept_waits_for_a_chunk_that_was_not() {
    // The speaker's clock is 45 s ahead, and without a network the page kept 30 s of audio.
    let kept = |captured_ms: u64, sent_ms: u64| Timing {
        sent_at: EpochMs(T0 + sent_ms + 40),
        ..chunk(captured_ms + 45_000, 1_000, Joint::Continues)
    };
    let all: Vec<Timing> = (1..=31).map(|n| kept(n * 1_000, n.max(30) * 1_000)).collect();
    let busy = Sight { calm: false, ..CALM };
    let first = |in_sight: usize| Timeline::default().place(&all[0], &all[1..in_sight], busy);
    assert!(first(18).doubtful, "all of the session would lie 12 s too late");
    let placed = first(31);
    assert_eq!((placed.at.0 - T0, placed.doubtful), (40, false));
}

#[test]
fn a_session_that_begins_without_network_follows_the_clock_that_a_later_chunk_shows() {
    // The speaker's clock is 2 s ahead; the first chunk was kept for 5 s, and with it the next comes, at once.
    let ahead = |captured_ms: u64, sent_ms: u64, joint: Joint| Timing {
        sent_at: EpochMs(T0 + sent_ms),
        ..chunk(captured_ms + 2_000, 300, joint)
    };
    let chunks = [
        ahead(300, 5_300, Joint::Clock),
        ahead(600, 5_300, Joint::Continues),
        ahead(900, 960, Joint::Continues),
    ];
    assert_eq!(place_all(&chunks), [60, 360, 660], "all of it would lie in the future");
    // A chunk behind which the clock was set tells nothing of the clock before.
    let set = ahead(3_600_900, 960, Joint::Continues);
    assert_eq!(place_all(&[chunks[0], chunks[1], set])[..2], [2_000, 2_300]);
}

#[test]
fn a_large_blob_of_a_page_that_stood_still_is_no_pause() {
    // 6 s of a stall: the small blob that was due, then the large one 280 ms later, in pieces.
    let pieces = [
        vec![chunk(300, 300, Joint::Clock)],
        blob(6_300, &[60]),
        blob(6_580, &[1_400, 1_400, 1_400, 1_400, 620]),
    ];
    let pieces = pieces.concat();
    let mut timeline = Timeline::default();
    let busy = Sight { calm: false, ..CALM };
    timeline.place(&pieces[0], &[], busy);
    assert!(timeline.clone().place(&pieces[1], &pieces[2..4], busy).doubtful);
    for (n, at_ms) in [(1, 300), (2, 360), (3, 1_760), (6, 5_960)] {
        let mut timeline = timeline.clone();
        let placed = (1..=n).map(|n| timeline.place(&pieces[n], &pieces[n + 1..], busy)).last().unwrap();
        assert_eq!(
            ((placed.at.0 - T0).abs_diff(at_ms) <= 5, placed.doubtful),
            (true, false),
            "piece {n}: {placed:?}"
        );
    }
}

#[test]
fn a_blob_without_its_last_piece_is_placed_by_what_follows_it() {
    let mut pieces = blob(20_000, &[1_400, 1_400, 1_400, 800]);
    pieces.pop();
    let next = chunk(20_300, 300, Joint::Missing(Samples::from_ms(800)));
    let all = [vec![chunk(300, 300, Joint::Clock)], pieces, vec![next]].concat();
    assert_eq!(place_all(&all), [0, 15_000, 16_400, 17_800, 20_000]);
}

#[test]
fn a_blob_whose_end_does_not_come_never_lies_in_the_future() {
    let pieces = [vec![chunk(300, 300, Joint::Clock)], blob(20_000, &[1_400; 10])].concat();
    let mut timeline = Timeline::default();
    for (n, piece) in pieces.iter().enumerate() {
        // Two pieces at a time, with long waits between them.
        let placed = timeline.place(piece, &pieces[n + 1..(n + 2).min(pieces.len())], CALM);
        let ends_ms = placed.at.0 - T0 + placed.time.ms_ceil();
        assert!(ends_ms <= 20_045, "piece {n} ends at {ends_ms} ms, captured at 20,000");
    }
    assert!(timeline.end().unwrap().0 - T0 > 19_900, "at the latest its end is where it was captured");
}

#[test]
fn pieces_of_an_older_page_that_tells_nothing_are_a_burst() {
    let mut pieces = [vec![chunk(300, 300, Joint::Clock)], blob(20_000, &[1_400; 4])].concat();
    pieces.iter_mut().for_each(|piece| piece.continues = false);
    pieces.push(chunk(20_300, 300, Joint::Continues));
    assert_eq!(place_all(&pieces), [0, 14_400, 15_800, 17_200, 18_600, 20_000]);
}

/// A chunk that was captured and sent then, in ms after T0.
fn timing_by((captured_ms, sent_ms): &(i64, u64)) -> Timing {
    Timing {
        captured_at: EpochMs(T0.saturating_add_signed(*captured_ms)),
        sent_at: EpochMs(T0 + sent_ms),
        ..chunk(0, 300, Joint::Continues)
    }
}

/// Where such chunks lie.
fn place_by(clocks: &[(i64, u64)]) -> Vec<i64> {
    place_all(&clocks.iter().map(timing_by).collect::<Vec<_>>())
}

#[test]
fn a_clock_that_is_set_ahead_is_no_pause_and_a_pause_is_one_by_both_clocks() {
    // 3 s behind the queue's.
    let before = [(-2_700, 340), (-2_400, 640), (-2_100, 940), (-1_800, 1_240)];
    let set_right = place_by(&[&before[..], &[(1_500, 1_540), (1_800, 1_840)]].concat());
    assert_eq!(set_right, [-3_000, -2_700, -2_400, -2_100, -1_800, -1_500], "nobody paused");
    let paused = place_by(&[&before[..], &[(1_500, 4_540), (1_800, 4_840)]].concat());
    assert_eq!(paused, [-3_000, -2_700, -2_400, -2_100, 1_200, 1_500], "the pause is gone");
}

/// A chunk that took so long to the queue.
fn late(delay_ms: u64, chunk: Timing) -> Timing {
    Timing { sent_at: chunk.captured_at.plus_ms(delay_ms), ..chunk }
}

/// The network was away from the beginning; its last blob came 3 s late, the next one behind the pause in time.
#[test]
fn a_pause_behind_what_was_held_up_is_no_clock_that_was_set_ahead() {
    let chunks = [
        late(5_000, chunk(1_000, 1_000, Joint::Clock)),
        late(4_010, chunk(2_000, 1_000, Joint::Continues)),
        late(3_020, chunk(3_000, 1_000, Joint::Continues)),
        late(40, chunk(7_000, 1_000, Joint::Continues)),
        late(40, chunk(8_000, 1_000, Joint::Continues)),
    ];
    assert_eq!(place_all(&chunks), [0, 1_000, 2_000, 6_000, 7_000], "all that follows would lie 3 s early");
}

/// A page sends what its last load left, late, and then blobs of 1 s at their pace.
#[test]
fn late_blobs_before_a_pause_set_no_clock() {
    let chunks = [
        late(40, chunk(1_000, 1_000, Joint::Clock)),
        late(1_240, chunk(2_000, 1_000, Joint::Continues)),
        late(40, chunk(4_200, 1_000, Joint::Clock)),
        late(40, chunk(5_200, 1_000, Joint::Continues)),
    ];
    let at_ms = place_all(&chunks)[2];
    assert!(at_ms.abs_diff(3_200) <= 20, "the new page's audio lies at {at_ms} ms, early");
    // Late ones lift what a usual way takes.
    let [first, second, ..] = chunks;
    let two_late = [
        first,
        late(1_700, second),
        late(700, chunk(3_000, 1_000, Joint::Continues)),
        late(10, chunk(4_700, 1_000, Joint::Clock)),
    ];
    let at_ms = place_all(&two_late)[3];
    assert!(at_ms.abs_diff(3_700) <= 40, "the new page's audio lies at {at_ms} ms, early");
}

#[test]
fn a_clock_that_is_set_ahead_while_the_network_is_away_follows_what_comes_at_its_pace() {
    // Away from 1 to 4 s; the clock is set ahead by 20 s at 2.1 s.
    let clocks: Vec<(i64, u64)> = (1..20)
        .map(|n| 300 * n)
        .map(|ms| {
            let sent_ms = if (1_000..4_000).contains(&ms) { 4_000 + ms / 100 } else { ms };
            (ms + if ms > 2_100 { 20_000 } else { 0 }, sent_ms as u64 + 40)
        })
        .collect();
    let steady: Vec<i64> = (0..19).map(|n| 300 * n).collect();
    assert_eq!(place_by(&clocks), steady, "nobody paused");
    // As long as nothing comes at its pace, it may be ahead further.
    let timings: Vec<Timing> = clocks.iter().map(timing_by).collect();
    let doubtful = |at_hand: usize| {
        let mut timeline = Timeline::default();
        let busy = Sight { calm: false, ..CALM };
        let place = |n: usize| timeline.place(&timings[n], &timings[n + 1..at_hand], busy).doubtful;
        (0..8).map(place).collect::<Vec<_>>()[7]
    };
    assert_eq!((doubtful(10), doubtful(16)), (true, false));
}

#[test]
fn what_a_page_kept_and_sends_faster_than_it_was_spoken_sets_no_clock() {
    // The network was away for 3 s; the speaker paused meanwhile.
    let kept =
        [(300, 340), (600, 640), (900, 940), (1_200, 4_000), (3_200, 4_040), (3_500, 4_080), (4_100, 4_140)];
    let resumed_ms = place_by(&kept)[4];
    assert!((2_850..2_950).contains(&resumed_ms), "the pause is gone: audio goes on at {resumed_ms} ms");
}

#[test]
fn what_was_held_up_does_not_show_how_long_chunks_take_as_a_rule() {
    let mut timeline = Timeline::default();
    timeline.place(&chunk(300, 300, Joint::Clock), &[], CALM);
    let held_up = Timing { sent_at: EpochMs(T0 + 10_600), ..chunk(600, 300, Joint::Continues) };
    timeline.place(&held_up, &[], CALM);
    assert_eq!(
        timeline.usually_behind_ms(),
        Some(40),
        "the next ones, held up less, would seem to come too early"
    );
}

#[test]
fn a_way_to_the_queue_that_stays_longer_becomes_the_rule() {
    let mut timeline = Timeline::default();
    timeline.place(&chunk(300, 300, Joint::Clock), &[], CALM);
    for i in 2..5 {
        let on_its_way =
            Timing { sent_at: EpochMs(T0 + 300 * i + 2_500), ..chunk(300 * i, 300, Joint::Continues) };
        timeline.place(&on_its_way, &[], CALM);
    }
    assert_eq!(
        timeline.usually_behind_ms(),
        Some(2_500),
        "a clock that is set then would leave a pause of 2.5 s"
    );
}

#[test]
fn one_chunk_that_was_held_up_sets_no_clock() {
    // The second one took 9 s; the third was in the queue long before.
    let second = |n: u64, sent_ms: u64| Timing {
        captured_at: EpochMs(T0 + 1_000 * n),
        sent_at: EpochMs(T0 + sent_ms),
        ..chunk(0, 1_000, Joint::Continues)
    };
    let chunks = [second(1, 1_040), second(2, 11_000), second(3, 3_040), second(30, 30_040)];
    let at_ms = place_all(&chunks)[3];
    assert!(at_ms.abs_diff(29_000) <= 40, "what follows a pause lies at {at_ms} ms instead of 29,000");
}

#[test]
fn a_blob_begins_with_its_first_audio() {
    let pieces = [vec![chunk(300, 300, Joint::Clock)], blob(20_000, &[1_400, 1_400])].concat();
    let mut timeline = Timeline::default();
    timeline.place(&pieces[0], &[], CALM);
    // Its first piece holds the header alone.
    timeline.pass_silent(&Timing { samples: Samples(0), ..pieces[1] });
    let placed = timeline.place(&pieces[1], &pieces[2..], Sight { calm: false, ..CALM });
    assert!(placed.doubtful, "nobody knows yet whether the page stalled or the speaker paused");
}

#[test]
fn missing_chunks_leave_a_hole_of_exactly_their_audio() {
    let missing = Joint::Missing(Samples::from_ms(600));
    assert_eq!(place_all(&[chunk(300, 300, Joint::Clock), chunk(1230, 300, missing)]), [0, 900]);
}

#[test]
fn a_restarted_recorder_follows_the_clock_and_never_goes_back() {
    let later = [chunk(300, 300, Joint::Clock), chunk(700, 300, Joint::Clock)];
    assert_eq!(place_all(&later), [0, 400]);
    let early = [chunk(300, 300, Joint::Clock), chunk(500, 300, Joint::Clock)];
    assert_eq!(place_all(&early), [0, 300]);
}

#[test]
fn a_clock_ahead_of_the_queue_is_corrected_so_that_no_time_lies_in_the_future() {
    let mut ahead = chunk(60_000, 300, Joint::Clock);
    ahead.sent_at = EpochMs(T0 + 400);
    assert_eq!(place_all(&[ahead]), [100]);
}

#[test]
fn a_chunk_without_audio_tells_of_a_clock_that_is_ahead_for_one_that_came_late() {
    let ahead = |captured_ms: u64, sent_ms: u64| Timing {
        sent_at: EpochMs(T0 + sent_ms),
        ..chunk(60_000 + captured_ms, 300, Joint::Clock)
    };
    let mut timeline = Timeline::default();
    timeline.pass_silent(&ahead(600, 640));
    let at_ms = timeline.place(&ahead(300, 1_500), &[], CALM).at.0;
    assert!(at_ms.abs_diff(T0 + 40) < 10, "audio lies at {} ms instead of 40", at_ms - T0);
}

#[test]
fn a_clock_of_1970_is_replaced_by_the_queues() {
    let broken = Timing { captured_at: EpochMs(5), ..chunk(0, 300, Joint::Clock) };
    assert_eq!(place_all(&[broken]), [40 - 300]);
}

#[test]
fn a_clock_that_was_set_in_a_batch_is_not_learnt_for_the_batch() {
    const HOUR_MS: u64 = 3_600_000;
    let mut timeline = Timeline::default();
    let chunks: Vec<Timing> = (1..=12)
        .map(|n| {
            let set_ms = if n > 6 { HOUR_MS } else { 0 };
            Timing { sent_at: EpochMs(T0 + n * 300 + 40), ..chunk(n * 300 + set_ms, 300, Joint::Continues) }
        })
        .collect();
    timeline.place(&Timing { joint: Joint::Clock, ..chunks[0] }, &chunks[1..], CALM);
    let before = timeline.clone();
    for i in 1..chunks.len() {
        timeline.place(&chunks[i], &chunks[i + 1..], CALM);
    }
    let mut again = before.clone();
    again.learn_skew(&timeline);
    assert_eq!(again.corrected(chunks[1].captured_at), before.corrected(chunks[1].captured_at));
    for i in 1..chunks.len() {
        again.place(&chunks[i], &chunks[i + 1..], CALM);
    }
    let paused = chunk(6_000 + HOUR_MS, 300, Joint::Continues);
    let paused = Timing { sent_at: EpochMs(T0 + 6_040), ..paused };
    assert_eq!(
        again.place(&paused, &[], CALM).at,
        EpochMs(T0 + 5_700),
        "an hour counts twice: no pause shows"
    );
}

#[test]
fn a_large_blob_that_comes_a_little_late_stays_where_it_was_spoken() {
    // Half a minute in pieces, which the queue took 0.7 s after the blob was handed out; before it, a pause of 20 s.
    let late = |piece: Timing| Timing { sent_at: EpochMs(piece.captured_at.0 + 700), ..piece };
    let second = chunk(1_000, 1_000, Joint::Continues);
    let large = blob(51_000, &[1_000; 30]).into_iter().map(late);
    let placed = place_all(&std::iter::once(second).chain(large).collect::<Vec<_>>());
    let off_ms = placed[1] - placed[0] - 21_000;
    assert!(off_ms.abs() <= 100, "the pause is {off_ms} ms too long");
}
