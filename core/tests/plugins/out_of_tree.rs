//! A plugin by somebody who has nothing but the SDK and `docs/PLUGIN_AUTHORS.md`.
//!
//! The files shown there become a crate outside of the workspace; nothing in them is replaced but
//! the path of the SDK. It is built by a cargo run of its own, into another target directory, at other
//! optimization levels and with other features than the host, and then meets two hosts.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{PATIENCE, RunningHost, evbus, wait_for};
use evbus_testkit::plugin_dir;
use serde_json::Value;
use tempfile::TempDir;

const HOST: &str = env!("CARGO_BIN_EXE_evbus");

#[test]
fn a_plugin_made_by_the_book_serves_a_running_host_and_one_that_was_rebuilt() {
    let library = build_the_provider();
    let (address, received) = receiver();
    let acct = format!("tcp-lines:\n  idem-*:\n    address: {address}\n    token: correct horse\n");
    let plugins = plugin_dir(&["plugin-glob"]);
    let host = RunningHost::start(&acct, plugins.path(), &[]);
    host.wait_for_log("no plugin serves provider tcp-lines of the acct file");
    host.put("idem-run", "\"before\"");

    install(&library, plugins.path());
    // Until the host notices the file by itself, events have no destination.
    let first = wait_for("an event to arrive", || {
        host.put("idem-run", "\"probe\"");
        received.recv_timeout(Duration::from_millis(50)).ok()
    });
    assert_eq!(first, "\"probe\"", "what was fired before went nowhere");
    host.put("idem-run", "\"after\"");
    assert!(arrives(&received, "\"after\""));
    let (status, log) = host.stop();
    assert_eq!(status.code(), Some(0), "{log}");

    // A host that was compiled again with other settings, and the same plugin file. The command succeeds only when the
    // destination has acknowledged.
    let rebuilt = build_another_host();
    let bytes = |path: &Path| fs::read(path).expect("a built host can be read");
    assert_ne!(bytes(&rebuilt), bytes(Path::new(HOST)));
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let acct_file = home.path().join("acct.yml");
    fs::write(&acct_file, acct).expect("it belongs to the test");
    succeed(
        Command::new(&rebuilt)
            .env("HOME", home.path())
            .env_remove("EVBUS_PLUGIN_PATH")
            .env_remove("XDG_DATA_HOME")
            .args(["put", "idem-run", "\"rebuilt\"", "--raw", "--acct-file"])
            .arg(&acct_file)
            .arg("--plugin-dir")
            .arg(plugins.path()),
    );
    assert!(arrives(&received, "\"rebuilt\""));
}

#[test]
fn the_match_plugin_of_the_book_is_one() {
    let shown = inspected("prefix", "matcher/src/lib.rs");
    assert_eq!(shown["matchers"], serde_json::json!(["prefix"]));
}

#[test]
fn the_book_s_provider_with_templates_says_which_keys_they_are() {
    let shown = inspected("channels", "templates/src/lib.rs");
    let schema = shown.to_string();
    assert!(schema.contains(r#""x-default":"profile""#), "{schema}");
    assert!(schema.contains(r#""x-template":true"#), "{schema}");
}

/// What the host finds out about a documented plugin, which is built for it.
fn inspected(name: &str, file: &str) -> Value {
    let package = OutOfTree::new(&format!("evbus-{name}"));
    package.write("src/lib.rs", &documented(file));
    package.cargo("build");
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let library = format!("libevbus_{name}.so");
    install(&out_of_tree().join("debug").join(&library), dir.path());
    let inspected = evbus(dir.path())
        .args(["plugins", "inspect", "--json"])
        .arg(dir.path().join(library))
        .output()
        .expect("the host can be started");
    let said = String::from_utf8_lossy(&inspected.stderr);
    assert!(inspected.status.success(), "{said}");
    serde_json::from_slice(&inspected.stdout).expect("--json prints JSON")
}

/// Puts a plugin where a host finds it, as the document says.
fn install(library: &Path, dir: &Path) {
    succeed(
        evbus(dir)
            .args(["plugins", "install"])
            .arg(library)
            .arg("--plugin-dir")
            .arg(dir),
    );
}

/// Tests and builds the documented provider; returns its shared library.
fn build_the_provider() -> PathBuf {
    let package = OutOfTree::new("evbus-tcp-lines");
    package.write("src/lib.rs", &documented("src/lib.rs"));
    package.write("src/tests.rs", &documented("src/tests.rs"));
    package.cargo("test");
    package.cargo("build");
    out_of_tree().join("debug/libevbus_tcp_lines.so")
}

/// The code block of a file in the document.
fn documented(file: &str) -> String {
    let document = fs::read_to_string(workspace().join("docs/PLUGIN_AUTHORS.md"))
        .expect("the document can be read");
    let marker = format!("<!-- file: {file} -->\n```");
    let (_, block) = document
        .split_once(&marker)
        .unwrap_or_else(|| panic!("the document shows no {file}"));
    let (_, block) = block.split_once('\n').expect("a code block has lines");
    let (text, _) = block.split_once("\n```").expect("a code block ends");
    format!("{text}\n")
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the host's crate lies in the workspace")
        .to_owned()
}

/// The target directory and the profile of this build, from the path of its host: `TARGET/PROFILE/evbus`.
fn this_build() -> (PathBuf, &'static str) {
    let profile = Path::new(HOST).parent().expect("it lies in a directory");
    let target = profile.parent().expect("it lies in a target directory");
    let is_dev = profile.file_name() == Some(OsStr::new("debug"));
    (target.to_owned(), if is_dev { "dev" } else { "release" })
}

/// Where crates outside of the workspace are built. It is kept, so that only the first run compiles their
/// dependencies.
fn out_of_tree() -> PathBuf {
    this_build().0.join("out-of-tree")
}

/// A crate in a temporary directory, with the documented manifest.
struct OutOfTree(TempDir);

impl OutOfTree {
    fn new(name: &str) -> Self {
        let package = Self(tempfile::tempdir().expect("a temporary directory can be made"));
        let manifest = documented("Cargo.toml");
        let evbus = format!("path = \"{}/", workspace().display());
        assert!(manifest.contains("path = \"../evbus/plugins/sdk\""));
        let manifest = manifest
            .replace("evbus-tcp-lines", name)
            .replace("path = \"../evbus/", &evbus);
        package.write("Cargo.toml", &manifest);
        package.write("src/lib.rs", "");
        // The versions that the workspace is tested with, which are available without a network.
        let lock = fs::read_to_string(workspace().join("Cargo.lock"));
        package.write("Cargo.lock", &lock.expect("the workspace has a lock file"));
        // Every run uses a new directory and would leave a copy of the crate's output.
        package.run(&["clean", "--package", name]);
        package
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.0.path().join(file);
        let parent = path.parent().expect("it is below the directory");
        fs::create_dir_all(parent).expect("it belongs to the test");
        fs::write(path, text).expect("it belongs to the test");
    }

    fn cargo(&self, command: &str) {
        self.run(&[command]);
    }

    fn run(&self, arguments: &[&str]) {
        let mut cargo = cargo();
        cargo
            .current_dir(&self.0)
            .args(arguments)
            .args(["--offline", "--target-dir"])
            .arg(out_of_tree());
        succeed(&mut cargo);
    }
}

/// Builds the host a second time: the same sources, but another optimization level of the host and the contract;
/// everything else is shared with this build. Only the finished file goes elsewhere.
fn build_another_host() -> PathBuf {
    let (target, profile) = this_build();
    let mut cargo = cargo();
    cargo
        .current_dir(workspace())
        .args(["build", "--offline", "--workspace", "--bin", "evbus"])
        .args(["--profile", profile])
        .arg("--target-dir")
        .arg(out_of_tree().join("host"))
        .arg("--config")
        .arg(format!(
            "build.build-dir={:?}",
            target.display().to_string()
        ));
    for package in ["evbus", "evbus-abi"] {
        let level = format!("profile.{profile}.package.{package}.opt-level=1");
        cargo.arg("--config").arg(level);
    }
    succeed(&mut cargo);
    let profile_dir = Path::new(HOST).parent().and_then(Path::file_name);
    out_of_tree()
        .join("host")
        .join(profile_dir.expect("a host lies in its profile's directory"))
        .join("evbus")
}

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Build scripts that watch these variables would run again needlessly.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&*name);
        }
    }
    cargo
}

fn succeed(command: &mut Command) {
    let output = command.output().expect("the command can be started");
    assert!(
        output.status.success(),
        "{command:?}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A receiver for the documented provider on a free port; returns its address, and the bodies of the events that it
/// receives.
fn receiver() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let (bodies, received) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let bodies = bodies.clone();
            thread::spawn(move || {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                // A client without the token gets no answer, and no event is received.
                if lines.next().as_deref() != Some("correct horse") {
                    return;
                }
                let ok = || (&stream).write_all(b"ok\n").is_ok();
                let mut going = ok();
                while going && let Some(line) = lines.next() {
                    let body = line.strip_prefix("idem-run\t").unwrap_or("another profile");
                    // The test may have ended.
                    let _ = bodies.send(body.to_owned());
                    going = ok();
                }
            });
        }
    });
    (address, received)
}

/// Whether a body arrives, possibly after others.
fn arrives(received: &mpsc::Receiver<String>, body: &str) -> bool {
    let start = Instant::now();
    loop {
        match received.recv_timeout(PATIENCE.saturating_sub(start.elapsed())) {
            Ok(got) if got == body => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}
