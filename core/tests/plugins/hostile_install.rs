//! `evbus plugins install` of harmful files: they are refused, and nothing is left behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::hostile_plugins::DEED;
use crate::support::{evbus, run, stderr};
use evbus_testkit::{built, built_all};

/// The files of a directory, by name, with their content.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = (fs::read_dir(dir).unwrap())
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn a_file_that_does_harm_is_not_installed_and_replaces_nothing() {
    let whole = fs::read(built_all(&["fixture-hostile", "fixture-null"]).remove(0)).unwrap();
    let null = fs::read(built("fixture-null")).unwrap();
    let damaged = |damage: &dyn Fn(&mut Vec<u8>)| {
        let mut file = null.clone();
        damage(&mut file);
        file
    };
    let section = b"\0.evbus_plugin\0";
    let at = (null.windows(section.len())).position(|part| part == section);
    let section = at.expect("it has a manifest") + 1;
    let cases: Vec<(&str, &str, Vec<u8>)> = vec![
        (
            "load-hang",
            "its constructor did not return within 10 s",
            whole.clone(),
        ),
        (
            "load-exit",
            "it called exit(3) while it was loaded",
            whole.clone(),
        ),
        (
            "load-abort",
            "signal 6 (SIGABRT) while it was loaded",
            whole.clone(),
        ),
        (
            "names-abort",
            "signal 6 (SIGABRT) while it was asked for its names",
            whole.clone(),
        ),
        (
            "schema-panic",
            "signal 6 (SIGABRT) while it was asked for its schema",
            whole,
        ),
        ("empty", "", Vec::new()),
        ("half", "", damaged(&|file| file.truncate(file.len() / 2))),
        ("head", "", damaged(&|file| file.truncate(64))),
        ("page", "", damaged(&|file| file.truncate(4096))),
        ("text", "", b"#!/bin/sh\necho no plugin\n".repeat(100)),
        ("magic", "", damaged(&|file| file[0] ^= 1)),
        ("class", "", damaged(&|file| file[4] = 1)),
        ("machine", "", damaged(&|file| file[18] ^= 0xff)),
        ("sections", "", damaged(&|file| file[40..48].fill(0xff))),
        ("segments", "", damaged(&|file| file[32..40].fill(0xff))),
        ("manifest", "", damaged(&|file| file[section] = b'x')),
    ];
    std::thread::scope(|scope| {
        for (case, sentence, bytes) in cases {
            let null = &null;
            scope.spawn(move || {
                let home = tempfile::tempdir().unwrap();
                let (dir, file) = (home.path().join("plugins"), home.path().join("new.so"));
                fs::create_dir(&dir).unwrap();
                fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).unwrap();
                // A working plugin, which the new file would replace.
                fs::write(dir.join("new.so"), null).unwrap();
                fs::set_permissions(dir.join("new.so"), PermissionsExt::from_mode(0o644)).unwrap();
                fs::write(&file, bytes).unwrap();
                let before = files(&dir);
                let mut install = evbus(home.path());
                install
                    .args(["plugins", "install", "--plugin-dir"])
                    .args([&dir, &file])
                    .env(DEED, case);
                let output = run(&mut install, b"");
                let said = stderr(&output);
                assert_eq!(output.status.code(), Some(1), "{case}: {said}");
                assert!(output.stdout.is_empty(), "{case}: {output:?}");
                let reason = said
                    .trim_end()
                    .split_once("new.so: ")
                    .map(|(_, reason)| reason);
                assert!(
                    reason.is_some_and(|reason| !reason.is_empty() && reason.contains(sentence)),
                    "{case}: {said}"
                );
                assert_eq!(
                    said.trim_end()
                        .lines()
                        .filter(|line| line.starts_with("error: "))
                        .count(),
                    1,
                    "{case}: {said}"
                );
                assert!(files(&dir) == before, "{case}: the directory has changed");
            });
        }
    });
}
