//! The profiles `idem-*` and those after it, at a real plugin named `my_provider`.

use std::collections::BTreeSet;
use std::process::Command;

use evbus::idem::{Checked, Checker};
use evbus_testkit::{TestEvent, idem_events, plugin_dir};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::document::{formats, routes, with_acct};
use crate::support::{RunningHost, lines_of, stderr, wait_for};

/// Every profile that the page has a section for.
const PROFILES: [&str; 8] = [
    "idem-status",
    "idem-low",
    "idem-high",
    "idem-state",
    "idem-chunk",
    "idem-run",
    "idem-exec",
    "idem-logger",
];

/// Similar names without a section.
const OTHERS: [&str; 7] = [
    "idem",
    "idem-",
    "idem---",
    "idem-custom",
    "IDEM-STATUS",
    "idem-status-2",
    "my-idem-run",
];

/// "Create a profile called idem-* to receive ALL events from idem."
const ALL: &str = "\
my_provider:
  idem-*:
    provider_connection_data:
";

/// The examples from `idem-status` to `idem-logger` differ only in the profile.
fn example(profile: &str) -> String {
    format!(
        "\
my_provider:
  {profile}:
    provider_connection_data:
"
    )
}

fn plugins() -> TempDir {
    plugin_dir(&["plugin-glob", "plugin-regex", "fixture-my-provider"])
}

/// A host with an example as its acct file, and what its `my_provider` gets.
struct Example {
    host: RunningHost,
    _plugins: TempDir,
}

impl Example {
    fn start(acct: &str, more: &[&str]) -> Self {
        let plugins = plugins();
        let dir = tempfile::tempdir().unwrap();
        let mut launcher = Command::new("env");
        launcher.env("MY_PROVIDER_FILE", dir.path().join("events.jsonl"));
        let host = RunningHost::start_through(launcher, dir, acct, plugins.path(), more);
        Self {
            host,
            _plugins: plugins,
        }
    }

    /// The received events as (profile, body), in the order in which they were fired. Ends the host first, so nothing
    /// arrives later.
    fn got(self) -> Vec<(String, Value)> {
        let (code, log, dir) = self.host.stop_and_keep();
        assert_eq!(code.code(), Some(0), "{log}");
        let lines = lines_of(&dir.path().join("events.jsonl"));
        lines.iter().map(event).collect()
    }
}

/// An event as the fixture writes it.
fn event(line: &Value) -> (String, Value) {
    assert_eq!(line["provider_connection_data"], Value::Null);
    let body = serde_json::from_str(line["body"].as_str().unwrap()).unwrap();
    (line["profile"].as_str().unwrap().to_owned(), body)
}

/// Events that a real run of Idem fired, the message formats of the page, and events of similar profiles.
fn events() -> Vec<(String, Value)> {
    let real = idem_events();
    let real = real
        .iter()
        .map(|event: &TestEvent| (event.profile().to_owned(), event.body_json()));
    let documented = formats::documented();
    let documented = documented
        .into_iter()
        .map(|(profile, body)| (profile.to_owned(), body));
    let others = OTHERS.map(|profile| (profile.to_owned(), json!({"message": profile})));
    let events: Vec<_> = real.chain(documented).chain(others).collect();
    let names: BTreeSet<&str> = events.iter().map(|(profile, _)| &**profile).collect();
    assert!(PROFILES.iter().all(|profile| names.contains(profile)));
    events
}

/// Fires all events into a host with this acct file, and asserts that `my_provider` gets exactly those that are
/// wanted, in order.
#[track_caller]
fn gets(acct: &str, wanted: impl Fn(&str) -> bool) {
    let example = Example::start(acct, &[]);
    let events = events();
    let line = |(profile, body): &(String, Value)| {
        format!("{}\n", json!({"profile": profile, "body": body}))
    };
    example
        .host
        .put_events(&events.iter().map(line).collect::<String>());
    let (wanted, others): (Vec<_>, Vec<_>) =
        events.into_iter().partition(|(profile, _)| wanted(profile));
    assert!(!wanted.is_empty() && !others.is_empty());
    assert_eq!(example.got(), wanted, "{acct}");
}

#[test]
fn the_profile_idem_star_receives_all_events_from_idem() {
    gets(ALL, |profile| profile.starts_with("idem-"));
}

#[test]
fn with_match_plugin_glob_idem_star_is_all_events_from_idem() {
    let acct = format!("match_plugin: glob\n{ALL}");
    gets(&acct, |profile| profile.starts_with("idem-"));
}

/// As a regular expression, `idem-*` is "idem" and any number of hyphens.
#[test]
fn with_match_plugin_regex_idem_star_is_idem_and_hyphens() {
    let acct = format!("match_plugin: regex\n{ALL}");
    gets(&acct, |profile| {
        ["idem", "idem-", "idem---"].contains(&profile)
    });
}

/// The page writes both on one line, which is not the name of a match plugin.
#[test]
fn match_plugin_is_one_of_both_and_the_error_for_the_line_as_it_stands_says_so() {
    let acct = format!("match_plugin: glob|regex\n{ALL}");
    let checked = with_acct(&["check"], &acct, plugins().path(), &[]);
    assert_eq!(checked.status.code(), Some(78));
    let said = stderr(&checked);
    assert!(
        said.contains(
            "acct.yml:1:1: match_plugin: no loaded plugin provides match plugin \"glob|regex\"; expected one of: glob, regex"
        ),
        "{said}"
    );
}

/// A test for the example of each profile.
macro_rules! examples {
    ($($test:ident: $profile:literal)*) => {
        $(
            #[test]
            fn $test() {
                gets(&example($profile), |profile| profile == $profile);
            }
        )*

        #[test]
        fn no_profile_of_the_page_is_left_out() {
            assert_eq!([$($profile),*], PROFILES);
        }
    };
}

examples! {
    the_profile_idem_status_receives_the_status_of_runs_alone: "idem-status"
    the_profile_idem_low_receives_low_data_alone: "idem-low"
    the_profile_idem_high_receives_high_data_alone: "idem-high"
    the_profile_idem_state_receives_what_is_before_and_after_states_alone: "idem-state"
    the_profile_idem_chunk_receives_compiled_states_alone: "idem-chunk"
    the_profile_idem_run_receives_the_output_of_states_alone: "idem-run"
    the_profile_idem_exec_receives_returns_of_exec_modules_alone: "idem-exec"
    the_profile_idem_logger_receives_log_messages_alone: "idem-logger"
}

/// "be sure to specify --log-plugin=event": `idem state state.sls --log-level=debug
/// --log-plugin=event` has the options of `evbus run`.
#[test]
fn the_profile_idem_logger_receives_the_log_where_log_plugin_is_event() {
    let options = ["--log-level=debug", "--log-plugin=event"];
    // At the level debug, a host also logs that it probes a new plugin.
    let example = Example::start(&self::example("idem-logger"), &options);
    let file = example.host.path("events.jsonl");
    wait_for("a message", || lines_of(&file).pop());
    let got = example.got();
    let checker = Checker::new();
    for (profile, body) in &got {
        assert_eq!(profile, "idem-logger");
        let found = checker.check(profile, body);
        assert_eq!(found, Checked::Documented(Vec::new()), "{body}");
    }
    let levels: BTreeSet<&str> = got
        .iter()
        .map(|(_, body)| body["tags"]["level"].as_str().unwrap())
        .collect();
    assert!(
        levels.contains("DEBUG") && levels.contains("INFO"),
        "{levels:?}"
    );

    let silent = Example::start(&self::example("idem-logger"), &["--log-level=debug"]);
    assert_eq!(silent.got(), []);
}

#[test]
fn where_no_plugin_serves_the_provider_the_file_is_well_and_check_says_that_it_waits() {
    let plugins = plugin_dir(&["plugin-glob"]);
    let checked = with_acct(&["check"], ALL, plugins.path(), &[]);
    let said = stderr(&checked);
    assert_eq!(checked.status.code(), Some(0), "{said}");
    assert!(
        said.contains("note: provider my_provider: no plugin serves it"),
        "{said}"
    );
    assert_eq!(routes(ALL, plugins.path(), "idem-status"), json!([]));

    // A host runs with it, and events have no destination.
    let host = RunningHost::start(ALL, plugins.path(), &[]);
    host.wait_for_log("no plugin serves provider my_provider of the acct file");
    host.put("idem-status", "\"FINISHED\"");
    let (code, log) = host.stop();
    assert_eq!(code.code(), Some(0), "{log}");
    assert!(!log.contains("ERROR"), "{log}");
}
