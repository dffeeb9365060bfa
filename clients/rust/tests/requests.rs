//! What is returned, kept and discarded.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use evbus_client::{Error, GetEvent, MatchType, TagFilter};
use support::{Bus, builder, publish, with_both};

#[test]
fn each_match_type_chooses_its_events() {
    let tags = ["salt/job/1", "salt/job/2/ret", "job", "a/salt"];
    with_both(|connect| {
        for (match_type, wanted, expected) in [
            (MatchType::Startswith, "salt/job/2", "salt/job/2/ret"),
            (MatchType::Endswith, "job", "job"),
            (MatchType::Find, "/salt", "a/salt"),
            (MatchType::Regex, "(a|b)/", "a/salt"),
            (MatchType::Fnmatch, "salt/*/ret", "salt/job/2/ret"),
        ] {
            let bus = Bus::start();
            let mut client = connect(builder(&bus.dir())).unwrap();
            publish(&mut bus.listener(), &tags);
            let request = GetEvent::new().tag(wanted).match_type(match_type);
            assert_eq!(client.tag(request), expected, "{match_type}");
        }
        // The client's own match type, and a filter that has another.
        let bus = Bus::start();
        let mut client = connect(builder(&bus.dir()).match_type(MatchType::Endswith)).unwrap();
        let mut listener = bus.listener();
        publish(&mut listener, &tags);
        assert_eq!(client.tag("ret"), "salt/job/2/ret");
        publish(&mut listener, &tags);
        let filters = ["a/", "job"].map(|tag| TagFilter::new(tag, MatchType::Startswith).unwrap());
        let filter = TagFilter::any_of(filters);
        assert_eq!(client.tag(filter.clone()), "job");
        assert_eq!(client.tag(filter), "a/salt");
    });
}

#[test]
fn a_wait_ends_and_events_that_do_not_match_do_not_make_it_longer() {
    with_both(|connect| {
        let bus = Bus::start();
        let mut client = connect(builder(&bus.dir())).unwrap();
        let mut listener = bus.listener();
        let wait = Duration::from_millis(200);
        let request = GetEvent::new().tag("wanted").wait(wait);
        let start = Instant::now();
        assert!(client.get_event(request.clone()).unwrap().is_none());
        assert!(start.elapsed() >= wait);

        // A bus that is never quiet.
        let firing = std::thread::spawn(move || {
            let frames = support::frame("other").repeat(100);
            while std::io::Write::write_all(&mut listener, &frames).is_ok() {}
        });
        assert!(client.get_event(request.clone()).unwrap().is_none());
        assert!(client.get_event(request.no_block()).unwrap().is_none());
        drop(client);
        firing.join().unwrap();
    });
}

#[test]
fn no_block_finds_what_has_arrived_at_once() {
    with_both(|connect| {
        let bus = Bus::start();
        let mut client = connect(builder(&bus.dir())).unwrap();
        let mut listener = bus.listener();
        assert_eq!(client.tag_now(""), None);
        for n in 0..100 {
            let tag = n.to_string();
            publish(&mut listener, &["other", &tag]);
            assert_eq!(client.tag_now(GetEvent::new().tag(&tag)), Some(tag));
            assert_eq!(client.tag_now(GetEvent::new().wait(Duration::ZERO)), None);
        }
    });
}

#[test]
fn what_is_not_asked_for_is_discarded_and_what_is_subscribed_to_is_kept() {
    with_both(|connect| {
        let bus = Bus::start();
        let mut client = connect(builder(&bus.dir())).unwrap();
        let mut listener = bus.listener();
        publish(&mut listener, &["a/1", "b/1", "c/1", "end"]);
        assert_eq!(client.tag("end"), "end");
        assert_eq!(client.tag_now(""), None, "nothing is subscribed to");

        client.subscribe("a/", None);
        client.subscribe("*/2", MatchType::Fnmatch);
        publish(&mut listener, &["a/1", "b/1", "c/2", "a/2", "end"]);
        assert_eq!(client.tag("end"), "end");
        // Kept events come first, in order, whichever tag they were kept for.
        publish(&mut listener, &["a/3"]);
        assert_eq!(client.tag_now("c/").as_deref(), Some("c/2"));
        assert_eq!(client.tag_now("").as_deref(), Some("a/1"));
        assert_eq!(client.tag_now("a").as_deref(), Some("a/2"));
        assert_eq!(client.tag_now("a").as_deref(), Some("a/3"));
        assert_eq!(client.tag_now(""), None);
        assert_eq!(client.take_gap(), None);
    });
}

#[test]
fn unsubscribing_discards_what_no_other_subscription_keeps() {
    with_both(|connect| {
        let bus = Bus::start();
        let mut client = connect(builder(&bus.dir())).unwrap();
        client.subscribe("a/", None);
        client.subscribe("a/", None);
        client.subscribe("1", MatchType::Endswith);
        let mut listener = bus.listener();
        publish(&mut listener, &["a/1", "a/2", "b/1", "end"]);
        assert_eq!(client.tag("end"), "end");
        client.unsubscribe("a/", MatchType::Regex);
        client.unsubscribe("a/", None);
        assert_eq!(client.tag_now("a/2").as_deref(), Some("a/2"));
        client.unsubscribe("a/", None);
        client.unsubscribe("a/", None);
        assert_eq!(client.tag_now("").as_deref(), Some("a/1"));
        client.unsubscribe("1", MatchType::Endswith);
        assert_eq!(client.tag_now(""), None);
    });
}

#[test]
fn too_many_kept_events_push_the_oldest_out_and_that_is_told() {
    with_both(|connect| {
        for limit in [(2, usize::MAX), (usize::MAX, 50)] {
            let bus = Bus::start();
            let builder = builder(&bus.dir()).pending_limit(limit.0, limit.1);
            let mut client = connect(builder).unwrap();
            client.subscribe("k/", None);
            // Frames of 21 bytes and tags of 3 are kept.
            publish(&mut bus.listener(), &["k/1", "k/2", "k/3", "k/4", "end"]);
            assert_eq!(client.tag("end"), "end");
            let gap = client.take_gap().expect("two were dropped");
            assert_eq!((gap.pending_dropped, gap.connections_lost), (2, 0));
            assert_eq!(client.tag_now("k").as_deref(), Some("k/3"));
            assert_eq!(client.tag_now("k").as_deref(), Some("k/4"));
            assert_eq!(client.tag_now("k"), None);
        }
    });
}

#[test]
fn an_iteration_gives_what_is_kept_and_then_what_comes() {
    with_both(|connect| {
        let bus = Bus::start();
        let mut client = connect(builder(&bus.dir())).unwrap();
        client.subscribe("a/", None);
        let mut listener = bus.listener();
        publish(&mut listener, &["a/1", "end", "b", "a/2"]);
        assert_eq!(client.tag("end"), "end");
        let tags: Vec<String> = client
            .take("a/", 2)
            .into_iter()
            .map(|incoming| incoming.unwrap().into_event().unwrap().tag().to_owned())
            .collect();
        assert_eq!(tags, ["a/1", "a/2"]);
    });
}

#[test]
fn a_bad_pattern_is_an_error_and_ends_an_iteration() {
    with_both(|connect| {
        let bus = Bus::start();
        let builder = builder(&bus.dir()).match_type(MatchType::Regex);
        let mut client = connect(builder).unwrap();
        let error = client.get_event("(").unwrap_err();
        assert!(matches!(error, Error::Pattern { .. }), "{error}");
        assert!(matches!(
            client.take("(", 9)[..],
            [Err(Error::Pattern { .. })]
        ));
    });
}

#[test]
fn a_blocking_client_works_in_an_asynchronous_task() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let bus = Bus::start();
        let mut client = evbus_client::blocking::Client::connect(bus.dir()).unwrap();
        publish(&mut bus.listener(), &["a"]);
        let event = client.get_event(GetEvent::new().no_block()).unwrap();
        assert_eq!(event.unwrap().tag(), "a");
    });
}
