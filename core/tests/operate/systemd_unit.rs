//! The systemd unit in the documentation: systemd accepts it, and it restricts the host.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{evbus, program, run, stderr};

fn unit() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/evbus.service");
    fs::read_to_string(path).unwrap()
}

/// The values of a key in the unit.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    lines
        .filter(|(found, _)| *found == key)
        .map(|(_, value)| value)
        .collect()
}

fn systemd_analyze(arguments: &[&str]) -> (bool, String) {
    let output: Output = Command::new("systemd-analyze")
        .args(arguments)
        .output()
        .expect("systemd-analyze is installed; `cargo xtask setup` does that");
    let said = [&output.stdout[..], &output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn systemd_takes_the_unit_and_rates_it_well() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("evbus.service");
    // Tests use the program that was built, not the installed one.
    let text = unit().replace("/usr/bin/evbus", program().to_str().unwrap());
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let (is_well, said) = systemd_analyze(&["verify", file]);
    assert!(is_well && said.is_empty(), "{said}");
    // The option takes tenths of the number that is shown.
    let (is_well, said) = systemd_analyze(&[
        "security",
        "--offline=yes",
        "--no-pager",
        "--threshold=20",
        file,
    ]);
    assert!(is_well, "{said}");
}

#[test]
fn what_the_unit_runs_is_what_this_version_takes() {
    let unit = unit();
    assert_eq!(values(&unit, "WantedBy"), ["multi-user.target"]);
    assert_eq!(values(&unit, "RestartPreventExitStatus"), ["2 78"]);
    let home = tempfile::tempdir().unwrap();
    for key in ["ExecStart", "ExecReload"] {
        let commands = values(&unit, key);
        assert_eq!(commands.len(), 1, "{key}");
        let words: Vec<&str> = commands[0].split(' ').collect();
        assert_eq!(words[0], "/usr/bin/evbus");
        let output = run(evbus(home.path()).args(&words[1..]).arg("--help"), b"");
        assert!(output.status.success(), "{key}: {}", stderr(&output));
        // With --help, no flag is evaluated, so all of them are looked up.
        let help = String::from_utf8(output.stdout).unwrap();
        for flag in words.iter().filter(|word| word.starts_with("--")) {
            assert!(help.contains(&format!("{flag} ")), "{key}: {flag}");
        }
    }
}
