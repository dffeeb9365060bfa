//! Running commands that print secrets: none of them outlives the host.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, ExitStatus};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// Those that have not been waited for, so that their numbers are still their own.
static RUNNING: Mutex<Running> = Mutex::new(Running {
    commands: Vec::new(),
    is_over: false,
});

struct Running {
    commands: Vec<Pid>,
    is_over: bool,
}

/// Ends every command that prints a secret, together with its process group; a command that is started later
/// is ended at once. For a program that is about to end.
pub fn end_commands() {
    // Starting one may hang, where its program is on a file system that does.
    let Some(mut running) = RUNNING.try_lock_for(Duration::from_millis(500)) else {
        return;
    };
    running.is_over = true;
    for command in running.commands.drain(..) {
        // Fails only where nothing is left of it.
        let _ = kill_process_group(command, Signal::KILL);
    }
}

/// A running command, the leader of a process group. Dropping it ends the group.
pub(crate) struct RunningCommand(Child);

impl RunningCommand {
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        // Begun under the lock: it is in the list before anybody can end the list.
        let mut running = RUNNING.lock();
        let child = command.process_group(0).spawn()?;
        let pid = Pid::from_child(&child);
        running.commands.push(pid);
        if running.is_over {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        Ok(Self(child))
    }

    pub(crate) fn stdout(&mut self) -> Option<ChildStdout> {
        self.0.stdout.take()
    }

    /// Whether the program itself has ended. What it started may go on, and still belongs to its group.
    pub(crate) fn has_ended(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(Pid::from_child(&self.0)), look).is_ok_and(|status| status.is_some())
    }

    /// How it ended; none if it has not by then.
    pub(crate) fn ended(&mut self, until: Instant) -> Option<ExitStatus> {
        loop {
            {
                let mut running = RUNNING.lock();
                match self.0.try_wait() {
                    Ok(Some(status)) => {
                        running.forget(&self.0);
                        return Some(status);
                    }
                    Ok(None) if Instant::now() < until => {}
                    _ => return None,
                }
            }
            // Its output has ended, so that it is about to.
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Running {
    fn forget(&mut self, child: &Child) {
        let pid = Pid::from_child(child);
        self.commands.retain(|command| *command != pid);
    }
}

impl Drop for RunningCommand {
    fn drop(&mut self) {
        let mut running = RUNNING.lock();
        let pid = Pid::from_child(&self.0);
        if running.commands.contains(&pid) {
            let _ = kill_process_group(pid, Signal::KILL);
            running.forget(&self.0);
            drop(running);
            // A moment: it was killed.
            let _ = self.0.wait();
        } else {
            // Ended by whoever ended all, or waited for already.
            let _ = self.0.try_wait();
        }
    }
}
