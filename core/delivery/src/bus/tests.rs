//! Events that are fired together, at lanes whose plugin's instance does what the test says.

use evbus_plugin::Plugin;
use evbus_sdk::{Matcher, Matches, PatternFault, matcher_plugin};

use super::*;
use crate::lane::tests::{Script, eager, setup, start, wait_for};
use evbus_destination::{Dedup, Policy, QueueLimits, WhenFull};
use evbus_expression::Expression;

/// Every pattern matches the names that it begins.
struct Beginnings(Vec<String>);

impl Matcher for Beginnings {
    const NAMES: &'static [&'static str] = &["beginnings"];

    fn compile(patterns: &[&str]) -> Result<Self, Vec<PatternFault>> {
        Ok(Self(
            patterns.iter().map(|&pattern| pattern.to_owned()).collect(),
        ))
    }

    fn matches(&self, name: &str, matches: &mut Matches<'_>) {
        for (index, pattern) in (0..).zip(&self.0) {
            if name.starts_with(pattern) {
                matches.push(index);
            }
        }
    }
}

struct Unheard;

impl Listeners for Unheard {
    fn publish(&self, _event: &Event) {}
}

impl std::fmt::Debug for Unheard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Unheard")
    }
}

fn plugin() -> Plugin {
    Plugin::linked(matcher_plugin::<Beginnings>("beginnings", "1.0.0", ""))
}

/// A bus with a lane for each pattern.
fn bus(lanes: Vec<(&str, Lane)>) -> Bus {
    let (patterns, lanes): (Vec<_>, Vec<_>) = lanes.into_iter().unzip();
    let bus = Bus::new(Arc::new(Unheard), Serial::Json, String::new());
    bus.set_routes(Routes {
        router: Router::compile(&plugin(), &patterns).expect("it takes everything"),
        lanes: lanes.into_iter().map(Arc::new).collect(),
    });
    bus
}

/// A policy under which programs wait for room for more than `events`.
fn room_for(events: usize) -> Policy {
    Policy {
        when_full: Some(WhenFull::Block),
        queue: QueueLimits {
            events,
            ..QueueLimits::default()
        },
        ..eager()
    }
}

fn events(profiles: &[&str]) -> Vec<Event> {
    let event = |profile: &&str| Event::builder(*profile).unwrapped_json("1");
    let events: Result<_, _> = profiles.iter().map(event).collect();
    events.expect("a number is JSON")
}

#[tokio::test]
async fn events_fired_together_go_to_the_lanes_of_their_own_profiles() {
    let (a, b) = (
        start(setup(Script::accepting(), eager()), None),
        start(setup(Script::accepting(), eager()), None),
    );
    let bus = bus(vec![("a", a), ("ab", b)]);
    let fired = bus
        .put_all_published(events(&["a", "a", "ab", "x", "a", "ab", "ab"]))
        .await;
    assert!(fired.has_unmatched, "x has no destination");
    assert!(fired.faults.is_empty(), "{:?}", fired.faults);
    let routes = bus.routes();
    let a = wait_for(&routes.lanes[0], |status| status.counts.accepted == 6).await;
    let b = wait_for(&routes.lanes[1], |status| status.counts.accepted == 3).await;
    assert_eq!((a.counts.received, b.counts.received), (6, 3));
    let counts = bus.fired();
    assert_eq!((counts.matched, counts.unmatched), (6, 1));
}

#[tokio::test]
async fn a_full_lane_keeps_events_fired_together_from_no_other_lane_and_gets_all_of_them() {
    let full = start(setup(Script::accepting(), room_for(2)), None);
    let free = start(setup(Script::accepting(), eager()), None);
    let bus = bus(vec![("a", full), ("a", free)]);
    let fired = bus.put_all_published(events(&["a"; 500])).await;
    assert!(fired.faults.is_empty(), "{:?}", fired.faults);
    let routes = bus.routes();
    for lane in &routes.lanes {
        let status = wait_for(lane, |status| status.counts.accepted == 500).await;
        assert_eq!(status.counts.received, 500);
    }
}

#[tokio::test]
async fn events_that_wait_at_a_lane_that_ends_are_refused_by_position_and_kept_elsewhere() {
    let stuck = start(setup(Script::answering(|_| None), room_for(2)), None);
    let free = start(setup(Script::accepting(), eager()), None);
    let bus = bus(vec![("a", stuck), ("", free)]);
    let firing = tokio::spawn({
        let bus = bus.clone();
        async move { bus.put_all_published(events(&["a", "a", "a", "a"])).await }
    });
    let routes = bus.routes();
    wait_for(&routes.lanes[1], |status| status.counts.accepted == 4).await;
    wait_for(&routes.lanes[0], |status| status.waiting_for_room == 1).await;
    let ended = routes.lanes[0].stop(Duration::from_millis(10)).await;
    assert_eq!(ended, Ok(()));
    let fired = firing.await.expect("no panic");
    let refused: Vec<usize> = fired.faults.keys().copied().collect();
    assert_eq!(refused, [2, 3], "there was room for two");
    for fault in fired.faults.values() {
        assert!(matches!(fault, PutError::Gone { .. }), "{fault}");
    }
}

#[tokio::test]
async fn of_events_that_wait_at_a_lane_that_a_reload_replaces_only_the_first_is_lost_to_it() {
    let stuck = || start(setup(Script::answering(|_| None), room_for(2)), None);
    let free = start(setup(Script::accepting(), eager()), None);
    let bus = bus(vec![("a", stuck()), ("a", free), ("a", stuck())]);
    let firing = tokio::spawn({
        let bus = bus.clone();
        async move { bus.put_all_published(events(&["a"; 6])).await }
    });
    let old = bus.routes();
    wait_for(&old.lanes[1], |status| status.counts.accepted == 6).await;
    for stuck in [&old.lanes[0], &old.lanes[2]] {
        wait_for(stuck, |status| status.waiting_for_room == 1).await;
    }
    let new = Arc::new(start(setup(Script::accepting(), eager()), None));
    let patterns = ["a", "a"];
    bus.set_routes(Routes {
        router: Router::compile(&plugin(), &patterns).expect("it takes everything"),
        lanes: vec![Arc::clone(&old.lanes[1]), Arc::clone(&new)],
    });
    for ended in [&old.lanes[0], &old.lanes[2]] {
        let ended = ended.stop(Duration::from_millis(10)).await;
        assert_eq!(ended, Ok(()));
    }
    let fired = firing.await.expect("no panic");
    let refused: Vec<usize> = fired.faults.keys().copied().collect();
    assert_eq!(refused, [2], "there was room for two");
    let status = wait_for(&new, |status| status.counts.accepted >= 3).await;
    assert_eq!(status.counts.received, 3, "none of them twice");
    assert_eq!(old.lanes[1].status().counts.received, 6);
}

#[tokio::test]
async fn a_closed_bus_refuses_every_event() {
    let bus = bus(vec![(
        "a",
        start(setup(Script::accepting(), eager()), None),
    )]);
    bus.close();
    let fired = bus.put_all_published(events(&["a", "b", "a"])).await;
    let refused: Vec<usize> = fired.faults.keys().copied().collect();
    assert_eq!(refused, [0, 1, 2]);
    assert!(
        fired
            .faults
            .values()
            .all(|fault| *fault == PutError::Closed)
    );
}

/// A policy whose filter lets even numbers pass, and that knows repeats, with room for `events`.
fn even(events: usize) -> Policy {
    let expression = |source| Expression::compile(source).expect("it is an expression");
    Policy {
        when: Some(expression("body % 2 == 0")),
        dedup: Some(Dedup {
            key: expression("body"),
            within: Duration::from_mins(10),
            keep: 100,
        }),
        ..room_for(events)
    }
}

fn number(number: usize) -> Event {
    let event = Event::builder("a").unwrapped_json(number.to_string());
    event.expect("a number is JSON")
}

#[tokio::test]
async fn every_way_to_fire_filters_and_knows_repeats_and_counts_them_once() {
    for room in [1, 100] {
        let screened = start(setup(Script::accepting(), even(room)), None);
        let free = start(setup(Script::accepting(), eager()), None);
        let bus = bus(vec![("a", screened), ("a", free)]);
        for (fired, destinations) in [(0, 2), (1, 1), (0, 2)] {
            let fired = bus.put_event(number(fired)).await.expect("it is kept");
            assert_eq!(fired.destinations, destinations);
        }
        let routes = bus.routes();
        let settled = |status: &LaneStatus| status.counts.queued == 0;
        wait_for(&routes.lanes[0], settled).await;
        for (fired, destinations) in [(2, 2), (3, 1)] {
            let fired = bus.put_event_nowait(number(fired)).expect("there is room");
            assert_eq!(fired.destinations, destinations);
            wait_for(&routes.lanes[0], settled).await;
        }
        bus.put_event_nowait(number(2))
            .expect("a repeat needs no room for long");
        // 0 and 2 again, 4, 6, 8; and 4 again.
        let many = (0..10).chain([4]).map(number).collect();
        let fired = bus.put_all_published(many).await;
        assert!(fired.faults.is_empty(), "{:?}", fired.faults);
        let status = wait_for(&routes.lanes[0], |status| status.counts.accepted == 5).await;
        let counts = status.counts;
        assert_eq!(
            (counts.received, counts.deduplicated),
            (10, 5),
            "{counts:?}"
        );
        assert_eq!(
            (counts.filtered, counts.filter_faults),
            (7, 0),
            "{counts:?}"
        );
        wait_for(&routes.lanes[1], |status| status.counts.accepted == 17).await;
    }
}

#[tokio::test]
async fn an_event_that_finds_no_room_anywhere_leaves_no_trace_in_the_counts() {
    let screened = start(setup(Script::answering(|_| None), even(10)), None);
    let stuck = start(setup(Script::answering(|_| None), room_for(1)), None);
    let bus = bus(vec![("a", screened), ("a", stuck)]);
    bus.put_event_nowait(number(1)).expect("there is room");
    for fired in [2, 3] {
        let refused = bus.put_event_nowait(number(fired));
        assert!(matches!(refused, Err(PutError::Full { .. })), "{refused:?}");
    }
    let counts = bus.routes().lanes[0].status().counts;
    assert_eq!((counts.received, counts.filtered), (0, 1), "{counts:?}");
}
