//! A host as the README starts it.

use super::*;

#[test]
fn a_host_started_as_the_readme_says_delivers_past_a_destination_that_is_away() {
    const EVENTS: usize = 30_000;
    let plugins = plugins();
    let host = RunningHost::start(
        "fixture-good:\n  '*': {path: '{dir}/away/out.jsonl'}\n  idem-*: {path: '{dir}/one.jsonl'}\n",
        plugins.path(),
        &[RunningHost::DEFAULT_STATE],
    );
    let state = default_state_dir(host.dir.path());
    host.wait_for_log(&format!(
        "queued events and dead letters are kept in {}",
        state.display()
    ));
    host.put_events(&events("idem-run", 0..EVENTS));
    wait_for_lines(&host, "one.jsonl", EVENTS);

    // Other commands find the directory, and a second host does not use it.
    let mut status = evbus(host.dir.path());
    let status = run(status.args(["status", "--json"]), b"");
    assert!(status.status.success(), "{}", stderr(&status));
    let mut second = evbus(host.dir.path());
    second.args(["run", "--sock-dir"]).arg(host.path("other"));
    second.arg("--plugin-dir").arg(plugins.path());
    let second = run(second.arg("--acct-file").arg(host.path("acct.yml")), b"");
    assert_eq!(second.status.code(), Some(78));
    let said = stderr(&second);
    assert!(
        said.contains(&format!(
            "it is in use by process {}; give this host",
            host.pid()
        )),
        "{said}"
    );

    fs::create_dir(host.path("away")).unwrap();
    wait_for("the events that waited", || {
        (bodies(&host, "away/out.jsonl").len() == EVENTS).then_some(())
    });
}

#[test]
fn a_host_without_a_state_directory_says_what_that_means() {
    let plugins = plugins();
    let host = RunningHost::start(ONE, plugins.path(), &["--no-state-dir"]);
    host.wait_for_log("no state directory: queued events and dead letters are kept in memory only");
    assert!(!default_state_dir(host.dir.path()).exists());
}
