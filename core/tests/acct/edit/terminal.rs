//! A command on its own terminal, with a simulated user.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, ExitStatus};

use rustix::fs::{Mode, OFlags, fcntl_setfl, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::support::wait_for;

/// The command is the leader of its session, and killed when this is dropped.
pub(super) struct Session {
    child: Child,
    keyboard: Option<File>,
    line: File,
    shown: Vec<u8>,
    /// What was already waited for is not found again.
    seen: usize,
}

impl Session {
    pub(super) fn start(command: &Command) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let keyboard = openpt(flags).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let line = File::from(open(&*name, flags, Mode::empty()).unwrap());
        // Non-blocking, because one thread reads and writes.
        fcntl_setfl(&keyboard, OFlags::NONBLOCK).unwrap();
        // `setsid` becomes the command, which keeps this process number.
        let mut session = Command::new("setsid");
        session.arg("--ctty").arg(command.get_program());
        session.args(command.get_args()).env("TERM", "xterm");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => session.env(name, value),
                None => session.env_remove(name),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            session.current_dir(dir);
        }
        let child = session
            .stdin(line.try_clone().unwrap())
            .stdout(line.try_clone().unwrap())
            .stderr(line.try_clone().unwrap())
            .spawn()
            .expect("util-linux's setsid can be started");
        Self {
            child,
            keyboard: Some(keyboard.into()),
            line,
            shown: Vec::new(),
            seen: 0,
        }
    }

    /// Everything that was shown.
    pub(super) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown).into_owned()
    }

    /// Waits until the terminal shows something that it did not show before.
    pub(super) fn wait_for(&mut self, text: &str) {
        wait_for(&format!("the terminal to show {text:?}"), || {
            self.look();
            let new = &self.shown[self.seen..];
            let place = new
                .windows(text.len())
                .position(|part| part == text.as_bytes())?;
            self.seen += place + text.len();
            Some(())
        });
    }

    /// Waits for another condition, while the terminal is read.
    pub(super) fn wait_until(&mut self, what: &str, mut condition: impl FnMut(&mut Self) -> bool) {
        wait_for(what, || {
            self.look();
            condition(self).then_some(())
        });
    }

    pub(super) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(super) fn press(&self, keys: &str) {
        let mut keyboard = self.keyboard.as_ref().expect("nobody has hung up");
        keyboard.write_all(keys.as_bytes()).unwrap();
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Closes the terminal, so that the command gets SIGHUP.
    pub(super) fn hang_up(&mut self) {
        self.keyboard = None;
    }

    /// Waits for the end of the command.
    pub(super) fn end(&mut self) -> ExitStatus {
        wait_for("the end of the command", || {
            self.look();
            self.child.try_wait().unwrap()
        })
    }

    /// Whether typed text is echoed and read line by line.
    pub(super) fn takes_lines(&self) -> bool {
        let modes = tcgetattr(self.line.as_fd()).unwrap().local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    fn look(&mut self) {
        let Some(mut keyboard) = self.keyboard.as_ref() else {
            return;
        };
        let mut part = [0; 4096];
        loop {
            match keyboard.read(&mut part) {
                Ok(0) => return,
                Ok(length) => self.shown.extend_from_slice(&part[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("the terminal cannot be read: {error}"),
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
