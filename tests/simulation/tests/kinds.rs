//! Kinds of trouble: each is drawn as it says, and what is promised of it is noticed when it is broken by hand.
#![allow(clippy::unwrap_used)]

use simulation::case::Case;
use simulation::case::blobs::Style;
use simulation::case::kinds::{Kind, Kinds};
use simulation::case::script::{Script, Window};
use simulation::evidence::Evidence;
use simulation::invariants::check;
use simulation::model::queue::Dead;
use simulation::run::{Incident, Outcome, run};
use simulation::speech::session::{Chunk, Passage, Session, Take};
use simulation::speech::tape::tape;
use simulation::speech::webm::Browser;
use writer::event::Event;

/// The speakers that the first cases of one kind draw.
fn speakers(kind: Kind) -> Vec<Session> {
    let cases = (0..60).map(|seed| Case::draw(seed, Kinds::of([kind])));
    cases.flat_map(|case| case.sessions).filter(|session| session.kinds.has(kind)).collect()
}

fn chunks(session: &Session) -> impl Iterator<Item = &Chunk> {
    session.takes.iter().flat_map(|take| &take.chunks)
}

fn count(session: &Session, is: impl Fn(&Chunk) -> bool) -> usize {
    chunks(session).filter(|chunk| is(chunk)).count()
}

/// By how much a chunk is under way.
fn network_ms(chunk: &Chunk) -> u64 {
    chunk.arrives_ms().map_or(0, |at| at - chunk.handed_out_ms)
}

fn empty(session: &Session) -> usize {
    let pairs = |take: &Take| take.chunks.windows(2).filter(|pair| pair[0].until == pair[1].until).count();
    session.takes.iter().map(pairs).sum()
}

/// Whether a speaker is in the trouble of this kind, and in no other.
fn shows(kind: Kind, session: &Session) -> bool {
    let in_order = |take: &Take| take.chunks.iter().filter_map(Chunk::arrives_ms).is_sorted();
    let overtaken = !session.takes.iter().all(in_order);
    let pages_overlap = session.takes.get(1).is_some_and(|second| {
        second.new_page
            && second.chunks[0].handed_out_ms < session.takes[0].chunks.last().unwrap().handed_out_ms
    });
    let seen = [
        (Kind::Stall, kind != Kind::Pieces && count(session, |chunk| chunk.late_ms > 1_000) > 0),
        (Kind::Burst, count(session, |chunk| network_ms(chunk) > 500 && network_ms(chunk) != 5_000) > 3),
        (Kind::Disorder, count(session, |chunk| (1..10).contains(&chunk.misstamped_ms)) > 3),
        (Kind::Clock, !session.clock_set.is_empty()),
        (Kind::SecondPage, pages_overlap),
        (Kind::Empty, empty(session) > 3),
        (Kind::Resend, count(session, |chunk| chunk.restamped_after_ms.is_some()) > 1),
        (Kind::End, session.ended.is_some()),
        (Kind::Pcm, session.takes.iter().any(|take| tape(take.tape).browser == Browser::Worklet)),
        (Kind::Recorders, session.takes.iter().any(|take| take.muxer.is_some())),
        (Kind::Pieces, count(session, |chunk| chunk.continues) > 3),
        (Kind::Hostile, count(session, |chunk| chunk.misstamped_ms.abs() > 1_000_000) == 1),
    ];
    assert!(
        !overtaken || kind == Kind::Disorder || kind == Kind::End,
        "{kind:?}: nothing else is out of order"
    );
    let others = seen.iter().filter(|(other, shows)| *other != kind && *shows).count();
    assert_eq!(others, 0, "{kind:?} is drawn by itself: {session:#?}");
    match kind {
        Kind::Steady => true,
        Kind::Small => chunks(session).count() as u64 > last_ms(session) / 150,
        Kind::Drift => true, // the recorder's clock shows in what the judge takes for true
        _ => seen.iter().any(|(seen, shows)| *seen == kind && *shows),
    }
}

fn last_ms(session: &Session) -> u64 {
    session.takes[0].chunks.last().unwrap().handed_out_ms - session.takes[0].chunks[0].handed_out_ms
}

#[test]
fn each_kind_is_drawn_by_itself() {
    for kind in Kind::ALL.into_iter().filter(|kind| !kind.is_of_services()) {
        let speakers = speakers(kind);
        let in_trouble = speakers.iter().filter(|session| shows(kind, session)).count();
        // Some have nothing that can be empty or small, or end too soon to be sent again.
        assert!(in_trouble * 3 > speakers.len(), "{kind:?}: {in_trouble} of {} speakers", speakers.len());
    }
}

#[test]
fn names_of_kinds_are_read_as_they_are_written() {
    for kind in Kind::ALL {
        assert_eq!(kind.name().parse(), Ok(Kinds::of([kind])));
    }
    assert_eq!("stall,second-page".parse(), Ok(Kinds::of([Kind::Stall, Kind::SecondPage])));
    assert_eq!(("all".parse(), "none".parse()), (Ok(Kinds::ALL), Ok(Kinds::NONE)));
    let error = "stalls".parse::<Kinds>().unwrap_err();
    assert!(error.contains("\"stalls\"") && error.contains("second-page"), "{error}");
}

// --- the judge ----------------------------------------------------------------------------------------------------------

fn speaker(script: Script) -> Case {
    let mut rng = fastrand::Rng::with_seed(7);
    let session = Session::of("s", vec![script.play(&mut rng, 0)]);
    let kinds = Kinds::of([Kind::Steady]);
    Case { sessions: vec![Session { kinds, ..session }], undisturbed: true, ..Case::quiet() }
}

/// Ten seconds of Firefox.
fn steady() -> Case {
    speaker(Script::new(Browser::Firefox, 10_000))
}

/// What the judge says after `spoil` has changed what a good run left.
fn said(case: &Case, spoil: impl FnOnce(&mut Outcome)) -> String {
    let mut outcome = run(&case.scenario(false));
    spoil(&mut outcome);
    let evidence = Evidence { undisturbed: true, ..Evidence::gather(&case.sessions, &outcome, true) };
    check(&evidence).iter().map(|violation| format!("{violation}\n")).collect()
}

fn fragments(outcome: &mut Outcome) -> &mut Vec<simulation::model::stream::Fragment> {
    &mut outcome.world.streams.by_session.get_mut("s").unwrap().fragments
}

#[test]
fn a_good_run_breaks_nothing() {
    assert_eq!(said(&steady(), |_| ()), "");
}

#[test]
fn audio_that_is_apart_from_the_rest_is_noticed() {
    let said = said(&steady(), |outcome| {
        for fragment in &mut fragments(outcome)[3..] {
            fragment.media.blocks.iter_mut().for_each(|(at, _)| at.0 += 700);
            fragment.stored_ms += 700;
        }
    });
    assert!(said.contains("promise 3") && said.contains("apart from the rest"), "{said}");
}

#[test]
fn a_recording_at_another_time_is_noticed() {
    let later = |case: &Case, ms: i64| {
        said(case, |outcome| {
            for fragment in fragments(outcome) {
                let blocks = fragment.media.blocks.iter_mut();
                blocks.for_each(|(at, _)| at.0 = at.0.saturating_add_signed(ms));
                fragment.stored_ms += ms.max(0).unsigned_abs();
            }
        })
    };
    assert!(later(&steady(), 800).contains("take 0 is 8"), "ahead");
    assert!(later(&steady(), -800).contains("take 0 is -"), "behind");
    let mut behind = steady();
    behind.sessions[0].skew_ms = -3_000;
    assert_eq!(said(&behind, |_| ()), "", "a clock that is behind may be believed");
    assert!(!later(&behind, 3_000).contains("off its true time"), "or not");
}

#[test]
fn short_fragments_are_noticed_where_more_was_at_hand() {
    let cut = |outcome: &mut Outcome| {
        let fragments = fragments(outcome);
        let mut rest = fragments[2].clone();
        rest.media.blocks = fragments[2].media.blocks.split_off(1);
        rest.number = 1_000;
        rest.at = rest.media.blocks[0].0;
        let first_ms = fragments[2].stored_ms;
        fragments[2].stored_ms = first_ms + 1_500; // by then its successors have come
        rest.stored_ms = first_ms + 1_500;
        fragments.insert(3, rest);
    };
    let said = said(&steady(), cut);
    assert!(said.contains("under 1 s although more was at hand"), "{said}");
}

#[test]
fn late_audio_is_noticed_but_not_while_trouble_is_felt() {
    let late = |case: &Case| said(case, |outcome| fragments(outcome)[3].stored_ms += 4_000);
    assert!(late(&steady()).contains("fragments are late"));
    let window = Window { from_ms: 3_000, to_ms: 5_000, stall: Some(Style::Heap) };
    let stalled = speaker(Script { window: Some(window), ..Script::new(Browser::Firefox, 10_000) });
    assert!(!late(&stalled).contains("fragments are late"));
}

#[test]
fn live_fragments_out_of_order_are_noticed() {
    let said = said(&steady(), |outcome| fragments(outcome).swap(1, 2));
    assert!(said.contains("lies before fragment"), "{said}");
}

#[test]
fn gaps_are_noticed_unless_something_is_lost() {
    let gap = |outcome: &mut Outcome| {
        let event = Event::GapOpened { session_id: "s".into(), chunk_first: 3, chunk_last: 3 };
        outcome.world.events.push((0, event));
    };
    assert!(said(&steady(), gap).contains("1 gaps are opened for 0 lost chunks"));
    let mut lossy = steady();
    lossy.sessions[0].takes[0].chunks[9].passage = Passage::Lost;
    assert_eq!(said(&lossy, |_| ()), "", "the lost chunk's own gap");
    assert!(said(&lossy, gap).contains("2 gaps are opened for 1 lost chunks"));
}

#[test]
fn what_is_parked_without_need_is_noticed() {
    let case = steady();
    let body = case.sessions[0].arrivals().into_iter().find_map(|arrival| match arrival.what {
        Incident::Message { body, .. } => Some(body),
        Incident::Status(..) => None,
    });
    let park = |body: String, reason: &str| {
        let attributes = [("reason".to_owned(), reason.to_owned())].into();
        let (original_id, group) = ("m1".to_owned(), "s".to_owned());
        let dead = Dead { original_id, group, body, attributes, since_ms: 0 };
        said(&case, |outcome| outcome.parked.push(dead))
    };
    assert!(
        park(body.unwrap(), "REPLACED").contains("chunk s/0/0 is parked: REPLACED"),
        "there is no other page"
    );
    assert!(park("{}".into(), "NO_PLACE").contains("a chunk that came again is parked: NO_PLACE"));
}

/// Whether the recorder was started again, and its header comes after what is behind it.
fn has_late_header(session: &Session) -> bool {
    let mut restarted = session.takes.iter().skip(1).filter(|take| !take.new_page);
    restarted.any(|take| network_ms(&take.chunks[0]) >= 4_000)
}

#[test]
fn a_late_header_of_a_recorder_that_was_started_again_is_drawn_and_has_a_place() {
    let kinds = Kinds::of([Kind::Disorder, Kind::Drift]);
    let cases = (0..400).map(|seed| Case::draw(seed, kinds));
    let late: Vec<Case> =
        cases.filter(|case| case.undisturbed && case.sessions.iter().any(has_late_header)).collect();
    let of = |browser| {
        let speaks = |session: &Session| session.takes.iter().any(|take| tape(take.tape).browser == browser);
        late.iter().flat_map(|case| &case.sessions).filter(|s| has_late_header(s) && speaks(s)).count()
    };
    for browser in [Browser::Chromium, Browser::Firefox, Browser::FirefoxOgg] {
        assert!(of(browser) > 1, "{browser:?} is not drawn with a late header");
    }
    for case in late {
        assert_eq!(case.judge(), [], "seed {}", case.seed);
    }
}
