//! A separate network for one test, in which the addresses of the documentation are free.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use evbus_testkit::built_all;
use xtask::brokers::Kafka;

/// Tells the test that it runs in the namespaces.
const INSIDE: &str = "EVBUS_TEST_OWN_NETWORK";

/// The names that the host resolves there, including the second server of the documentation.
const HOSTS: &str = "127.0.0.1 localhost\n127.0.0.2 my_server\n";

/// Prepares the namespaces, then becomes the test.
const SCRIPT: &str = r#"set -e; ip link set lo up; mount --bind "$1" /etc/hosts; shift; exec "$@""#;

/// Where a test's servers run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// In the test's own network, at the addresses of the documentation.
    Own,
    /// In the shared network, at free ports, because the system does not permit namespaces.
    Shared,
}

impl Network {
    /// The example unchanged in the test's own network; otherwise with the addresses replaced.
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

/// Runs a test in its own network and mount namespaces; `test` is its name in this test program. Root may create
/// namespaces, and so may everybody if user namespaces are permitted. If the system refuses both, as containers often
/// do, the test runs here, prints that, and its servers use other ports.
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
    // The test inside has no network, so everything that it needs is downloaded here.
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
    // Without this, the filter might have matched no test.
    let passed = output.status.success() && stdout.contains("test result: ok. 1 passed");
    assert!(passed, "{}\n{stdout}\n{stderr}", output.status);
}

/// The command that runs a program in prepared namespaces, with the options permitted to this user.
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
