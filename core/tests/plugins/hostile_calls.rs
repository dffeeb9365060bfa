//! Plugins that hang or panic when a running host calls them: the host names them and continues.

use std::fs;
use std::process::Output;
use std::thread::JoinHandle;

use crate::beside::{delivers, ends_at_once};
use crate::support::{RunningHost, evbus, lines_of, run, stderr, wait_for};
use evbus_testkit::built_all;

fn host_with(match_plugin: &str) -> RunningHost {
    let dir = tempfile::tempdir().unwrap();
    let plugins = dir.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    for built in built_all(&[
        "plugin-glob",
        "fixture-good",
        "fixture-hostile",
        "fixture-talking",
    ]) {
        fs::copy(&built, plugins.join(built.file_name().unwrap())).unwrap();
    }
    RunningHost::start_in(dir, &acct(match_plugin, ""), &plugins, &[])
}

fn acct(match_plugin: &str, more: &str) -> String {
    format!(
        "match_plugin: {match_plugin}\nfixture-good:\n  idem-run: {{path: {{dir}}/good.jsonl}}\n{more}"
    )
}

/// Makes the host read another acct file, in the background.
fn reload_with(host: &RunningHost, acct: &str) -> JoinHandle<Output> {
    let acct = acct.replace("{dir}", &host.dir.path().to_string_lossy());
    fs::write(host.path("acct.yml"), acct).unwrap();
    let mut reload = evbus(host.dir.path());
    reload.args(["reload", "--sock-dir", &host.sock_dir()]);
    std::thread::spawn(move || run(&mut reload, b""))
}

#[test]
fn a_plugin_that_hangs_over_a_configuration_or_patterns_is_named_and_refused() {
    for (match_plugin, more, doing, sentence) in [
        (
            "glob",
            "fixture-hostile: {p: {x: check-hang}}\n",
            "while it checked a configuration",
            "it did not check the configuration within 10 s",
        ),
        (
            "fixture-hostile",
            "fixture-hostile: {compile-hang: }\n",
            "while it compiled patterns",
            "it did not compile the patterns within 10 s",
        ),
    ] {
        let host = host_with("glob");
        let reload = reload_with(&host, &acct(match_plugin, more));
        host.wait_for_log(&format!(
            "plugin fixture-hostile has not answered for 5 s ({doing})"
        ));
        delivers(&host, "meanwhile");
        let output = reload.join().unwrap();
        let said = stderr(&output);
        assert!(!output.status.success(), "{said}");
        assert!(said.contains(sentence), "{said}");
        delivers(&host, "afterwards");
        // The host does not wait for it again.
        let again = reload_with(&host, &acct(match_plugin, more))
            .join()
            .unwrap();
        let said = stderr(&again);
        assert!(said.contains("because it has hung for"), "{said}");
        // What does not need it works.
        let output = reload_with(&host, &acct("glob", "")).join().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        ends_at_once(host);
    }
}

#[test]
fn a_host_that_waits_for_a_plugin_ends_when_it_is_told_to() {
    let host = host_with("glob");
    let reload = reload_with(
        &host,
        &acct("glob", "fixture-hostile: {p: {x: check-hang}}\n"),
    );
    host.wait_for_log("plugin fixture-hostile has not answered for 5 s");
    ends_at_once(host);
    let output = reload.join().unwrap();
    assert!(!output.status.success(), "{}", stderr(&output));
}

#[test]
fn names_that_a_match_plugin_hangs_for_stop_nobody_else() {
    let host = host_with("fixture-hostile");
    // More than the runtime has threads, and more than may hang.
    for number in 0..6 {
        let mut put = evbus(host.dir.path());
        let name = format!("match-hang {number}");
        put.args(["put", &name, "1", "--sock-dir"])
            .arg(host.sock_dir());
        let output = run(&mut put, b"");
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let expected = if number < 4 {
            "match plugin fixture-hostile did not answer within 1 s"
        } else {
            "match plugin fixture-hostile hangs on 4 other profiles"
        };
        assert!(said.contains(expected), "{number}: {said}");
        if number == 2 {
            delivers(&host, "meanwhile");
        }
    }
    assert_eq!(host.status()["destinations"][0]["accepted"], 1);
    // Names answered before are still known.
    delivers(&host, "afterwards");
    host.wait_for_log(
        "match plugin fixture-hostile did not answer within 1 s for profile \"match-hang 0\"",
    );
    ends_at_once(host);
}

#[test]
fn after_sixty_four_calls_that_hang_in_pattern_sets_of_the_past_the_set_that_answers_is_kept() {
    let host = host_with("fixture-hostile");
    let put = |name: String| {
        let mut put = evbus(host.dir.path());
        put.args(["put", &name, "1", "--sock-dir"])
            .arg(host.sock_dir());
        run(&mut put, b"")
    };
    let put = &put;
    let hanging = || {
        let threads = fs::read_dir(format!("/proc/{}/task", host.pid())).unwrap();
        let names = threads
            .flatten()
            .map(|thread| fs::read_to_string(thread.path().join("comm")).unwrap_or_default());
        names.filter(|name| name == "evbus matcher\n").count()
    };
    std::thread::scope(|scope| {
        for round in 0..16 {
            // As many as may hang for one set.
            for nth in 0..4 {
                scope.spawn(move || {
                    let output = put(format!("match-hang {round} {nth}"));
                    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
                });
            }
            wait_for("a thread for each", || {
                (hanging() >= 4 * (round + 1)).then_some(())
            });
            // A different set of patterns.
            let more = format!("  other-{round}: {{path: {{dir}}/other}}\n");
            let output = reload_with(&host, &acct("fixture-hostile", &more));
            let output = output.join().unwrap();
            assert!(output.status.success(), "{}", stderr(&output));
        }
    });
    let sentence =
        "64 threads hang in match plugins; remove the hanging plugin and restart the host";
    let mut tries = 0;
    wait_for("a reload to be refused", || {
        tries += 1;
        let more = format!("  last-{tries}: {{path: {{dir}}/other}}\n");
        let output = reload_with(&host, &acct("fixture-hostile", &more));
        let output = output.join().unwrap();
        let said = stderr(&output);
        assert!(output.status.success() || said.contains(sentence), "{said}");
        (!output.status.success()).then_some(())
    });
    // One of them belongs to the current set.
    wait_for("no more threads than that", || {
        (hanging() == 65).then_some(())
    });
    delivers(&host, "all the same");
    ends_at_once(host);
}

#[test]
fn a_name_that_a_match_plugin_is_slow_for_is_delivered_when_it_is_tried_again() {
    let host = host_with("fixture-hostile");
    let mut tries = 0;
    wait_for("the event to be kept", || {
        tries += 1;
        let mut put = evbus(host.dir.path());
        put.args(["put", "match-slow", "1", "--sock-dir"])
            .arg(host.sock_dir());
        run(&mut put, b"").status.success().then_some(())
    });
    assert!(tries > 1, "it takes longer than a name may");
    wait_for("the event", || {
        (lines_of(&host.path("good.jsonl")).len() == 1).then_some(())
    });
    ends_at_once(host);
}

#[test]
fn a_match_plugin_has_a_voice_and_its_panics_a_text_and_a_place() {
    let host = host_with("fixture-talking");
    delivers(&host, "heard");
    let mut put = evbus(host.dir.path());
    put.args(["put", "panic", "1", "--sock-dir"])
        .arg(host.sock_dir());
    let output = run(&mut put, b"");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the match plugin panicked"), "{said}");
    let log = ends_at_once(host);
    for line in [
        "compiles patterns=1 plugin=\"fixture-talking\"",
        "matches a name of 8 bytes plugin=\"fixture-talking\"",
        "src/lib.rs:19: the fixture was told to plugin=\"fixture-talking\"",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
}
