//! A network of one test's own, in which the addresses of the documentation are free.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use evbus_testkit::built_all;
use xtask::brokers::Kafka;

/// Tells the test in the namespaces that it is there.
const INSIDE: &str = "EVBUS_TEST_OWN_NETWORK";

/// What every host can resolve there, and the second server of the documentation.
const HOSTS: &str = "127.0.0.1 localhost\n127.0.0.2 my_server\n";

/// Readies the namespaces, then becomes the test.
const SCRIPT: &str = r#"set -e; ip link set lo up; mount --bind "$1" /etc/hosts; shift; exec "$@""#;

/// Where a test's servers can be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// A network of its own: the servers are where the documentation has them.
    Own,
    /// The system lets nobody make networks, so that the servers are wherever there is room.
    Shared,
}

impl Network {
    /// The example as it is, in a network of its own; with other addresses where there is none.
    pub(crate) fn acct(self, example: &str, replaced: &[(&str, String)]) -> String {
        if self == Self::Own {
            return example.to_owned();
        }
        replaced
            .iter()
            .fold(example.to_owned(), |text, (from, to)| {
                assert!(text.contains(from), "{from}");
                text.replace(from, to)
            })
    }
}

/// Runs a test in network and mount namespaces of its own, by the name that this executable knows it
/// by. Root may make namespaces, and so may everybody where user namespaces are permitted. Where the
/// system refuses both (containers often do), the test runs here, says so, and its servers have other
/// ports.
pub(crate) fn in_own_network(test: &str, body: fn(Network)) {
    if env::var_os(INSIDE).is_some() {
        return body(Network::Own);
    }
    let dir = tempfile::tempdir().unwrap();
    let hosts = dir.path().join("hosts");
    fs::write(&hosts, HOSTS).unwrap();
    let Some(mut inside) = inside(&hosts) else {
        eprintln!("{test}: found no way to make a network namespace; other ports are used");
        return body(Network::Shared);
    };
    // There is no way out of there: what has to be fetched is fetched here.
    built_all(super::event_profiles::PLUGINS);
    Kafka::prepare().expect("Kafka can be fetched");
    let output = inside
        .arg(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    // The second finds names that no test has.
    let passed = output.status.success() && stdout.contains("test result: ok. 1 passed");
    assert!(passed, "{}\n{stdout}\n{stderr}", output.status);
}

/// What runs a program in namespaces that are ready, with the options that the system lets this user have.
fn inside(hosts: &Path) -> Option<Command> {
    let ways: [&[&str]; 2] = [
        &["--net", "--mount"],
        &["--user", "--map-root-user", "--net", "--mount"],
    ];
    ways.into_iter().find_map(|options| {
        let command = || {
            let mut command = Command::new("unshare");
            command.args(options).args(["--", "sh", "-c", SCRIPT, "sh"]);
            command.arg(hosts);
            command
        };
        let tried = command().arg("true").stderr(Stdio::null()).status();
        tried
            .expect("unshare is part of every system")
            .success()
            .then(command)
    })
}
