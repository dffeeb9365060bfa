//! A limit of the size of files, as a service manager or `ulimit -f` sets one.

use crate::support::{RunningHost, lines_of, wait_for};
use evbus_testkit::plugin_dir;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

const ACCT: &str = "
file:
  - '*':
      path: '{dir}/out.jsonl'
      evbus: {retry: {first_delay: 0.05, max_delay: 0.2}}
";

const EVENTS: usize = 300;

#[test]
fn a_limit_of_file_size_is_an_error_that_is_tried_again_and_not_the_end_of_the_host() {
    let plugins = plugin_dir(&["plugin-glob", "plugin-file"]);
    let host = RunningHost::start(ACCT, plugins.path(), &[]);
    let pid = Pid::from_raw(host.pid().cast_signed());
    // After the start, which writes the plugins' copies.
    let before = prlimit(
        pid,
        Resource::Fsize,
        Rlimit {
            current: Some(16 * 1024),
            maximum: None,
        },
    )
    .unwrap();
    let event = format!(
        "{{\"profile\": \"a\", \"body\": \"{}\"}}\n",
        "x".repeat(200)
    );
    host.put_events(&event.repeat(EVENTS));
    wait_for("the fault in the status", || {
        let status = host.status();
        let error = status["destinations"][0]["last_error"].to_string();
        error.contains("File too large").then_some(())
    });

    prlimit(pid, Resource::Fsize, before).unwrap();
    wait_for("the rest", || {
        (lines_of(&host.path("out.jsonl")).len() == EVENTS).then_some(())
    });
    let (ended, said) = host.stop();
    assert_eq!(ended.code(), Some(0), "{said}");
}
