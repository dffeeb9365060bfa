//! What the memory of a running host contains of keys and passwords.

use std::fs;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use crate::support::{RunningHost, evbus, run, stderr, wait_for};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use evbus_testkit::plugin_dir;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A value of a provider that no plugin serves.
const FOREIGN: &str = "MARKER-of-aws-7cd1f0a9";
/// A value that a plugin gets.
const SERVED: &str = "MARKER-of-good-4e0b6c2d";

/// An acct file of several tools.
fn acct(dir: &Path) -> String {
    format!(
        "fixture-good:\n  - idem-*: {{path: '{0}/out.jsonl', reject_containing: {SERVED}}}\n\
         \x20 - a-*: {{path: '{0}/a.jsonl', reject_containing: {{$exec: [echo, '{SERVED}']}}, \
         evbus: {{isolate: process}}}}\n\
         aws:\n  default: {{id: some, secret: {FOREIGN}, more: [{{token: x-{FOREIGN}}}]}}\n",
        dir.display()
    )
}

/// Writes an encrypted acct file and its key file; returns the key.
fn encrypted(dir: &Path, cipher: &str) -> String {
    fs::write(dir.join("plain.yml"), acct(dir)).unwrap();
    let output = run(
        evbus(dir)
            .args(["acct", "encrypt", "plain.yml", "--output-file", "acct.yml"])
            .args(["--crypto-plugin", cipher])
            .current_dir(dir),
        b"",
    );
    assert!(output.status.success(), "{}", stderr(&output));
    fs::remove_file(dir.join("plain.yml")).unwrap();
    let key = String::from_utf8(output.stdout).unwrap();
    fs::write(dir.join("key"), &key).unwrap();
    fs::set_permissions(dir.join("key"), fs::Permissions::from_mode(0o600)).unwrap();
    key.trim().to_owned()
}

/// Everything that a key can be recognized by: its text as printed and in the other alphabet, and its bytes. Fernet
/// signs with one half and encrypts with the other.
fn traces(key: &str) -> Vec<(&'static str, Vec<u8>)> {
    let decoded = URL_SAFE.decode(key).or_else(|_| STANDARD.decode(key));
    let bytes = decoded.unwrap();
    // Parts are enough: freed memory loses its beginning first.
    let part = |text: &str| text.as_bytes()[16..32].to_vec();
    let (url_safe, standard) = (URL_SAFE.encode(&bytes), STANDARD.encode(&bytes));
    let other = if url_safe == key { standard } else { url_safe };
    vec![
        ("the key's text", part(key)),
        ("the key's text in the other alphabet", part(&other)),
        ("the key's first half", bytes[..16].to_vec()),
        ("the key's second half", bytes[16..].to_vec()),
    ]
}

/// A writable part of a process's memory.
#[derive(Debug)]
struct Mapping {
    range: Range<u64>,
    name: String,
}

fn mappings(process: u32) -> Vec<Mapping> {
    fs::read_to_string(format!("/proc/{process}/maps"))
        .unwrap()
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (range, modes) = (words.next()?, words.next()?);
            let (start, end) = range.split_once('-')?;
            let address = |text| u64::from_str_radix(text, 16).unwrap();
            modes.starts_with("rw").then(|| Mapping {
                range: address(start)..address(end),
                name: words.nth(3).unwrap_or("anonymous").to_owned(),
            })
        })
        .collect()
}

/// The addresses at which the kernel put the environment of the process.
fn environment(process: u32) -> Range<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, behind_name) = stat.rsplit_once(')').unwrap();
    // The numbers are those of proc_pid_stat(5), which counts from 1; the state after the name is number 3.
    let field = |number: usize| -> u64 {
        let text = behind_name.split_whitespace().nth(number - 3);
        text.unwrap().parse().unwrap()
    };
    field(50)..field(51)
}

/// The addresses of a text in a process's memory, except those in `except`.
fn addresses(process: u32, what: &[u8], except: &Range<u64>) -> Vec<String> {
    let memory = File::open(format!("/proc/{process}/mem")).unwrap();
    let mut found = Vec::new();
    for Mapping { range, name } in mappings(process) {
        let length = usize::try_from(range.end - range.start).unwrap();
        let mut content = vec![0; length];
        // Ranges that only the kernel reads, such as [vvar], cannot be read.
        if memory.read_exact_at(&mut content, range.start).is_err() {
            continue;
        }
        for at in memchr::memmem::find_iter(&content, what) {
            let address = range.start + at as u64;
            if !except.contains(&address) {
                found.push(format!("{name} at {address:x}"));
            }
        }
    }
    found
}

fn hang_up(host: &RunningHost) {
    let pid = Pid::from_raw(i32::try_from(host.pid()).unwrap()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
}

/// The processes that a process started.
fn children(process: u32) -> Vec<u32> {
    let tasks = Path::new("/proc").join(process.to_string()).join("task");
    tasks
        .read_dir()
        .unwrap()
        // A thread may end in the meantime.
        .filter_map(|task| fs::read_to_string(task.unwrap().path().join("children")).ok())
        .flat_map(|line| {
            let numbers = line.split_whitespace();
            numbers.map(|it| it.parse().unwrap()).collect::<Vec<u32>>()
        })
        .collect()
}

/// Neither the key nor other tools' values are in the memory of the host or of its plugin's process.
fn check(host: &RunningHost, key: &str) {
    let process = host.pid();
    let environment = environment(process);
    // One destination has its own process, and a reload reads its secret with a command.
    let child = wait_for("one process", || match children(process)[..] {
        [child] => Some(child),
        _ => None,
    });
    for (what, trace) in traces(key) {
        let found = addresses(process, &trace, &environment);
        assert!(found.is_empty(), "{what}: {found:?}");
        let found = addresses(child, &trace, &(0..0));
        assert!(
            found.is_empty(),
            "{what} in the plugin's process: {found:?}"
        );
    }
    for process in [process, child] {
        let found = addresses(process, FOREIGN.as_bytes(), &(0..0));
        assert!(found.is_empty(), "{found:?}");
        let found = addresses(process, SERVED.as_bytes(), &(0..0));
        assert!(!found.is_empty(), "what is there is not found");
    }
}

fn keys_and_foreign_values_are_wiped(cipher: &str, by_file: bool) {
    let plugins = plugin_dir(&["plugin-glob", "fixture-good"]);
    let dir = tempfile::tempdir().unwrap();
    let key = encrypted(dir.path(), cipher);
    let host = start(dir, &plugins, &key, by_file);
    for destination in ["fixture-good[0] idem-*", "fixture-good[1] a-*"] {
        host.wait_for_log(&format!("{destination}: connected"));
    }
    check(&host, &key);
    for round in 1..=2 {
        hang_up(&host);
        wait_for("the reload", || {
            let count = host.log().matches("acct file reloaded").count();
            (count == round).then_some(())
        });
        check(&host, &key);
    }
    // The only copy is the one that the kernel shows in /proc/PID/environ.
    let (_, text) = &traces(&key)[0];
    let anywhere = addresses(host.pid(), text, &(0..0));
    assert_eq!(anywhere.len(), usize::from(!by_file), "{anywhere:?}");
}

#[test]
fn nothing_of_a_fernet_key_from_a_file_stays_in_memory() {
    keys_and_foreign_values_are_wiped("fernet", true);
}

#[test]
fn nothing_of_an_aesgcm256_key_from_a_file_stays_in_memory() {
    keys_and_foreign_values_are_wiped("aesgcm256", true);
}

#[test]
fn a_fernet_key_from_the_environment_is_nowhere_else() {
    keys_and_foreign_values_are_wiped("fernet", false);
}

#[test]
fn an_aesgcm256_key_from_the_environment_is_nowhere_else() {
    keys_and_foreign_values_are_wiped("aesgcm256", false);
}

/// A host with an encrypted acct file.
fn start(dir: TempDir, plugins: &TempDir, key: &str, by_file: bool) -> RunningHost {
    // `env` becomes the host.
    let mut launcher = Command::new("env");
    let key_file = dir.path().join("key").display().to_string();
    let mut more = Vec::new();
    if by_file {
        more.extend(["--acct-key-file", &key_file]);
    } else {
        launcher.arg(format!("ACCT_KEY={key}"));
    }
    RunningHost::start_again_through(launcher, dir, plugins.path(), &more)
}
