//! `evbus acct edit`: what the editor receives and returns, and what is left behind.
mod ends;
mod places;
mod terminal;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::bench::{Bench, check, mode};
use crate::support::{run, stderr};
use rustix::process::Signal;
use serde_json::json;
use terminal::Session;

const FILE: &str = "acct.yml.fernet";

impl Bench {
    /// A bench with an encrypted file.
    fn encrypted() -> Self {
        let bench = Self::new();
        bench.encrypt(&[]);
        bench
    }

    /// Writes the editor, a shell script.
    fn editor(&self, text: &str) {
        let path = self.path("editor");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    }

    /// `evbus acct edit`, with that editor.
    fn edit(&self) -> Command {
        self.edit_with("./editor")
    }

    fn edit_with(&self, editor: &str) -> Command {
        let key = ["--acct-key-file", "key", "--editor", editor];
        self.command(&[&["edit", FILE], &key[..]].concat())
    }

    fn edited(&self) -> Output {
        run(&mut self.edit(), b"")
    }

    /// The directories of edited texts.
    fn texts(&self) -> Vec<PathBuf> {
        texts_in(self.runtime())
    }
}

fn texts_in(place: &Path) -> Vec<PathBuf> {
    let entries = place.read_dir().unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with("evbus-edit-")
        })
        .collect()
}

/// Shows a test what the editor was given.
const LOOK: &str = "dir=$(dirname \"$1\"); echo \"$dir\" > where; stat -c %a \"$dir\" \"$1\" > modes; \
stat -f -c %T \"$dir\" > kind; echo \"$ACCT_KEY\" > seen; echo \"$TMPDIR\" >> seen; touch \"$dir/.acct.yaml.swp\"";

/// When started for the n-th time, saves the text as `text.n` and replaces it with `next.n`.
const IN_TURN: &str =
    "n=$(ls text.* 2> /dev/null | wc -l); cat \"$1\" > \"text.$n\"; cat \"next.$n\" > \"$1\"";

#[test]
fn editing_encrypts_what_the_editor_leaves_and_removes_the_text() {
    let bench = Bench::new();
    let key = bench.encrypt(&["--crypto-plugin", "aesgcm256"]);
    bench.editor(&format!(
        "{LOOK}; sed -i s/guest/other/ \"$1\"; echo 'new: {{a: \"{{{{ b }}}}\"}}' >> \"$1\""
    ));
    let file = "acct.yml.aesgcm256";
    let mut command = bench.command(&["edit", file, "--editor", "./editor"]);
    let output = run(command.env("ACCT_KEY", &key), b"");
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{}",
        stderr(&output)
    );
    let data = bench.data(file);
    assert_eq!(data["kafka"]["idem-*"]["connection"]["login"], "other");
    assert_eq!(data["new"]["a"], "{{ b }}");
    let dir = bench.read("where");
    assert!(Path::new(dir.trim()).starts_with(bench.runtime()), "{dir}");
    assert!(bench.texts().is_empty());
    assert_eq!(bench.read("modes"), "700\n600\n");
    assert_eq!(
        bench.read("seen"),
        format!("\n{dir}"),
        "the editor sees no key, and a private TMPDIR"
    );
    assert_eq!(bench.read("kind"), "tmpfs\n");
    assert_eq!(mode(&bench.path(file)), 0o600);
}

#[test]
fn editing_a_file_that_is_not_there_makes_it_with_a_new_key() {
    let bench = Bench::new();
    bench.editor("echo 'a: {b: {}}' > \"$1\"");
    let output = bench.acct(&["edit", "new", "--editor", "./editor"]);
    assert!(output.status.success(), "{}", stderr(&output));
    fs::write(bench.path("key"), &output.stdout).unwrap();
    fs::set_permissions(bench.path("key"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(bench.data("new"), json!({"a": {"b": {}}}));
}

#[test]
fn an_editor_may_replace_the_file() {
    let bench = Bench::encrypted();
    bench.editor("sed s/guest/other/ \"$1\" > \"$1.new\" && mv \"$1.new\" \"$1\"");
    let output = bench.edited();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(
        bench.data(FILE)["kafka"]["idem-*"]["connection"]["login"],
        "other"
    );
    assert!(bench.texts().is_empty());
}

#[test]
fn a_file_stays_as_it_was_when_the_editor_fails_or_leaves_nonsense() {
    let bench = Bench::encrypted();
    let before = bench.read(FILE);
    for (script, code, sentence) in [
        (
            "exit 3",
            1,
            "the editor failed with exit status: 3; acct.yml.fernet is unchanged",
        ),
        (
            "echo 'a: [' > \"$1\"",
            78,
            "the edited text:2:1: found text that is not YAML",
        ),
        (
            "echo '- a' > \"$1\"",
            78,
            "found a list at the top of the file",
        ),
        ("exit 0", 0, "acct.yml.fernet: no changes"),
        ("kill -9 $$", 1, "the editor failed with signal: 9"),
        ("rm \"$1\"", 1, "acct.yaml; acct.yml.fernet is unchanged"),
        ("rm \"$1\"; mkdir \"$1\"", 1, "the editor left no file"),
        ("rm \"$1\"; mkfifo \"$1\"", 1, "the editor left no file"),
    ] {
        bench.editor(&format!("{LOOK}; {script}"));
        // Without a terminal, no question is asked.
        let output = run(&mut bench.edit(), b"y\ny\n");
        check(&output, code, sentence);
        assert!(!stderr(&output).contains("edit again?"));
        assert_eq!(bench.read(FILE), before);
        assert!(bench.texts().is_empty());
    }
    let output = run(&mut bench.edit_with("evbus-none"), b"");
    check(&output, 2, "cannot start the editor \"evbus-none\": ");
    assert!(bench.texts().is_empty());
}

#[test]
fn at_a_terminal_broken_text_can_be_edited_again() {
    let bench = Bench::encrypted();
    bench.editor(IN_TURN);
    for (turn, text) in ["a: [\n", "- a\n", "a: {b: c}\n"].iter().enumerate() {
        fs::write(bench.path(&format!("next.{turn}")), text).unwrap();
    }
    let mut session = Session::start(&bench.edit());
    session.wait_for("the edited text:2:1: found text that is not YAML");
    session.wait_for("edit again? [Y/n] ");
    session.press("\n");
    session.wait_for("found a list at the top of the file");
    session.wait_for("edit again? [Y/n] ");
    assert_eq!(bench.texts().len(), 1);
    session.press("y\n");
    assert!(session.end().success(), "{}", session.shown());
    assert!(bench.read("text.0").contains("hunter2"));
    assert_eq!(bench.read("text.1"), bench.read("next.0"));
    assert_eq!(bench.read("text.2"), bench.read("next.1"));
    assert_eq!(bench.data(FILE), json!({"a": {"b": "c"}}));
    assert!(bench.texts().is_empty());
}

#[test]
fn at_a_terminal_broken_text_can_be_given_up() {
    let bench = Bench::encrypted();
    let before = bench.read(FILE);
    bench.editor("echo 'a: [' > \"$1\"");
    // Ctrl-D ends the input, Ctrl-C interrupts.
    for answer in ["n\n", "N\n", "no\n", "\x04", "\x03"] {
        let mut session = Session::start(&bench.edit());
        session.wait_for("edit again? [Y/n] ");
        session.press(answer);
        // An answer that is given too early goes to the editor.
        session.wait_until("the answer to be taken", |session| {
            if answer == "\x03" {
                session.press(answer);
            }
            session.has_ended()
        });
        assert_eq!(session.end().code(), Some(1), "{answer:?}");
        session.wait_for("acct.yml.fernet is unchanged");
        assert_eq!(bench.read(FILE), before);
        assert!(bench.texts().is_empty(), "{answer:?}");
        assert!(session.takes_lines());
    }
}

#[test]
fn what_interrupts_the_editor_is_no_answer_to_the_question() {
    let bench = Bench::encrypted();
    bench.editor(
        "[ -e started ] && { echo 'a: {b: c}' > \"$1\"; exit; }; \
         trap \"echo 'a: [' > '$1'; exit 0\" INT; echo > started; while :; do sleep 0.05; done",
    );
    let mut session = Session::start(&bench.edit());
    session.wait_until("the editor", |_| bench.path("started").exists());
    session.press("\x03");
    session.wait_for("edit again? [Y/n] ");
    session.press("y\n");
    assert!(session.end().success(), "{}", session.shown());
    assert_eq!(bench.data(FILE), json!({"a": {"b": "c"}}));
}

#[test]
fn a_signal_ends_the_question() {
    let bench = Bench::encrypted();
    let before = bench.read(FILE);
    bench.editor("echo 'a: [' > \"$1\"");
    let mut session = Session::start(&bench.edit());
    session.wait_for("edit again? [Y/n] ");
    session.signal(Signal::TERM);
    assert_eq!(session.end().code(), Some(1));
    session.wait_for("ended by a signal; acct.yml.fernet is unchanged");
    assert!(bench.texts().is_empty());
    assert_eq!(bench.read(FILE), before);
}
