//! Firing: from every release to every release, to the host's destinations, and in large numbers.

use serde_json::json;

use super::bus::Bus;
use super::python::Python;
use super::without_stamp;

#[test]
fn every_release_hears_every_release_and_so_do_the_destinations() {
    let bus = Bus::start();
    let mut all = bus.listeners();
    let releases = xtask::salt::RELEASES;
    let mut fired = Vec::new();
    for python in &mut all {
        let release = python.release;
        python.run(&format!("data = {{'from': {release:?}, 'text': 'Grüße'}}"));
        assert_eq!(
            python.run("event.fire_event(data, 'from/' + data['from'])"),
            true
        );
        // fire_event writes the time into the data.
        fired.push(python.run("data"));
    }
    for python in &mut all {
        // The order depends on which of the three connections was read first.
        python.run("heard = [event.get_event(wait=30, full=True) for _ in range(3)]");
        python.run("heard.sort(key=lambda event: event['tag'])");
        for (index, from) in releases.iter().enumerate() {
            let heard = python.run(&format!("heard[{index}]"));
            let expected = json!({"tag": format!("from/{from}"), "data": fired[index]});
            assert_eq!(heard, expected, "{} hears {from}", python.release);
        }
    }
    let mut delivered = bus.delivered(3);
    delivered.sort_by_key(|line| line["profile"].to_string());
    for (index, from) in releases.iter().enumerate() {
        let expected = json!({"profile": format!("from/{from}"), "body": fired[index]});
        assert_eq!(delivered[index], expected);
    }
}

#[test]
fn what_salt_refuses_is_not_fired_and_the_next_event_is() {
    let bus = Bus::start();
    let mut all = bus.listeners();
    for python in &mut all {
        let error = python.fails("event.fire_event({}, '')");
        assert_eq!(error, "ValueError: Empty tag.");
        let error = python.fails("event.fire_event('text', 'tag')");
        assert_eq!(error, "ValueError: Dict object expected, not 'text'.");
        assert_eq!(python.run("event.fire_event({}, 'good')"), true);
    }
    let bodies = bus.delivered(3);
    assert!(
        bodies.iter().all(|line| line["profile"] == "good"),
        "{bodies:?}"
    );
}

#[test]
fn fire_master_and_namespaces_arrive_as_the_events_they_are() {
    let bus = Bus::start();
    let mut all = bus.listeners();
    let [python, ..] = &mut all;
    python.run("event.fire_master({'n': 1}, 'to/the/master')");
    python.run("salt.utils.event.NamespacedEvent(event, 'salt/cloud').fire_event({'n': 2}, 'web')");
    let expected = json!({
        "tag": "to/the/master", "data": {"n": 1}, "events": null, "pretag": null
    });
    for python in &mut all {
        let data = python.run("event.get_event(wait=30, tag='fire_master')");
        assert_eq!(without_stamp(data), expected, "{}", python.release);
        let data = python.run("event.get_event(wait=30, tag='salt/cloud/web')");
        assert_eq!(without_stamp(data), json!({"n": 2}), "{}", python.release);
    }
}

#[test]
fn a_thousand_events_reach_ten_listeners_in_order_and_none_is_lost() {
    const EVENTS: usize = 1000;
    let bus = Bus::start();
    let mut all = bus.pythons();
    // Ten listeners in the three releases together; each must receive everything.
    for (python, listeners) in all.iter_mut().zip([4, 3, 3]) {
        python.run(&format!(
            "events = [salt.utils.event.MasterEvent(SOCK_DIR) for _ in range({listeners})]"
        ));
        python.run("firing = salt.utils.event.MasterEvent(SOCK_DIR, listen=False)");
        python.run(concat!(
            "def hear(count):\n",
            "    return [[event.get_event(wait=60)['n'] for _ in range(count)] for event in events]\n",
            "def fire(count):\n",
            "    return all(firing.fire_event({'n': n}, 'many') for n in range(count))\n",
        ));
    }
    let [first, second, third] = &mut all;
    // Two listen while one fires, which then reads the events that wait for it.
    let round = |firing: &mut Python, others: [&mut Python; 2]| {
        let release = firing.release;
        let [one, two] = others;
        for python in [&mut *one, &mut *two] {
            python.begin(&format!("hear({EVENTS})"));
        }
        assert_eq!(
            firing.run(&format!("fire({EVENTS})")),
            true,
            "{release} fires"
        );
        firing.begin(&format!("hear({EVENTS})"));
        let in_order: Vec<usize> = (0..EVENTS).collect();
        for python in [one, two, firing] {
            let heard = python.finish();
            for numbers in heard.as_array().unwrap() {
                assert_eq!(
                    *numbers,
                    json!(in_order),
                    "{} hears {release}",
                    python.release
                );
            }
        }
    };
    round(first, [second, third]);
    round(second, [first, third]);
    round(third, [first, second]);
    let status = bus.host.status();
    assert_eq!(status["host"]["listeners"]["cut_off"], json!(0), "{status}");
}
