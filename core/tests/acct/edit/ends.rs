//! How evbus and its editor end, and what they leave behind.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::terminal::Session;
use super::{FILE, LOOK};
use crate::support::bench::{Bench, check};
use crate::support::{stderr, wait_for};

/// An editor that stays open until it is ended; its process id is in the file `started`.
const STAYS: &str = "echo $$ > pid; mv pid started; exec sleep 600";

/// Vim without the settings of the user who runs the tests.
const VIM: &str = "vim -u NONE";

fn start(bench: &Bench) -> Child {
    let mut command = bench.edit();
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    wait_for("the editor", || {
        bench.path("started").exists().then_some(())
    });
    child
}

/// The process of the editor.
fn editor(bench: &Bench) -> Pid {
    let number = bench.read("started").trim().parse().unwrap();
    Pid::from_raw(number).unwrap()
}

fn runs(process: Pid) -> bool {
    Path::new("/proc")
        .join(process.as_raw_pid().to_string())
        .exists()
}

/// How many processes have this bench's text open, or in their command lines.
fn users_of(bench: &Bench) -> usize {
    let text = bench.runtime().to_str().unwrap();
    Path::new("/proc")
        .read_dir()
        .unwrap()
        .filter_map(|entry| fs::read(entry.unwrap().path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(text))
        .count()
}

#[test]
fn a_signal_ends_the_editor_and_removes_the_text() {
    for signal in [Signal::TERM, Signal::HUP, Signal::USR1] {
        let bench = Bench::encrypted();
        let before = bench.read(FILE);
        bench.editor(&format!("{LOOK}; {STAYS}"));
        let child = start(&bench);
        let pid = Pid::from_child(&child);
        // Ctrl-C is for the editor, so evbus ignores it.
        kill_process(pid, Signal::INT).unwrap();
        kill_process(pid, signal).unwrap();
        let output = child.wait_with_output().unwrap();
        check(
            &output,
            1,
            "ended by a signal; acct.yml.fernet is unchanged",
        );
        assert!(bench.texts().is_empty());
        assert!(!runs(editor(&bench)));
        assert_eq!(bench.read(FILE), before);
    }
}

#[test]
fn vim_at_a_terminal_edits_and_leaves_no_file_of_its_own() {
    let bench = Bench::encrypted();
    let mut session = Session::start(&bench.edit_with(VIM));
    session.wait_for("hunter2");
    session.press("ggOnew: {}\x1b:w\r");
    session.wait_for("written");
    let texts = bench.texts();
    let names: Vec<_> = texts[0]
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["acct.yaml"]);
    session.press(":q\r");
    assert!(session.end().success(), "{}", session.shown());
    assert!(session.takes_lines());
    assert!(bench.data(FILE)["new"].is_object());
    assert!(bench.texts().is_empty());
    assert!(
        !bench.path(".viminfo").exists(),
        "the home directory is the bench"
    );
}

#[test]
fn vim_at_a_terminal_ends_with_the_signal_and_leaves_the_terminal_usable() {
    let bench = Bench::encrypted();
    let before = bench.read(FILE);
    let mut session = Session::start(&bench.edit_with(VIM));
    session.wait_for("hunter2");
    assert!(!session.takes_lines());
    session.press("dd");
    session.signal(Signal::TERM);
    assert_eq!(session.end().code(), Some(1), "{}", session.shown());
    session.wait_for("ended by a signal; acct.yml.fernet is unchanged");
    assert!(session.takes_lines());
    assert!(bench.texts().is_empty());
    assert_eq!(users_of(&bench), 0);
    assert_eq!(bench.read(FILE), before);
}

#[test]
fn a_terminal_that_goes_away_ends_the_editor_and_removes_the_text() {
    let bench = Bench::encrypted();
    let before = bench.read(FILE);
    let mut session = Session::start(&bench.edit_with(VIM));
    session.wait_for("hunter2");
    session.hang_up();
    assert_eq!(session.end().code(), Some(1));
    assert!(bench.texts().is_empty());
    assert_eq!(users_of(&bench), 0);
    assert_eq!(bench.read(FILE), before);
}

#[test]
fn an_editor_that_does_not_end_is_killed_and_the_terminal_made_usable() {
    let bench = Bench::encrypted();
    bench.editor(
        "stty raw -echo; trap '' TERM; echo $$ > pid; mv pid started; while :; do sleep 0.05; done",
    );
    // Either evbus is told to end, or the editor is killed.
    for (ended_by_us, sentence) in [
        (true, "ended by a signal; acct.yml.fernet is unchanged"),
        (false, "the editor failed with signal: 9"),
    ] {
        let mut session = Session::start(&bench.edit());
        session.wait_until("the editor", |_| bench.path("started").exists());
        assert!(!session.takes_lines());
        if ended_by_us {
            session.signal(Signal::TERM);
        } else {
            kill_process(editor(&bench), Signal::KILL).unwrap();
        }
        assert_eq!(session.end().code(), Some(1));
        session.wait_for(sentence);
        assert!(session.takes_lines());
        assert!(bench.texts().is_empty());
        assert!(!runs(editor(&bench)));
        fs::remove_file(bench.path("started")).unwrap();
    }
}

#[test]
fn evbus_killed_leaves_the_file_whole_and_the_next_edit_removes_the_text() {
    let bench = Bench::encrypted();
    let before = bench.read(FILE);
    let data = bench.data(FILE);
    bench.editor(&format!("echo 'a: {{}}' > \"$1\"; {STAYS}"));
    let mut child = start(&bench);
    child.kill().unwrap();
    child.wait().unwrap();
    kill_process(editor(&bench), Signal::KILL).unwrap();
    assert_eq!(bench.read(FILE), before);
    assert_eq!(bench.data(FILE), data);
    let expected = ["acct.yml", FILE, "editor", "key", "started"];
    assert_eq!(names(&bench), expected, "nothing half-written");
    let left = bench.texts();
    assert_eq!(left.len(), 1);

    bench.editor("exit 0");
    let output = bench.edited();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(bench.texts(), left, "it may be one that is being made");
    super::places::make_old(&left[0]);
    let output = bench.edited();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(bench.texts().is_empty());
}

/// The names in the bench's directory, sorted.
fn names(bench: &Bench) -> Vec<String> {
    let mut names: Vec<String> = bench
        .dir()
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
