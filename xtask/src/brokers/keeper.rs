//! The small process that outlives a broker's owner and clears up behind it.
//!
//! It reads commands from a pipe whose other end only the owner holds. When the pipe ends, for
//! whatever reason, it kills every process of the broker and removes the broker's directory. A
//! process belongs to the broker when [`MARK`] in its environment names the directory: that also
//! finds helpers which left the process group, as Erlang's do.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::BrokerError;

/// An environment variable of every process of a broker.
const MARK: &str = "EVBUS_BROKER_DIR";

/// A process may be about to start another one during the search, so the search ends only after two rounds that found
/// nothing. The number of rounds is limited, because a process in an uninterruptible state stays.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
sweep() {
    quiet=0
    rounds=0
    while [ $quiet -lt 2 ] && [ $rounds -lt 200 ]; do
        pids=$(grep -lszxF "$1=$2" /proc/[0-9]*/environ | cut -d/ -f3)
        if [ -n "$pids" ]; then
            kill -9 $pids 2>/dev/null
            quiet=0
        else
            quiet=$((quiet + 1))
        fi
        rounds=$((rounds + 1))
        sleep 0.05
    done
}
while read -r order; do
    case $order in
        sweep) sweep "$1" "$2"; echo swept ;;
        leave) exit 0 ;;
    esac
done
sweep "$1" "$2"
rm -rf -- "$2"
"#;

/// A private directory with the processes that live for it, and the keeper that ends and removes them
/// when this value is dropped or its process ends in whatever way.
#[derive(Debug)]
pub struct Keeper {
    dir: PathBuf,
    process: Child,
    /// `None` once the keeper has been told to finish.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Keeper {
    /// Makes a private temporary directory and starts its keeper.
    ///
    /// # Errors
    ///
    /// When the directory cannot be made or `/bin/sh` not be started.
    pub(crate) fn start(broker: &str) -> Result<Self, BrokerError> {
        Self::start_in(&std::env::temp_dir(), broker)
    }

    /// As `start`, with the directory in `parent`: `NAME` stands in its name, `evbus-NAME-` and six
    /// letters.
    ///
    /// # Errors
    ///
    /// When the directory cannot be made or `/bin/sh` not be started.
    pub fn start_in(parent: &Path, name: &str) -> Result<Self, BrokerError> {
        let dir = tempfile::Builder::new()
            .prefix(&format!("evbus-{name}-"))
            .tempdir_in(parent)
            .map_err(BrokerError::io("make a temporary directory"))?;
        let mut process = script(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(BrokerError::io("start /bin/sh"))?;
        let orders = process.stdin.take();
        let answers = process.stdout.take().expect("standard output is piped");
        Ok(Self {
            // From now on, the keeper removes it.
            dir: dir.keep(),
            process,
            orders,
            answers: BufReader::new(answers),
        })
    }

    /// The private directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A command whose process, with all its children, belongs to the broker. It runs in the
    /// broker's directory, in a process group of its own (so that Ctrl-C reaches only the owner),
    /// and without standard input.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env(MARK, &self.dir)
            .current_dir(&self.dir)
            .process_group(0)
            .stdin(Stdio::null());
        command
    }

    /// Kills every process of the broker and waits until none is left; the directory stays.
    ///
    /// # Errors
    ///
    /// When the keeper itself is gone.
    pub(crate) fn sweep(&mut self) -> Result<(), BrokerError> {
        self.order("sweep")?;
        let mut answer = String::new();
        self.answers
            .read_line(&mut answer)
            .map_err(BrokerError::io("hear from the broker's keeper"))?;
        Ok(())
    }

    /// Lets the broker live on without an owner; [`clear`] ends it later.
    ///
    /// # Errors
    ///
    /// When the keeper itself is gone.
    pub(crate) fn leave(&mut self) -> Result<(), BrokerError> {
        self.order("leave")?;
        self.finish();
        Ok(())
    }

    /// Ends the broker's processes, removes its directory and waits for both.
    pub(crate) fn finish(&mut self) {
        if self.orders.take().is_some() {
            // A failure cannot be handled: this program started the process and waits for it once.
            let _ = self.process.wait();
        }
    }

    fn order(&mut self, order: &str) -> Result<(), BrokerError> {
        let Some(orders) = &mut self.orders else {
            return Ok(());
        };
        writeln!(orders, "{order}").map_err(BrokerError::io("command the broker's keeper"))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Ends every process of the broker that lives in `dir` and removes `dir`.
///
/// # Errors
///
/// When `/bin/sh` cannot be started.
pub(crate) fn clear(dir: &Path) -> Result<(), BrokerError> {
    script(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(BrokerError::io("start /bin/sh"))?;
    Ok(())
}

fn script(dir: &Path) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", SCRIPT, "evbus-keeper", MARK])
        .arg(dir)
        .env_remove(MARK)
        // It must not keep a directory busy that somebody wants to remove or unmount.
        .current_dir("/")
        .process_group(0)
        .stderr(Stdio::null());
    command
}
