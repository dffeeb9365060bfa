//! What is measured: the host, the bare copy loop and Salt's own publishers, each in a process of its own
//! behind the same two sockets.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use evbus_wire::{Framing, PUB_SOCKET, PULL_SOCKET};
use tempfile::TempDir;

/// What the copy loop reads at a time: as much as the host.
const READ_BYTES: usize = 64 * 1024;
const START_LIMIT: Duration = Duration::from_secs(30);
/// The argument that makes this program the copy loop.
const COPY_LOOP: &str = "copy-loop";

/// A kind of server.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// Reads from one socket and writes the same bytes to the others.
    CopyLoop,
    /// `evbus run`, without destinations.
    Evbus,
    /// Salt's publisher: the release, and the Python that has it.
    Salt(&'static str, PathBuf),
}

impl Kind {
    pub(super) fn name(&self) -> String {
        match self {
            Self::CopyLoop => "bare copy loop".to_owned(),
            Self::Evbus => "evbus".to_owned(),
            Self::Salt(release, _) => format!("Salt {release}"),
        }
    }

    /// How programs for this kind of server frame what they fire and receive.
    pub(super) fn framings(&self) -> (Framing, Framing) {
        match self {
            Self::Salt("3006.30", _) => (Framing::Prefixed, Framing::Prefixed),
            Self::Salt("3008.5", _) => (Framing::Prefixed, Framing::Bare),
            _ => (Framing::Bare, Framing::Bare),
        }
    }

    /// Starts it for this many listeners, which the copy loop has to know.
    pub(super) fn start(&self, listeners: usize) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let sockets = dir.path().join("sockets");
        fs::create_dir(&sockets).unwrap();
        let mut command = match self {
            Self::CopyLoop => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.arg(COPY_LOOP).arg(listeners.to_string());
                command
            }
            Self::Evbus => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_evbus"));
                command.args(["run", "--plugin-dir"]).arg(dir.path());
                command.arg("--sock-dir");
                command
            }
            Self::Salt(_, python) => {
                let mut command = Command::new(python);
                let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/sockets/publisher.py");
                command.args(["-E", script]);
                command
            }
        };
        let log = dir.path().join("log");
        let process = command
            .arg(&sockets)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut server = Server {
            process,
            sockets,
            dir,
        };
        server.wait_for_sockets();
        server
    }
}

/// A running server; ended when dropped.
pub(super) struct Server {
    process: Child,
    sockets: PathBuf,
    dir: TempDir,
}

impl Server {
    fn wait_for_sockets(&mut self) {
        let start = Instant::now();
        while !(self.sockets.join(PUB_SOCKET).exists() && self.sockets.join(PULL_SOCKET).exists()) {
            let ended = self.process.try_wait().unwrap();
            if ended.is_some() || start.elapsed() > START_LIMIT {
                let log = fs::read_to_string(self.dir.path().join("log")).unwrap();
                panic!("a server opened no sockets ({ended:?}); it said: {log}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(super) fn listen(&self) -> UnixStream {
        connect(&self.sockets.join(PUB_SOCKET))
    }

    pub(super) fn fire(&self) -> UnixStream {
        connect(&self.sockets.join(PULL_SOCKET))
    }

    pub(super) fn memory(&self) -> Memory {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
            kibibytes * 1024
        };
        Memory {
            now: field("VmRSS:"),
            highest: field("VmHWM:"),
        }
    }
}

/// A server's resident memory, in bytes.
pub(super) struct Memory {
    pub(super) now: u64,
    pub(super) highest: u64,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only if it has ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Between the file's appearance and `listen` a connection is refused.
fn connect(socket: &Path) -> UnixStream {
    let start = Instant::now();
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => {
                stream.set_read_timeout(Some(START_LIMIT)).unwrap();
                return stream;
            }
            Err(error) => assert!(start.elapsed() < START_LIMIT, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Becomes the copy loop if the arguments say so; then it ends with its program.
pub(super) fn is_copy_loop() -> bool {
    let args: Vec<String> = std::env::args().collect();
    let [_, order, listeners, dir] = &args[..] else {
        return false;
    };
    if order == COPY_LOOP {
        copy(Path::new(dir), listeners.parse().unwrap());
    }
    order == COPY_LOOP
}

fn copy(dir: &Path, listeners: usize) {
    let publish = UnixListener::bind(dir.join(PUB_SOCKET)).unwrap();
    let pull = UnixListener::bind(dir.join(PULL_SOCKET)).unwrap();
    let mut listeners: Vec<UnixStream> = (0..listeners)
        .map(|_| publish.accept().unwrap().0)
        .collect();
    let (mut program, _) = pull.accept().unwrap();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        // An error means that the program or a listener is gone.
        let Ok(count @ 1..) = program.read(&mut buffer) else {
            return;
        };
        for listener in &mut listeners {
            if listener.write_all(&buffer[..count]).is_err() {
                return;
            }
        }
    }
}
