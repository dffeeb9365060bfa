//! What `evbus check` finds is also found by other commands, all at once and in the same words.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::as_run::Bench;
use crate::support::stderr;

#[test]
fn run_put_and_route_tell_what_check_tells_of_a_file_in_the_same_round() {
    let bench = Bench::new(&["plugin-glob", "fixture-good"]);
    let acct = "evbus: {durable: true}
fixture-good:
  first: {paht: x}
  second: {path: y, evbus: {durabel: true}}
  second: {path: z}
'*': {path: y}
fixture-god: {}
";
    let sentences = [
        "acct.yml:1:1: evbus: found host settings at the top",
        "acct.yml:3:11: fixture-good.first.paht: found an unknown key",
        "acct.yml:4:",
        "acct.yml:5:3: ",
        "acct.yml:6:1: *: no plugin serves it, and it looks like a pattern; indent it",
        "acct.yml:7:1: fixture-god: no plugin serves it; did you mean `fixture-good`?",
    ];
    let run = ["--no-state-dir", "--sock-dir", "s"];
    for (command, flags) in [
        ("check", &[][..]),
        ("run", &run),
        ("put", &["p", "{}"]),
        ("route", &["p"]),
    ] {
        let output = bench.evbus(command, acct, flags);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{command}: {said}");
        for sentence in sentences {
            assert!(
                said.contains(sentence),
                "{command}: expected {sentence:?} in:\n{said}"
            );
        }
    }
}

#[test]
fn what_cannot_be_a_socket_or_a_lock_is_found_by_check_too() {
    let plant = |path: &Path, kind: &str| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match kind {
            "directory" => fs::create_dir(path).unwrap(),
            "file" => fs::write(path, "").unwrap(),
            _ => rustix::fs::mkfifoat(rustix::fs::CWD, path, 0o600.into()).unwrap(),
        }
    };
    for (name, kind) in [
        ("state/evbus_control.ipc", "directory"),
        ("state/evbus_control.ipc", "file"),
        ("s/.evbus.lock", "fifo"),
        ("s/.evbus.lock", "directory"),
    ] {
        let bench = Bench::new(&["plugin-glob", "fixture-good"]);
        let acct = "fixture-good: {p: {path: out}}\n";
        plant(&bench.dir.path().join(name), kind);
        for part in ["state", "s"] {
            let dir = bench.dir.path().join(part);
            fs::create_dir_all(&dir).unwrap();
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
        }
        let flags = ["--state-dir", "state", "--sock-dir", "s"];
        let said: Vec<String> = ["check", "run"]
            .map(|command| {
                let output = bench.evbus(command, acct, &flags);
                let said = stderr(&output);
                assert_eq!(output.status.code(), Some(78), "{command} {name}: {said}");
                let mut errors = said.lines().filter(|line| line.starts_with("error: "));
                errors.next().unwrap_or_default().to_owned()
            })
            .into();
        assert_eq!(said[0], said[1], "{name}");
        assert!(
            said[0].contains(name.rsplit('/').next().unwrap()),
            "{said:?}"
        );
    }
}
