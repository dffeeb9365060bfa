//! Hosts that are ended while they start: at any moment of reading, repairing and salvaging stores.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::destinations::acct;
use super::support::{evbus, wait_for};
use super::{DRAIN_TIMEOUT, Run};

impl Run<'_> {
    /// Starts a host over the state directory and ends it at a random moment, perhaps with the disk full. The next one
    /// continues whatever it had begun.
    pub(crate) fn interrupt_start(&mut self, home: &Path) {
        if self.disk.is_small && self.random.below(2) == 0 {
            let left = self.random.below(2) * self.random.below(2_000_000);
            self.disk.fill(left);
            self.tally.full_disks += 1;
        }
        let text = acct(&self.delays_ms, self.waited, false, &mut self.random);
        fs::write(
            home.join("acct.yml"),
            text.replace("{dir}", &home.to_string_lossy()),
        )
        .unwrap();
        let said = home.join("interrupted.log");
        let mut host = evbus(home)
            .args(["run", "--drain-timeout", DRAIN_TIMEOUT, "--acct-file"])
            .arg(home.join("acct.yml"))
            .arg("--plugin-dir")
            .arg(self.plugins)
            .arg("--sock-dir")
            .arg(home.join("s"))
            .arg("--state-dir")
            .arg(self.disk.state())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&said).unwrap())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(self.random.below(400)));
        let signal = match self.random.below(3) {
            0 => Signal::TERM,
            _ => Signal::KILL,
        };
        // It may have ended by itself if the disk is full.
        let _ = kill_process(Pid::from_child(&host), signal);
        wait_for("a host that starts to end", || host.try_wait().unwrap());
        self.log += "-- a start that is interrupted\n";
        self.log += &fs::read_to_string(said).unwrap();
        self.tally.interrupted += 1;
        self.disk.make_room();
    }
}
