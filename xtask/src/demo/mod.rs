//! `cargo xtask demo`: the whole way of real events, from a program that fires to what every
//! destination received.
//!
//! It builds the host and three plugins, starts the host in a private directory, fires what a real
//! Idem run fired, shows what arrives while it arrives, and compares. All processes and files belong
//! to a keeper that ends and removes them however this program ends.

mod destination;
mod event;
mod host;
mod show;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use xtask::brokers::Keeper;

use crate::cargo::{self, Built};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::{stage, workspace};
use destination::Destination;
use event::Event;
use host::Host;
use show::Screen;

const PLUGINS: [&str; 3] = ["plugin-file", "plugin-glob", "plugin-regex"];

/// What is built: all that needs neither `CMake` nor a C++ compiler and is not only for tests, with the features of the
/// whole workspace, so that the tests do not compile any crate again.
const BUILD: [&str; 10] = [
    "--workspace",
    "--exclude",
    "plugin-kafka",
    "--exclude",
    "fixture-*",
    "--exclude",
    "evbus-fuzz",
    "--lib",
    "--bin",
    "evbus",
];
const EVENTS: &str = "plugins/testkit/fixtures/idem-events.jsonl";
const ACCT_FILE: &str = "docs/examples/demo-acct.yml";
const PLACEHOLDER: &str = "DEMO_DIR";

const BUILD_LIMIT: Duration = Duration::from_mins(30);
const PUT_LIMIT: Duration = Duration::from_mins(1);
const ARRIVAL_LIMIT: Duration = Duration::from_secs(30);

/// The longest path of a socket, without the NUL at its end.
const SOCKET_PATH_BYTES: usize = 107;

/// Runs the demo.
///
/// # Errors
///
/// When an event did not arrive where it should, or arrived where it should not, and when something
/// could not be built or started within its time limit.
pub(crate) fn run() -> Result<(), Failure> {
    let interrupt = Interrupt::watch()?;
    let screen = Screen::open();
    let root = workspace::root();
    let keeper = Keeper::start_in(&parent(), "demo")?;
    let dir = keeper.dir();

    let events = Event::read_all(&root.join(EVENTS))?;
    let text = read(&root.join(ACCT_FILE))?;
    let place = dir
        .to_str()
        .ok_or_else(|| Failure::Failed(format!("{} is not UTF-8", dir.display())))?;
    let text = text.replace(PLACEHOLDER, place);
    let mut destinations = Destination::read_all(&text, &events)
        .map_err(|why| Failure::Failed(format!("{ACCT_FILE}: {why}")))?;
    Screen::introduce(events.len(), destinations.len(), EVENTS, ACCT_FILE)?;

    let built = build(&keeper, &interrupt)?;
    let plugins = dir.join("plugins");
    for package in PLUGINS {
        stage::install(built.library(package)?, &plugins)?;
    }
    let acct_file = dir.join("acct.yml");
    fs::write(&acct_file, &text).map_err(Failure::file("write", &acct_file))?;
    let evbus = built.executable("evbus")?;
    let mut host = Host::start(
        quiet(keeper.command(evbus), dir),
        &acct_file,
        &plugins,
        &dir.join("s"),
        &interrupt,
    )?;
    screen.ready(host.took())?;

    let begin = Instant::now();
    let put = put(quiet(keeper.command(evbus), dir), host.sock_dir(), &root)?;
    let arrived = arrive(&interrupt, &mut host, put, &mut destinations, &screen);
    let took = begin.elapsed();
    let undisturbed = match arrived {
        // The comparison then reports what is missing.
        Err(Failure::Failed(why)) => {
            eprintln!("error: {why}");
            false
        }
        other => other.map(|()| true)?,
    };
    // After the host has ended, nothing more can arrive.
    host.stop(&interrupt)?;
    receive(&mut destinations, &screen)?;
    screen.summary(&destinations, events.len(), took)?;
    if undisturbed && destinations.iter().all(Destination::is_well) {
        Ok(())
    } else {
        Err(Failure::Said)
    }
}

/// The directory for temporary files; `/tmp` if a socket's path would become too long otherwise, or contain characters
/// that the acct file's quotes do not permit.
fn parent() -> PathBuf {
    let dir = std::env::temp_dir();
    let socket = dir.join("evbus-demo-XXXXXX/s/master_event_pull.ipc");
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
    let fits = socket.as_os_str().len() <= SOCKET_PATH_BYTES;
    if fits && dir.to_str().is_some_and(|text| text.chars().all(plain)) {
        dir
    } else {
        PathBuf::from("/tmp")
    }
}

/// Builds the host and the plugins with the profile `dev`. The keeper ends cargo and its compilers.
fn build(keeper: &Keeper, interrupt: &Interrupt) -> Result<Built, Failure> {
    let mut cargo = cargo::prepare(keeper.command(cargo::program()));
    cargo.args(["build", cargo::TELL]).args(BUILD);
    // A file, because nobody reads a pipe while cargo writes.
    let told = keeper.dir().join("cargo.jsonl");
    let stdout = fs::File::create(&told).map_err(Failure::file("write", &told))?;
    let mut cargo = cargo
        .stdout(stdout)
        .spawn()
        .map_err(Failure::io("start cargo"))?;
    let status = interrupt
        .poll(BUILD_LIMIT, || {
            cargo.try_wait().map_err(Failure::io("wait for cargo"))
        })?
        .ok_or_else(|| late("the build", BUILD_LIMIT))?;
    if !status.success() {
        return Err(Failure::Failed(format!("the build failed with {status}")));
    }
    Ok(Built::read(&read(&told)?))
}

/// Starts `evbus put` with the recorded events on its standard input.
fn put(mut evbus: Command, sock_dir: &Path, root: &Path) -> Result<std::process::Child, Failure> {
    let path = root.join(EVENTS);
    let events = fs::File::open(&path).map_err(Failure::file("open", &path))?;
    evbus
        .args(["put", "--events", "--sock-dir"])
        .arg(sock_dir)
        .stdin(events)
        .stdout(Stdio::null())
        .spawn()
        .map_err(Failure::io("start evbus put"))
}

/// Shows what arrives until `put` has ended and everything is there, or time is up. Missing events are not a failure
/// here: the comparison reports them.
fn arrive(
    interrupt: &Interrupt,
    host: &mut Host,
    mut put: std::process::Child,
    destinations: &mut [Destination],
    screen: &Screen,
) -> Result<(), Failure> {
    let status = interrupt
        .poll(PUT_LIMIT, || {
            receive(destinations, screen)?;
            host.check()?;
            put.try_wait().map_err(Failure::io("wait for evbus put"))
        })?
        .ok_or_else(|| late("evbus put", PUT_LIMIT))?;
    if !status.success() {
        return Err(Failure::Failed(format!("evbus put ended with {status}")));
    }
    interrupt.poll(ARRIVAL_LIMIT, || {
        receive(destinations, screen)?;
        host.check()?;
        Ok(destinations
            .iter()
            .all(|destination| destination.missing().is_empty())
            .then_some(()))
    })?;
    Ok(())
}

/// Reads and shows what arrived since the last call.
fn receive(destinations: &mut [Destination], screen: &Screen) -> Result<(), Failure> {
    for (index, destination) in destinations.iter_mut().enumerate() {
        destination.receive(|pattern, event| screen.event(index, pattern, event))?;
    }
    Ok(())
}

/// A command that ignores the user's own acct file, plugins and directories, and puts its temporary files where the
/// keeper removes them.
fn quiet(mut command: Command, dir: &Path) -> Command {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("EVBUS_") || text.starts_with("ACCT_") {
            command.env_remove(&name);
        }
    }
    command.env("TMPDIR", dir).env("XDG_DATA_HOME", dir);
    command
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(Failure::file("read", path))
}

fn late(what: &str, limit: Duration) -> Failure {
    Failure::Failed(format!("{what} did not end within {} s", limit.as_secs()))
}
