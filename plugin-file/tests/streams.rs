//! Terminals and other streams.

mod support;

use std::io::Read;
use std::time::Duration;

use evbus_testkit::TestEvent;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::json;
use support::{accepted, connect, numbered};

/// More than a terminal buffers.
const MANY: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_takes_nothing_holds_no_other_stream_up() {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let master = openpt(flags).expect("there are terminals");
    grantpt(&master).expect("it is the test's");
    unlockpt(&master).expect("it is the test's");
    let name = ptsname(&master, Vec::new()).expect("it has a name");
    let terminal = name.to_str().expect("it is text").to_owned();

    let stuck = connect(json!({"path": terminal})).await;
    let text = "x".repeat(MANY);
    let waiting = stuck.publish(vec![TestEvent::text("idem-run", &text)]);
    // Once something can be read, it has begun to write and is blocked.
    let mut master = std::fs::File::from(master);
    let mut first = [0; 1];
    master.read_exact(&mut first).expect("it writes");

    let other = connect(json!({"path": "/dev/null"})).await;
    accepted(&other, numbered(0..3)).await;

    let reader = std::thread::spawn(move || {
        let mut rest = vec![0; 65536];
        let mut read = 0;
        while read < MANY {
            read += master.read(&mut rest).expect("it goes on");
        }
        master
    });
    let answer = tokio::time::timeout(Duration::from_mins(1), waiting.answer()).await;
    assert!(answer.is_ok(), "it goes on when it is read");
    drop(stuck);
    reader.join().expect("everything was read");
}
