//! Running commands that print secrets: none of them outlives the host.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, ExitStatus};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// Commands that have not been waited for, so that their process ids are still theirs.
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
    // Starting a command may hang, if its program is on a file system that hangs.
    let Some(mut running) = RUNNING.try_lock_for(Duration::from_millis(500)) else {
        return;
    };
    running.is_over = true;
    for command in running.commands.drain(..) {
        // Fails only if no process of the group is left.
        let _ = kill_process_group(command, Signal::KILL);
    }
}

/// A running command, the leader of a process group. Dropping it ends the group.
pub(crate) struct RunningCommand(Child);

impl RunningCommand {
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        // Started under the lock, so that it is in the list before `end_commands` takes the list.
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

    /// Whether the program itself has ended. Processes that it started may still run, and belong to its group.
    pub(crate) fn has_ended(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(Pid::from_child(&self.0)), look).is_ok_and(|status| status.is_some())
    }

    /// How it ended; `None` if it has not by then.
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
            // Its output has ended, so it is about to exit.
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
            // It was killed, so this takes only a moment.
            let _ = self.0.wait();
        } else {
            // `end_commands` ended it, or it was waited for already.
            let _ = self.0.try_wait();
        }
    }
}
