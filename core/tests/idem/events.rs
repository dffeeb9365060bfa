//! Idem's events as types, schemas and checks: every message format of its documentation, and what a
//! real run fired.
mod constructed;
mod formats;

use evbus::idem::{
    Checked, Checker, ChunkEvent, Documented, ErrorEvent, EsmEvent, ExecEvent, HighEvent,
    LoggerEvent, LowEvent, RunEvent, StateEvent, StatePostEvent, StatePreEvent, Status,
    StatusEvent, UnwrappedLoggerEvent,
};
use formats::{described, documented, filled};
use serde_json::{Value, json};

const REAL: &str = include_str!("../../../plugins/testkit/fixtures/idem-events.jsonl");

/// Parses a body as a type; returns what the type serializes to, and the body of its event.
macro_rules! both_ways {
    ($type:ty, $body:expr) => {{
        let typed: $type = serde_json::from_value($body.clone()).unwrap_or_else(|error| {
            panic!("{} does not read {}: {error}", stringify!($type), $body)
        });
        let event = typed.event().unwrap();
        assert_eq!(event.profile(), <$type>::PROFILE);
        [
            serde_json::to_value(&typed).unwrap(),
            serde_json::from_slice(event.body()).unwrap(),
        ]
    }};
}

/// Converts to the type of the profile and back; `None` if the profile has no type.
fn through_types(profile: &str, body: &Value) -> Option<[Value; 2]> {
    Some(match (profile, body["tags"]["type"].as_str()) {
        ("idem-status", _) => both_ways!(StatusEvent, body),
        ("idem-low", _) => both_ways!(LowEvent, body),
        ("idem-high", _) => both_ways!(HighEvent, body),
        ("idem-state", Some("state-pre")) => both_ways!(StatePreEvent, body),
        ("idem-state", _) => both_ways!(StatePostEvent, body),
        ("idem-chunk", _) => both_ways!(ChunkEvent, body),
        ("idem-run", _) => both_ways!(RunEvent, body),
        ("idem-exec", _) => both_ways!(ExecEvent, body),
        ("idem-esm", _) => both_ways!(EsmEvent, body),
        ("idem-logger", _) => both_ways!(LoggerEvent, body),
        ("logger", _) => {
            let typed: UnwrappedLoggerEvent = serde_json::from_value(body.clone()).unwrap();
            [
                serde_json::to_value(&typed).unwrap(),
                serde_json::to_value(&typed).unwrap(),
            ]
        }
        _ => return None,
    })
}

#[track_caller]
fn faults(checker: &Checker, profile: &str, body: &Value) -> Vec<(String, String)> {
    let Checked::Documented(faults) = checker.check(profile, body) else {
        panic!("{profile} is documented");
    };
    let mut faults: Vec<_> = faults
        .into_iter()
        .map(|fault| (fault.pointer, fault.expected))
        .collect();
    faults.sort();
    faults
}

#[test]
fn every_documented_format_goes_through_its_type_and_keeps_to_its_schema() {
    let checker = Checker::new();
    let mut profiles = Vec::new();
    for (profile, body) in filled() {
        profiles.push(profile);
        for written in through_types(profile, &body).unwrap() {
            assert_eq!(written, body, "{profile}");
        }
        assert_eq!(faults(&checker, profile, &body), [], "{profile}");
    }
    assert_eq!(
        profiles,
        [
            "idem-status",
            "idem-low",
            "idem-high",
            "idem-state",
            "idem-state",
            "idem-chunk",
            "idem-run",
            "idem-exec",
            "idem-logger",
        ]
    );
}

#[test]
fn where_the_documentation_describes_a_value_the_description_itself_is_a_fault() {
    let checker = Checker::new();
    for (profile, body) in documented() {
        let found: Vec<String> = faults(&checker, profile, &body)
            .into_iter()
            .map(|(pointer, _)| pointer)
            .collect();
        assert_eq!(found, described(profile), "{profile}");
    }
}

#[test]
fn every_documented_status_is_one() {
    let (_, body) = documented().swap_remove(0);
    let names: Vec<&str> = body["message"].as_str().unwrap().split('/').collect();
    assert_eq!(names, Status::ALL.map(Status::as_str));
    for (name, status) in names.into_iter().zip(Status::ALL) {
        let body: Value =
            serde_json::from_slice(StatusEvent::from(status).event().unwrap().body()).unwrap();
        assert_eq!(body["message"], name);
        assert_eq!(
            serde_json::from_value::<StatusEvent>(body).unwrap().message,
            status
        );
    }
}

#[test]
fn every_event_of_a_real_run_goes_through_its_type_and_keeps_to_its_schema() {
    let checker = Checker::new();
    let mut free = 0;
    for line in REAL.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let (profile, body) = (event["profile"].as_str().unwrap(), &event["body"]);
        if let Some(written) = through_types(profile, body) {
            assert_eq!(written, [body.clone(), body.clone()], "{line}");
            assert_eq!(faults(&checker, profile, body), [], "{line}");
        } else {
            free += 1;
            assert_eq!(checker.check(profile, body), Checked::Undocumented);
        }
    }
    // `default` and `idem-custom`, whose bodies may be anything.
    assert_eq!(free, 2);
}

#[test]
fn the_constructors_make_what_the_documentation_shows() {
    let made = [
        constructed::status(),
        constructed::low(),
        constructed::high(),
        constructed::pre(),
        constructed::post(),
        constructed::chunk(),
        constructed::run(),
        constructed::exec(),
        constructed::logger(),
    ];
    for ((profile, expected), event) in filled().into_iter().zip(made) {
        let event = event.unwrap();
        let body: Value = serde_json::from_slice(event.body()).unwrap();
        assert_eq!((event.profile(), body), (profile, expected));
    }
}

#[test]
fn the_constructors_make_what_idem_fires_undocumented() {
    let esm = EsmEvent::new([2, 0, 0])
        .run_name("goldrun")
        .event()
        .unwrap();
    let real = REAL.lines().find(|line| line.contains("idem-esm")).unwrap();
    let real: Value = serde_json::from_str(real).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(esm.body()).unwrap(),
        real["body"]
    );
    // String tags are also passed beside the body.
    let attributes: Vec<_> = esm.attributes().collect();
    assert_eq!(
        attributes,
        [
            ("ref", "idem.state.update-status"),
            ("type", "esm-metadata")
        ]
    );
}

#[test]
fn listeners_read_either_event_of_idem_state_and_error_events() {
    let mut seen = [0, 0];
    for line in REAL.lines().filter(|line| line.contains("\"idem-state\"")) {
        let event: Value = serde_json::from_str(line).unwrap();
        match serde_json::from_value(event["body"].clone()).unwrap() {
            StateEvent::Pre(_) => seen[0] += 1,
            StateEvent::Post(_) => seen[1] += 1,
        }
    }
    assert_eq!(seen, [3, 3]);
    let lost = json!({
        "tags": {"ref": "idem.event.publish_error_callback_handler", "plugin": "kafka", "type": "x"},
        "run_name": "nightly",
        "publish_event_error_message": "rejected: too large",
    });
    let typed: ErrorEvent = serde_json::from_value(lost.clone()).unwrap();
    assert_eq!(serde_json::to_value(typed).unwrap(), lost);
}
