//! Disturbances of a running host.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest as _, Sha256};

use super::destinations::{BROKEN, DESTINATIONS, WAITED_AT, WITNESS, Waited, acct};
use super::ledger::Put;
use super::support::{RunningHost, evbus, run, stderr, wait_for};
use super::{Run, fire};

impl Run<'_> {
    /// Something that happens to a running host.
    pub(crate) fn disturb(&mut self, host: &RunningHost) {
        let number = self.random.index(DESTINATIONS.len());
        match self.random.below(9) {
            0 => drop(self.numbers(host)),
            1 => self.change(host, number),
            // A host with a pending SIGHUP would read the empty file.
            2 if !self.has_hung_up => self.rewrite_slowly(host),
            3 | 4 => self.fail_half_way(host),
            5 | 6 => self.let_programs_wait(host),
            7 if self.disk.is_small => self.fill(host),
            _ => {
                // A connected instance keeps its file open, so only a new one fails.
                self.toggle(host.dir.path(), number);
                self.change(host, number);
            }
        }
    }

    /// Takes a destination's far system down, or up again.
    pub(crate) fn toggle(&mut self, home: &Path, number: usize) {
        let up = home.join(DESTINATIONS[number].dir);
        let away = up.with_extension("away");
        let down = &mut self.down[number];
        let (from, to) = if *down { (away, up) } else { (up, away) };
        fs::rename(from, to).unwrap();
        *down = !*down;
    }

    /// Changes a destination in the acct file, and the order of all.
    fn change(&mut self, host: &RunningHost, number: usize) {
        self.delays_ms[number] = (self.delays_ms[number] + self.random.within(1..4)) % 5;
        self.reload(host, false);
    }

    /// Replaces the acct file and informs the host, by the command or by SIGHUP.
    fn reload(&mut self, host: &RunningHost, broken: bool) {
        let text = self.text(host, broken);
        fs::write(host.path("acct.new"), text).unwrap();
        fs::rename(host.path("acct.new"), host.path("acct.yml")).unwrap();
        self.tally.reloads += 1;
        if self.random.below(2) == 0 {
            let pid = Pid::from_raw(i32::try_from(host.pid()).unwrap()).unwrap();
            kill_process(pid, Signal::HUP).unwrap();
            self.has_hung_up = true;
            return;
        }
        let mut reload = evbus(host.dir.path());
        reload.args(["reload", "--sock-dir"]).arg(host.path("s"));
        let output = run(&mut reload, b"");
        assert!(
            output.status.success() != broken || self.harms || self.disk.is_small,
            "{}",
            stderr(&output)
        );
    }

    fn text(&mut self, host: &RunningHost, broken: bool) -> String {
        acct(&self.delays_ms, self.waited, broken, &mut self.random)
            .replace("{dir}", &host.dir.path().to_string_lossy())
    }

    /// Rewrites the acct file in place: for a while it is empty, and then incomplete.
    fn rewrite_slowly(&mut self, host: &RunningHost) {
        let text = self.text(host, false);
        let mut file = fs::File::create(host.path("acct.yml")).unwrap();
        let half = self.random.index(text.len());
        for part in [&text[..half], &text[half..]] {
            thread::sleep(Duration::from_millis(self.random.below(200)));
            file.write_all(part.as_bytes()).unwrap();
        }
        self.tally.reloads += 1;
    }

    /// A reload that fails after some of it may have been prepared must change nothing. A destination that was removed
    /// before may still be ending.
    fn fail_half_way(&mut self, host: &RunningHost) {
        let digest = Sha256::digest(format!("fixture-good\n0\n{BROKEN}"));
        let hash = digest[..6]
            .iter()
            .fold(String::new(), |hash, byte| format!("{hash}{byte:02x}"));
        let store = format!("queues/fixture-good-broken-_-{hash}.db");
        fs::create_dir_all(self.disk.state().join(store)).unwrap();
        let before = self.numbers(host);
        let was = std::mem::replace(&mut self.waited, Waited::There);
        self.reload(host, true);
        self.tally.failed_reloads += 1;
        thread::sleep(Duration::from_millis(self.random.below(150)));
        for (number, (before, after)) in before.iter().zip(self.numbers(host)).enumerate() {
            let (Some(before), Some(after)) = (before, after) else {
                continue;
            };
            assert!(
                after.received >= before.received,
                "{}: {before:?} before a reload that failed, {after:?} after it",
                DESTINATIONS[number].pattern
            );
        }
        self.waited = was;
        if self.random.below(2) == 0 {
            self.waited = Waited::There;
        }
        self.reload(host, false);
    }

    /// Programs wait for room at a destination that is away, perhaps until the host ends; perhaps the destination is
    /// removed, renamed or comes back.
    fn let_programs_wait(&mut self, host: &RunningHost) {
        if !self.down[WAITED_AT] {
            self.toggle(host.dir.path(), WAITED_AT);
        }
        self.waited = Waited::There;
        self.change(host, WAITED_AT);
        let count = self.random.within(1..4);
        let both = |all: [Option<super::numbers::Numbers>; DESTINATIONS.len()]| {
            all[WAITED_AT]?;
            Some(all[WITNESS]?.received)
        };
        let before = wait_for("the destination to be there", || both(self.numbers(host)));
        for _ in 0..count {
            self.next_put += 1;
            let put = Put::waiting(self.next_put, self.lives.len());
            let (home, sockets) = (host.dir.path().to_owned(), host.path("s"));
            let waits = thread::spawn(move || vec![fire(put, &home, &sockets)]);
            self.waiting.push(waits);
        }
        // On a full disk the events do not reach the witness, and an event that is fired after its destination was
        // removed rightly matches nothing.
        let is_witnessed = !self.disk.is_small;
        if is_witnessed {
            wait_for("the programs to have fired", || {
                (both(self.numbers(host)) >= Some(before + count)).then_some(())
            });
        }
        self.tally.waits += usize::try_from(count).unwrap();
        match self.random.below(5) {
            0 if is_witnessed => {
                self.waited = Waited::Removed;
                self.reload(host, false);
            }
            1 if is_witnessed => {
                self.waited = Waited::Renamed;
                self.reload(host, false);
            }
            2 => {
                self.toggle(host.dir.path(), WAITED_AT);
                self.change(host, WAITED_AT);
            }
            _ => {}
        }
    }

    /// The disk of the state directory is full for a while, perhaps until the host has ended.
    fn fill(&mut self, host: &RunningHost) {
        let left = self.random.below(2) * self.random.below(300_000);
        self.disk.fill(left);
        self.tally.full_disks += 1;
        thread::sleep(Duration::from_millis(self.random.below(300)));
        self.numbers(host);
        if self.random.below(3) > 0 {
            self.disk.make_room();
        }
    }
}
