//! `evbus acct encrypt` and `decrypt`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use crate::support::bench::{Bench, check, mode};
use crate::support::{evbus, program, run, stderr};
use serde_json::{Value, json};

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
        let output = run(bench.command(&decrypt).env("ACCT_KEY", key.trim()), b"");
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
            bench.dir().read_dir().unwrap().count(),
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
            "the file is encrypted with fernet, but no key was given",
        ),
        (
            &["decrypt", "acct.yml.fernet", "--acct-key", other],
            78,
            "wrong key, or the file is damaged: fernet decryption failed",
        ),
        (
            &["decrypt", "acct.yml", "--acct-key", other],
            78,
            "a key was given, but the file is not encrypted",
        ),
        (
            &["encrypt", "acct.yml.fernet"],
            78,
            "the file is already encrypted",
        ),
        (
            &["encrypt", "acct.yml", "--acct-key", "hunter2"],
            78,
            "the key is not 32 bytes in base64",
        ),
        (
            &["edit", "new", "--editor", "false", "--acct-key", "hunter2"],
            78,
            "the key is not 32 bytes in base64",
        ),
        (
            &["encrypt", "acct.yml", "--acct-key-file", "gone"],
            78,
            "cannot use key file gone: no such file",
        ),
        (
            &["encrypt", "acct.yml", "--acct-key-file", "/proc/self/mem"],
            78,
            "cannot use key file /proc/self/mem: Input/output error (os error 5)",
        ),
        (
            &["encrypt", "acct.yml", "--output-file", "."],
            2,
            "not a regular file; give another name",
        ),
        (
            &["edit", "acct.yml"],
            78,
            "the file is not encrypted; edit it directly",
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
fn a_file_of_another_key_is_replaced_by_force_only() {
    let refusal = "it is encrypted with another key, or damaged";
    for cipher in ["fernet", "aesgcm256"] {
        let bench = Bench::new();
        let to = ["--crypto-plugin", cipher, "--output-file", "out"];
        bench.encrypt(&to);
        let old = fs::read(bench.path("out")).unwrap();
        let with = |more: &[&'static str]| [&["encrypt", "acct.yml"], &to[..], more].concat();
        check(&bench.acct(&with(&[])), 2, refusal);
        let new_key = with(&["--new-key-file", "new"]);
        check(&bench.acct(&new_key), 2, refusal);
        assert!(!bench.path("new").exists(), "no key is made for nothing");
        let edit = ["edit", "none", "--editor", "false", "--output-file", "out"];
        check(&bench.acct(&edit), 2, refusal);
        assert_eq!(fs::read(bench.path("out")).unwrap(), old);

        // With the file's own key, it is overwritten.
        fs::write(bench.path("acct.yml"), "kafka: {a: {x: 1}}\n").unwrap();
        let output = bench.acct(&with(&["--acct-key-file", "key"]));
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(bench.data("out"), json!({"kafka": {"a": {"x": 1}}}));
        bench.encrypt(&[&to[..], &["--force"]].concat());
        assert_eq!(bench.data("out"), json!({"kafka": {"a": {"x": 1}}}));
    }
}

#[test]
fn the_file_of_the_key_is_never_written_over() {
    let bench = Bench::new();
    bench.encrypt(&[]);
    let key = fs::read(bench.path("key")).unwrap();
    let own_key = ["--acct-key-file", "key", "--output-file", "key", "--force"];
    for command in [["decrypt", "acct.yml.fernet"], ["encrypt", "acct.yml"]] {
        let args = [&command[..], &own_key[..]].concat();
        check(&bench.acct(&args), 2, "it is the file of the key");
        assert_eq!(fs::read(bench.path("key")).unwrap(), key);
    }
}

#[test]
fn a_plain_file_is_replaced_by_force_only() {
    let refusal = "cannot replace the existing file out; use --force to replace it, or give another name with --output-file";
    let bench = Bench::new();
    bench.encrypt(&[]);
    fs::write(bench.path("out"), "the old file").unwrap();
    let own_key = ["--acct-key-file", "key", "--output-file", "out"];
    for command in [["decrypt", "acct.yml.fernet"], ["encrypt", "acct.yml"]] {
        let args = [&command[..], &own_key[..]].concat();
        check(&bench.acct(&args), 2, refusal);
        assert_eq!(bench.read("out"), "the old file");
        let output = bench.acct(&[&args[..], &["--force"]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        assert_ne!(bench.read("out"), "the old file");
        fs::write(bench.path("out"), "the old file").unwrap();
    }
    // An empty file may be overwritten, because nothing is lost.
    fs::write(bench.path("out"), "").unwrap();
    let args = [&["decrypt", "acct.yml.fernet"][..], &own_key[..]].concat();
    let output = bench.acct(&args);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn editing_a_new_file_without_changes_makes_neither_file_nor_key() {
    let bench = Bench::new();
    let args = ["edit", "new", "--editor", "true", "--new-key-file", "key"];
    let output = bench.acct(&args);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(
        said.contains("new: nothing was entered; no file was created"),
        "{said}"
    );
    assert!(!bench.path("new").exists() && !bench.path("key").exists());
}

#[test]
fn a_key_that_nobody_reads_leaves_no_file_behind() {
    let bench = Bench::new();
    let mut command = evbus(bench.dir());
    command
        .args(["acct", "encrypt", "acct.yml"])
        .current_dir(bench.dir());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    check(&output, 1, "was not written: standard output was closed");
    assert_eq!(bench.dir().read_dir().unwrap().count(), 1);
}

#[test]
fn a_new_key_is_not_made_where_standard_output_keeps_nothing() {
    let bench = Bench::new();
    fs::write(bench.path("out"), "the old file").unwrap();
    for (command, redirection) in [
        ("encrypt acct.yml", ">&-"),
        ("encrypt acct.yml", "> /dev/null"),
        ("encrypt acct.yml", "> /dev/zero"),
        ("edit new.fernet --editor true", ">&-"),
    ] {
        let script = format!("exec \"$0\" acct {command} --output-file out {redirection}");
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &script]).arg(program());
        shell.env_remove("ACCT_KEY").current_dir(bench.dir());
        let output = run(&mut shell, b"");
        check(
            &output,
            2,
            "the new key would be lost: standard output is closed",
        );
        assert_eq!(bench.read("out"), "the old file", "{script}");
    }
    assert_eq!(bench.dir().read_dir().unwrap().count(), 2);
    // If the key goes into a file, standard output is not used.
    let args = ["encrypt", "acct.yml", "--new-key-file", "key"];
    let status = bench.command(&args).stdout(Stdio::null()).status();
    assert!(status.unwrap().success());
}

#[test]
fn a_replaced_file_is_whole_and_a_link_stays_one() {
    let bench = Bench::new();
    fs::write(bench.path("real"), "old").unwrap();
    fs::set_permissions(bench.path("real"), fs::Permissions::from_mode(0o644)).unwrap();
    std::os::unix::fs::symlink("real", bench.path("link")).unwrap();
    bench.encrypt(&["--output-file", "link", "--force"]);
    assert!(bench.path("link").is_symlink());
    assert_eq!(mode(&bench.path("real")), 0o600);
    assert_eq!(
        bench.data("real")["kafka"]["idem-*"]["connection"]["login"],
        "guest"
    );
}

#[test]
fn a_link_of_another_user_does_not_choose_which_file_is_written() {
    if !rustix::process::geteuid().is_root() {
        return; // Nobody else can give a link away.
    }
    let bench = Bench::new();
    fs::create_dir(bench.path("ours")).unwrap();
    fs::write(bench.path("ours/file"), "the old file").unwrap();
    bench.encrypt(&[]);
    for (link, to) in [("link", "ours/file"), ("dir", "ours")] {
        std::os::unix::fs::symlink(to, bench.path(link)).unwrap();
        std::os::unix::fs::lchown(bench.path(link), Some(54_321), None).unwrap();
    }
    for output in ["link", "dir/file", "dir/new"] {
        for args in [
            &["decrypt", "acct.yml", "--output-file", output][..],
            &[
                "encrypt",
                "acct.yml",
                "--acct-key-file",
                "key",
                "--output-file",
                output,
            ],
            &["encrypt", "acct.yml", "--force", "--new-key-file", output],
            &[
                "edit",
                "acct.yml.fernet",
                "--acct-key-file",
                "key",
                "--editor",
                "true",
                "--output-file",
                output,
            ],
        ] {
            if args.contains(&"--new-key-file") && output == "link" {
                continue; // It is there already.
            }
            let done = bench.acct(args);
            let said = stderr(&done);
            assert_eq!(done.status.code(), Some(1), "{args:?}: {said}");
            assert!(
                said.contains("belongs to user 54321, not to user 0 or root"),
                "{said}"
            );
        }
    }
    assert_eq!(bench.read("ours/file"), "the old file");
    assert_eq!(fs::read_dir(bench.path("ours")).unwrap().count(), 1);
}

#[test]
fn a_new_key_goes_into_a_file_of_its_own_and_never_over_one_that_is_there() {
    let bench = Bench::new();
    fs::write(bench.path("acct.yml"), "kafka: {a: {x: 1}}\n").unwrap();
    let encrypt = ["encrypt", "acct.yml", "--force", "--new-key-file", "key"];
    let output = bench.acct(&encrypt);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(output.stdout.is_empty(), "it is nowhere else");
    assert_eq!(mode(&bench.path("key")), 0o600);
    assert_eq!(
        bench.data("acct.yml.fernet"),
        json!({"kafka": {"a": {"x": 1}}})
    );

    let (key, token) = (bench.read("key"), bench.read("acct.yml.fernet"));
    let output = bench.acct(&encrypt);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("key already exists"),
        "{}",
        stderr(&output)
    );
    // An acct file that cannot be read does not cost the key either.
    fs::write(bench.path("acct.yml"), "kafka: [\n").unwrap();
    assert!(!bench.acct(&encrypt).status.success());
    assert_eq!(bench.read("key"), key);
    assert_eq!(bench.read("acct.yml.fernet"), token);

    fs::write(bench.path("acct.yml"), "kafka: {a: {x: 2}}\n").unwrap();
    let both = ["--acct-key-file", "key"];
    let output = bench.acct(&[&encrypt[..], &both].concat());
    assert_eq!(output.status.code(), Some(2), "a key or a new one");
}

#[test]
fn the_file_of_the_key_is_never_the_one_that_is_written() {
    let bench = Bench::new();
    fs::write(bench.path("acct.yml"), "kafka: {a: {x: 1}}\n").unwrap();
    let refusal = "it is the file of the key";
    for new in ["new", "./new", "link"] {
        let _ = std::os::unix::fs::symlink("new", bench.path("link"));
        let args = [
            "encrypt",
            "acct.yml",
            "--new-key-file",
            "new",
            "--output-file",
            new,
        ];
        check(&bench.acct(&args), 2, refusal);
    }
    fs::remove_file(bench.path("link")).unwrap();
    let made = bench.acct(&["encrypt", "acct.yml", "--new-key-file", "key"]);
    assert!(made.status.success(), "{}", stderr(&made));
    let key = bench.read("key");
    std::os::unix::fs::symlink("key", bench.path("link")).unwrap();
    for output in ["key", "./key", "link"] {
        let args = [
            "encrypt",
            "acct.yml",
            "--acct-key-file",
            "key",
            "--output-file",
            output,
        ];
        check(&bench.acct(&args), 2, refusal);
        assert_eq!(bench.read("key"), key);
    }
}

/// Only root can act as another user.
#[test]
fn nobody_gets_a_file_by_having_put_one_in_its_place() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let bench = Bench::new();
    fs::write(bench.path("acct.yml"), "kafka: {a: {x: 1}}\n").unwrap();
    let made = bench.acct(&["encrypt", "acct.yml", "--new-key-file", "key"]);
    assert!(made.status.success(), "{}", stderr(&made));
    fs::create_dir(bench.path("everybodys")).unwrap();
    fs::set_permissions(bench.path("everybodys"), fs::Permissions::from_mode(0o1777)).unwrap();
    let planted = bench.path("everybodys/plain.yml");
    fs::write(&planted, "").unwrap();
    std::os::unix::fs::chown(&planted, Some(54_321), Some(54_321)).unwrap();
    let args = [
        "decrypt",
        "acct.yml.fernet",
        "--acct-key-file",
        "key",
        "--output-file",
        "everybodys/plain.yml",
    ];
    check(&bench.acct(&args), 2, "that user could read the new one");
    assert_eq!(bench.read("everybodys/plain.yml"), "");
}

#[test]
fn everything_that_keeps_a_file_from_being_encrypted_is_reported_at_once() {
    let bench = Bench::new();
    let text = "\
kafka:
  a: {key: k, key: l}
  b: {topics: [x, !!set {y}], key: 18446744073709551616}
  16: {}
  '16': {}
";
    fs::write(bench.path("faulty.yml"), text).unwrap();
    fs::write(bench.path("there.key"), "not to be lost").unwrap();
    let output = bench.acct(&[
        "encrypt",
        "faulty.yml",
        "--new-key-file",
        "there.key",
        "--output-file",
        "absent/out",
    ]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    let sentences = [
        "faulty.yml:2:15: kafka.a.key: duplicate key, first on line 2",
        "faulty.yml:3:19: kafka.b.topics[1]: found a set, expected a value that an encrypted file can hold",
        "faulty.yml:3:31: kafka.b.key: found a whole number of more than 64 bits",
        "faulty.yml:5:3: kafka.16: duplicate key, first on line 4",
        "cannot write the file absent/out: its directory does not exist; create it, or give another name",
        "--new-key-file: there.key already exists and may be the only key to other files",
    ];
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), sentences.len(), "{said}");
    for (line, sentence) in lines.iter().zip(sentences) {
        assert!(line.contains(sentence), "expected {sentence} in {line}");
    }
    let shown = stderr(&bench.acct(&["decrypt", "faulty.yml"]));
    assert_eq!(shown.matches("duplicate key").count(), 2, "{shown}");
}
