//! `evbus acct`.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::{evbus, run, stderr, wait_for};
use tempfile::TempDir;

const PLAIN: &str = "kafka:\n  idem-*:\n    connection: {login: guest, password: hunter2}\n";

/// A directory with an acct file, and the command in it.
struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("acct.yml"), PLAIN).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn acct(&self, args: &[&str]) -> Output {
        self.with(args, &[])
    }

    fn with(&self, args: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = evbus(self.0.path());
        command.arg("acct").args(args).current_dir(self.0.path());
        // The directory the editor gets is the test's own then, if it is in memory.
        command.env_remove("XDG_RUNTIME_DIR").env_remove("EDITOR");
        run(command.envs(variables.iter().copied()), b"")
    }

    /// Encrypts with a new key, which is kept in the file `key`.
    fn encrypt(&self, args: &[&str]) -> String {
        let output = self.acct(&[&["encrypt", "acct.yml"], args].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        fs::write(self.path("key"), &output.stdout).unwrap();
        fs::set_permissions(self.path("key"), fs::Permissions::from_mode(0o600)).unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    fn editor(&self, text: &str) {
        let path = self.path("editor");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    }

    fn data(&self, file: &str) -> Value {
        let output = self.acct(&[
            "decrypt",
            file,
            "--acct-key-file",
            "key",
            "--output",
            "json",
        ]);
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[track_caller]
fn check(output: &Output, code: i32, sentence: &str) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(sentence), "expected {sentence:?} in:\n{said}");
    assert!(!said.contains("hunter2"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn a_new_key_is_printed_alone_and_opens_the_file() {
    for cipher in ["fernet", "aesgcm256"] {
        let bench = Bench::new();
        let output = bench.acct(&["encrypt", "acct.yml", "--crypto-plugin", cipher]);
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{}",
            stderr(&output)
        );
        let key = String::from_utf8(output.stdout).unwrap();
        assert_eq!(key.len(), 45, "{key:?}");
        let file = format!("acct.yml.{cipher}");
        assert_eq!(mode(&bench.path(&file)), 0o600);
        let expected =
            json!({"kafka": {"idem-*": {"connection": {"login": "guest", "password": "hunter2"}}}});
        let decrypt = ["decrypt", &file, "--output", "json"];
        let output = bench.with(&decrypt, &[("ACCT_KEY", key.trim())]);
        assert!(output.stderr.is_empty(), "{}", stderr(&output));
        assert_eq!(
            serde_json::from_slice::<Value>(&output.stdout).unwrap(),
            expected
        );
        let output = bench.acct(&[
            "decrypt",
            &file,
            "--acct-key",
            key.trim(),
            "--output-file",
            "out",
        ]);
        assert!(
            output.status.success() && output.stdout.is_empty(),
            "{}",
            stderr(&output)
        );
        assert_eq!(mode(&bench.path("out")), 0o600);
        assert_eq!(
            bench.read("out"),
            "kafka:\n  'idem-*':\n    connection:\n      login: guest\n      password: hunter2\n"
        );
        assert_eq!(
            bench.0.path().read_dir().unwrap().count(),
            3,
            "nothing else is left"
        );
    }
}

#[test]
fn a_key_may_begin_with_a_hyphen_and_a_given_one_is_not_printed() {
    let bench = Bench::new();
    let key = "-V7DkwFXSjDNT2vg-A9x0uNHI4NGw9g61qphoZ41R0Q=";
    let output = bench.acct(&[
        "encrypt",
        "acct.yml",
        "--acct-key",
        key,
        "--output-file",
        "x",
    ]);
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{}",
        stderr(&output)
    );
    let output = bench.acct(&["decrypt", "--acct-key", key, "x"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("password: hunter2"));
}

#[test]
fn wrong_use_is_told_in_one_sentence_and_without_the_key() {
    let bench = Bench::new();
    let key = bench.encrypt(&[]);
    let other = "vUiQ7uknTk32qgr_XYf9yuFs2tFH9UogBq58h24bj64=";
    for (args, code, sentence) in [
        (
            &["decrypt", "acct.yml.fernet"][..],
            78,
            "found a file encrypted with fernet, expected its key too",
        ),
        (
            &["decrypt", "acct.yml.fernet", "--acct-key", other],
            78,
            "found a file that this key does not open with fernet",
        ),
        (
            &["decrypt", "acct.yml", "--acct-key", other],
            78,
            "found plain text, expected an encrypted file, since a key was given",
        ),
        (
            &["encrypt", "acct.yml.fernet"],
            78,
            "found a file that is encrypted already",
        ),
        (
            &["encrypt", "acct.yml", "--acct-key", "hunter2"],
            78,
            "found a key that is not 32 bytes in base64",
        ),
        (
            &["encrypt", "acct.yml", "--acct-key-file", "gone"],
            78,
            "found no file as key file gone",
        ),
        (
            &["encrypt", "acct.yml", "--output-file", "."],
            2,
            "found something other than a file",
        ),
        (
            &["edit", "acct.yml"],
            78,
            "found a plain file, expected an encrypted one",
        ),
        (
            &[
                "decrypt",
                "x",
                "--acct-key",
                other,
                "--acct-key-file",
                "key",
            ],
            2,
            "cannot be used with",
        ),
    ] {
        let output = bench.acct(args);
        check(&output, code, sentence);
        assert!(output.stdout.is_empty(), "{args:?}");
        let said = stderr(&output);
        assert!(!said.contains(&key) && !said.contains(other), "{said}");
    }
    assert!(bench.acct(&["decrypt", "acct.yml"]).status.success());
}

#[test]
fn a_key_that_nobody_reads_leaves_no_file_behind() {
    let bench = Bench::new();
    let mut command = evbus(bench.0.path());
    command
        .args(["acct", "encrypt", "acct.yml"])
        .current_dir(bench.0.path());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    check(
        &output,
        1,
        "nothing is written, since nobody reads the new key",
    );
    assert_eq!(bench.0.path().read_dir().unwrap().count(), 1);
}

#[test]
fn a_replaced_file_is_whole_and_a_link_stays_one() {
    let bench = Bench::new();
    fs::write(bench.path("real"), "old").unwrap();
    fs::set_permissions(bench.path("real"), fs::Permissions::from_mode(0o644)).unwrap();
    std::os::unix::fs::symlink("real", bench.path("link")).unwrap();
    bench.encrypt(&["--output-file", "link"]);
    assert!(bench.path("link").is_symlink());
    assert_eq!(mode(&bench.path("real")), 0o600);
    assert_eq!(
        bench.data("real")["kafka"]["idem-*"]["connection"]["login"],
        "guest"
    );
}

const LOOK: &str = "file=$1; dir=$(dirname \"$1\"); echo \"$dir\" > where; stat -c %a \"$dir\" \"$1\" > modes; \
stat -f -c %T \"$dir\" > kind; echo \"$ACCT_KEY\" > seen; echo \"$TMPDIR\" >> seen; cp \"$1\" .text; touch \"$dir/.acct.yaml.swp\"";

#[test]
fn editing_encrypts_what_the_editor_leaves_and_removes_the_text() {
    let bench = Bench::new();
    let key = bench.encrypt(&["--crypto-plugin", "aesgcm256"]);
    bench.editor(&format!(
        "{LOOK}; sed -i s/guest/other/ \"$1\"; echo 'new: {{a: \"{{{{ b }}}}\"}}' >> \"$1\""
    ));
    let output = bench.with(
        &["edit", "acct.yml.aesgcm256", "--editor", "./editor"],
        &[("ACCT_KEY", &key)],
    );
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{}",
        stderr(&output)
    );
    let data = bench.data("acct.yml.aesgcm256");
    assert_eq!(data["kafka"]["idem-*"]["connection"]["login"], "other");
    assert_eq!(data["new"]["a"], "{{ b }}");
    let dir = bench.read("where");
    assert!(!Path::new(dir.trim()).exists(), "{dir} is left");
    assert_eq!(bench.read("modes"), "700\n600\n");
    assert_eq!(
        bench.read("seen"),
        format!("\n{dir}"),
        "the editor sees no key, and a private TMPDIR"
    );
    if Path::new("/dev/shm").is_dir() {
        assert_eq!(bench.read("kind"), "tmpfs\n");
    }
    assert_eq!(mode(&bench.path("acct.yml.aesgcm256")), 0o600);
}

#[test]
fn a_file_stays_as_it_was_when_the_editor_fails_or_leaves_nonsense() {
    let bench = Bench::new();
    bench.encrypt(&[]);
    let before = bench.read("acct.yml.fernet");
    let edit = [
        "edit",
        "acct.yml.fernet",
        "--acct-key-file",
        "key",
        "--editor",
        "./editor",
    ];
    for (script, code, sentence) in [
        (
            "exit 3",
            1,
            "the editor ended with exit status: 3; acct.yml.fernet is as it was",
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
        ("exit 0", 0, "nothing was changed"),
        ("kill -9 $$", 1, "the editor ended with signal: 9"),
    ] {
        bench.editor(&format!("{LOOK}; {script}"));
        check(&bench.acct(&edit), code, sentence);
        assert_eq!(bench.read("acct.yml.fernet"), before);
        assert!(!Path::new(bench.read("where").trim()).exists());
    }
    let output = bench.acct(&[
        "edit",
        "acct.yml.fernet",
        "--acct-key-file",
        "key",
        "--editor",
        "evbus-none",
    ]);
    check(
        &output,
        2,
        "found the editor \"evbus-none\", which cannot be started",
    );
}

#[test]
fn a_signal_ends_the_editor_and_removes_the_text() {
    for signal in [Signal::TERM, Signal::HUP, Signal::USR1] {
        let bench = Bench::new();
        bench.encrypt(&[]);
        let before = bench.read("acct.yml.fernet");
        bench.editor(&format!(
            "{LOOK}; echo $$ > pid; mv pid started; exec sleep 600"
        ));
        let mut command = evbus(bench.0.path());
        command
            .args([
                "acct",
                "edit",
                "acct.yml.fernet",
                "--acct-key-file",
                "key",
                "--editor",
                "./editor",
            ])
            .current_dir(bench.0.path())
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        wait_for("the editor", || {
            bench.path("started").exists().then_some(())
        });
        let pid = Pid::from_child(&child);
        // The terminal's signals are the editor's affair.
        kill_process(pid, Signal::INT).unwrap();
        kill_process(pid, signal).unwrap();
        let output = child.wait_with_output().unwrap();
        check(
            &output,
            1,
            "ended by a signal; acct.yml.fernet is as it was",
        );
        assert!(!Path::new(bench.read("where").trim()).exists());
        assert!(
            !Path::new("/proc")
                .join(bench.read("started").trim())
                .exists()
        );
        assert_eq!(bench.read("acct.yml.fernet"), before);
    }
}

#[test]
fn editing_a_file_that_is_not_there_makes_it_with_a_new_key() {
    let bench = Bench::new();
    bench.editor("echo 'a: {b: {}}' > \"$1\"");
    let output = bench.acct(&["edit", "new", "--editor", "./editor"]);
    assert!(output.status.success(), "{}", stderr(&output));
    fs::write(bench.path("key"), &output.stdout).unwrap();
    assert_eq!(bench.data("new"), json!({"a": {"b": {}}}));
}
