//! A directory to work in, and the candidates: the host and its peers, each with the configuration of one workload.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use evbus_testkit::plugin_dir;
use evbus_wire::PULL_SOCKET;
use tempfile::TempDir;
use xtask::peers::Peers;

use crate::Pass;
use crate::load::Form;
use crate::process::Process;

/// One of those that are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Candidate {
    Evbus,
    Rsyslog,
    SyslogNg,
}

pub(crate) const CANDIDATES: [Candidate; 3] =
    [Candidate::Evbus, Candidate::Rsyslog, Candidate::SyslogNg];

impl Candidate {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Evbus => "evbus",
            Self::Rsyslog => "rsyslog",
            Self::SyslogNg => "syslog-ng",
        }
    }

    pub(crate) fn form(self) -> Form {
        match self {
            Self::Evbus => Form::Frames,
            Self::Rsyslog | Self::SyslogNg => Form::Lines,
        }
    }
}

/// The directory of a run, with the plugins that the host gets; removed when dropped.
pub(crate) struct Work {
    dir: TempDir,
    plugins: TempDir,
    has_disk: bool,
    counts: bool,
}

impl Work {
    pub(crate) fn new(plugins: &[&str]) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            plugins: plugin_dir(plugins),
            has_disk: false,
            counts: false,
        }
    }

    /// As [`new`](Self::new), for one pass of a workload.
    pub(crate) fn of(pass: Pass, plugins: &[&str]) -> Self {
        Self {
            counts: pass.counts,
            ..Self::new(plugins)
        }
    }

    /// As [`new`](Self::new), for work in which candidates keep events on disk, in [`disk`](Self::disk).
    pub(crate) fn with_disk(plugins: &[&str]) -> Self {
        let work = Self::new(plugins);
        fs::create_dir(work.disk()).unwrap();
        Self {
            has_disk: true,
            ..work
        }
    }

    pub(crate) fn disk(&self) -> PathBuf {
        self.path().join("disk")
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Starts a candidate with its configuration; gives it and the socket that it reads events from.
    pub(crate) fn start(
        &self,
        candidate: Candidate,
        peers: &Peers,
        configuration: &str,
    ) -> (Process, PathBuf) {
        let (command, socket) = match candidate {
            Candidate::Evbus => self.evbus(configuration),
            Candidate::Rsyslog => self.rsyslog(peers, configuration),
            Candidate::SyslogNg => self.syslog_ng(peers, configuration),
        };
        // One that an earlier run left behind would be taken for the new one's.
        match fs::remove_file(&socket) {
            Ok(()) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
        }
        let mut process = self.run(candidate.name(), command);
        process.until("its socket", || socket.exists());
        (process, socket)
    }

    /// Starts a program, with its allocations counted if this pass is for that.
    pub(crate) fn run(&self, name: &str, command: Command) -> Process {
        if self.counts {
            Process::start_counted(name, command, self.path())
        } else {
            Process::start(name, command, self.path())
        }
    }

    fn evbus(&self, acct: &str) -> (Command, PathBuf) {
        let file = self.path().join("acct.yml");
        fs::write(&file, acct).unwrap();
        let sockets = self.path().join("sockets");
        let mut command = Command::new(env!("CARGO_BIN_EXE_evbus"));
        command.args(["run", "--acct-file"]).arg(file);
        if self.has_disk {
            command.arg("--state-dir").arg(self.disk());
        } else {
            command.arg("--no-state-dir");
        }
        command.arg("--plugin-dir").arg(self.plugins.path());
        command.arg("--sock-dir").arg(&sockets);
        (command, sockets.join(PULL_SOCKET))
    }

    /// With a queue in memory of 200,000 messages, as the others have.
    fn rsyslog(&self, peers: &Peers, rules: &str) -> (Command, PathBuf) {
        let socket = self.path().join("rsyslog.sock");
        let file = self.path().join("rsyslog.conf");
        let text = format!(
            r#"global(workDirectory="{dir}" maxMessageSize="64k")
module(load="imptcp" threads="2")
main_queue(queue.type="LinkedList" queue.size="200000" queue.dequeueBatchSize="4096" queue.workerThreads="1")
template(name="raw" type="string" string="%rawmsg%\n")
template(name="bare" type="string" string="%rawmsg%")
{rules}
input(type="imptcp" path="{socket}" ruleset="work" unlink="on")
"#,
            dir = self.path().display(),
            socket = socket.display()
        );
        fs::write(&file, text).unwrap();
        let mut command = peers.rsyslog();
        command.arg("-n").arg("-f").arg(file);
        command.arg("-i").arg(self.path().join("rsyslog.pid"));
        (command, socket)
    }

    /// `text` has the destination and the path from source `s` to it.
    fn syslog_ng(&self, peers: &Peers, text: &str) -> (Command, PathBuf) {
        let socket = self.path().join("syslog-ng.sock");
        let file = self.path().join("syslog-ng.conf");
        let text = format!(
            r#"@version: 3.38
options {{ keep-hostname(yes); flush-lines(1000); log-fifo-size(200000); stats-freq(0); }};
source s {{ unix-stream("{socket}" flags(no-parse) log-iw-size(100000) log-fetch-limit(1000) max-connections(10)); }};
{text}
"#,
            socket = socket.display()
        );
        fs::write(&file, text).unwrap();
        let mut command = peers.syslog_ng();
        command.args(["-F", "--no-caps", "-f"]).arg(file);
        command
            .arg("--persist-file")
            .arg(self.path().join("syslog-ng.persist"));
        command
            .arg("--pidfile")
            .arg(self.path().join("syslog-ng.pid"));
        command
            .arg("--control")
            .arg(self.path().join("syslog-ng.ctl"));
        (command, socket)
    }
}
