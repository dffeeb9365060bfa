//! The programs that the benchmarks run beside the host: rsyslog, syslog-ng and NATS, as Debian packages them.
//!
//! Their packages are unpacked under Cargo's target directory, in `peers/`, instead of installed: rsyslog and
//! syslog-ng cannot be installed together, and nothing of the system changes. Every call blocks.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::target_dir;

/// Packages that can be installed together, by what the resolver of packages is asked for.
const GROUPS: [&[&str]; 3] = [
    &["rsyslog", "rsyslog-kafka"],
    &[
        "syslog-ng-core",
        "syslog-ng-mod-rdkafka",
        "syslog-ng-mod-amqp",
    ],
    &["nats-server"],
];
/// Written last, so that it tells of finished work.
const MARKER: &str = "complete";

/// Why the peers are not there.
#[derive(Debug)]
#[non_exhaustive]
pub enum PeersError {
    /// A file could not be written or found.
    File {
        /// What was to be done, to which file.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program failed.
    Step {
        /// What was to be done.
        doing: String,
        /// What the program said at its end.
        why: String,
    },
}

impl fmt::Display for PeersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { doing, source } => write!(f, "could not {doing}: {source}"),
            Self::Step { doing, why } => write!(
                f,
                "could not {doing}: {why}; the peers of the benchmarks are fetched as Debian packages, which needs \
                 apt-get, dpkg-deb and up-to-date package lists (sudo apt-get update)"
            ),
        }
    }
}

impl std::error::Error for PeersError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source),
            Self::Step { .. } => None,
        }
    }
}

fn file(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> PeersError {
    let doing = format!("{doing} {}", path.display());
    move |source| PeersError::File { doing, source }
}

/// The unpacked programs.
#[derive(Debug, Clone)]
pub struct Peers {
    root: PathBuf,
}

impl Peers {
    /// Fetches and unpacks them unless that is done; processes that come meanwhile wait.
    ///
    /// # Errors
    ///
    /// When there is no `apt-get`, or it cannot fetch the packages.
    pub fn prepare() -> Result<Self, PeersError> {
        let home = target_dir().join("peers");
        fs::create_dir_all(&home).map_err(file("make", &home))?;
        let path = home.join("lock");
        let lock = File::create(&path).map_err(file("open", &path))?;
        lock.lock().map_err(file("lock", &path))?;
        let peers = Self {
            root: home.join("root"),
        };
        let marker = home.join(MARKER);
        let note = format!("{GROUPS:?}");
        if fs::read_to_string(&marker).is_ok_and(|found| found == note) {
            return Ok(peers);
        }
        let packages = home.join("packages");
        for dir in [&packages, &peers.root] {
            if dir.exists() {
                fs::remove_dir_all(dir).map_err(file("remove the unfinished", dir))?;
            }
            fs::create_dir_all(dir).map_err(file("make", dir))?;
        }
        // Only root may, and lists that are there already may do.
        let _ = step(
            "update the package lists",
            Command::new("apt-get").arg("update"),
        );
        for group in GROUPS {
            step(
                &format!("fetch the Debian packages of {}", group[0]),
                Command::new("apt-get")
                    .arg("download")
                    .args(missing_with(group)?)
                    .current_dir(&packages),
            )?;
        }
        for package in fs::read_dir(&packages).map_err(file("read", &packages))? {
            let package = package.map_err(file("read", &packages))?.path();
            step(
                &format!("unpack {}", package.display()),
                Command::new("dpkg-deb")
                    .arg("--extract")
                    .arg(&package)
                    .arg(&peers.root),
            )?;
        }
        fs::write(&marker, note).map_err(file("write", &marker))?;
        Ok(peers)
    }

    /// rsyslog, told where its modules are.
    #[must_use]
    pub fn rsyslog(&self) -> Command {
        let mut command = self.program("usr/sbin/rsyslogd");
        for modules in self.libraries().map(|dir| dir.join("rsyslog")) {
            if modules.is_dir() {
                command.arg("-M").arg(modules);
            }
        }
        command
    }

    /// syslog-ng, told where its modules are.
    ///
    /// # Panics
    ///
    /// If the package holds no modules.
    #[must_use]
    pub fn syslog_ng(&self) -> Command {
        let mut command = self.program("usr/sbin/syslog-ng");
        let modules = fs::read_dir(self.root.join("usr/lib/syslog-ng"))
            .expect("syslog-ng has a directory of modules")
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.is_dir())
            .expect("syslog-ng has modules");
        command.arg(format!("--module-path={}", modules.display()));
        command
    }

    /// The NATS server.
    #[must_use]
    pub fn nats(&self) -> Command {
        self.program("usr/sbin/nats-server")
    }

    fn program(&self, path: &str) -> Command {
        let mut command = Command::new(self.root.join(path));
        let libraries: Vec<PathBuf> = self
            .libraries()
            .chain([self.root.join("usr/lib/syslog-ng")])
            .collect();
        let joined = std::env::join_paths(libraries).expect("the target directory has no colon");
        command.env("LD_LIBRARY_PATH", joined);
        command
    }

    /// Where the packages put libraries: in directories named after the architecture.
    fn libraries(&self) -> impl Iterator<Item = PathBuf> {
        ["usr/lib", "lib"]
            .map(|dir| self.root.join(dir))
            .into_iter()
            .filter_map(|dir| fs::read_dir(dir).ok())
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.to_string_lossy().ends_with("-linux-gnu"))
    }
}

/// The packages themselves and those that they need and this system lacks.
fn missing_with(group: &[&str]) -> Result<Vec<String>, PeersError> {
    let said = step(
        &format!("find out what the Debian package {} needs", group[0]),
        Command::new("apt-get")
            .args([
                "install",
                "--simulate",
                "--reinstall",
                "--no-install-recommends",
            ])
            .args(group),
    )?;
    Ok(said
        .lines()
        .filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next())
        .map(str::to_owned)
        .collect())
}

/// Runs a program to its end; what it printed.
fn step(doing: &str, command: &mut Command) -> Result<String, PeersError> {
    let output = command
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|source| PeersError::File {
            doing: doing.to_owned(),
            source,
        })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    Err(PeersError::Step {
        doing: doing.to_owned(),
        why: last.map_or_else(|| output.status.to_string(), str::to_owned),
    })
}
