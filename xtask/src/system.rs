//! The programs that builds and tests need from the system, and how to get them.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oldest Java that can run the Kafka of the tests.
const JAVA: u32 = 17;
const RABBITMQ: &str = "/usr/lib/rabbitmq/lib";

/// Something a build or a test needs from the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Need {
    /// A C compiler, for the C parts of the plugins.
    Cc,
    /// A C++ compiler, for the C++ parts of the plugins and for libFuzzer.
    Cxx,
    /// make.
    Make,
    /// `CMake`, which builds librdkafka.
    Cmake,
    /// Perl, which configures OpenSSL's build.
    Perl,
    /// The `RabbitMQ` server, for the tests of plugin-pika.
    RabbitMq,
    /// A Java runtime, 17 or newer, for the Kafka of the tests.
    Java,
    /// Maven, which fetches the Kafka of the tests.
    Maven,
    /// The `openssl` program, which makes the certificates of the tests.
    OpenSsl,
    /// Python 3.10 or newer with its module `venv`, for the tests with Salt's own library and with
    /// Idem.
    Python,
    /// vim, for the tests of `evbus acct edit`.
    Vim,
    /// The `ip` program, which readies the network namespaces of tests.
    Ip,
    /// `systemd-analyze`, which checks the unit in the documentation.
    SystemdAnalyze,
}

/// What compiling the plugins takes.
pub const BUILD: &[Need] = &[Need::Cc, Need::Cxx, Need::Make, Need::Cmake, Need::Perl];
/// What the brokers of the tests take.
pub const BROKERS: &[Need] = &[Need::RabbitMq, Need::Java, Need::Maven, Need::OpenSsl];
/// What tests with networks of their own take; `unshare` is part of every system.
pub const NETWORKS: &[Need] = &[Need::Ip];
/// What the test of the documented unit takes.
pub const UNITS: &[Need] = &[Need::SystemdAnalyze];
/// What installing Salt and Idem takes.
pub const PYTHON: &[Need] = &[Need::Python];
/// What the tests at a terminal take.
pub const TERMINAL: &[Need] = &[Need::Vim];

impl Need {
    /// Whether the program is there.
    pub fn is_met(self) -> bool {
        match self {
            Self::Cc => on_path("cc"),
            Self::Cxx => on_path("c++"),
            Self::Make => on_path("make"),
            Self::Cmake => on_path("cmake"),
            Self::Perl => on_path("perl"),
            Self::RabbitMq => find_rabbitmq().is_some() && on_path("epmd") && on_path("erl"),
            Self::Java => find_java().is_some(),
            Self::Maven => on_path("mvn"),
            Self::OpenSsl => on_path("openssl"),
            Self::Python => makes_environments(),
            Self::Vim => on_path("vim"),
            Self::Ip => on_path("ip"),
            Self::SystemdAnalyze => on_path("systemd-analyze"),
        }
    }

    /// The Debian package; alternatives are separated by bars, and the first that exists is used.
    fn package(self) -> &'static str {
        match self {
            Self::Cc => "gcc",
            Self::Cxx => "g++",
            Self::Make => "make",
            Self::Cmake => "cmake",
            Self::Perl => "perl",
            Self::RabbitMq => "rabbitmq-server",
            Self::Java => "openjdk-21-jre-headless|openjdk-17-jre-headless|default-jre-headless",
            Self::Maven => "maven",
            Self::OpenSsl => "openssl",
            // It includes python3.
            Self::Python => "python3-venv",
            Self::Vim => "vim",
            Self::Ip => "iproute2",
            Self::SystemdAnalyze => "systemd",
        }
    }

    fn description(self) -> String {
        match self {
            Self::Java => format!("a Java runtime {JAVA} or newer"),
            Self::Python => "Python 3.10 or newer with its module venv".to_owned(),
            other => other.package().to_owned(),
        }
    }
}

/// Why the system does not have what is needed.
#[derive(Debug)]
#[non_exhaustive]
pub enum SystemError {
    /// Programs are missing, and were not or could not be installed.
    Missing(Vec<Need>),
    /// The package manager failed.
    Install {
        /// What was missing.
        needs: Vec<Need>,
        /// What happened.
        why: String,
    },
}

impl fmt::Display for SystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (needs, why) = match self {
            Self::Missing(needs) => (needs, None),
            Self::Install { needs, why } => (needs, Some(why)),
        };
        let names: Vec<_> = needs.iter().map(|need| need.description()).collect();
        // The last of the alternatives is available on every Debian.
        let packages: Vec<_> = needs
            .iter()
            .filter_map(|need| need.package().rsplit('|').next())
            .collect();
        write!(f, "missing on this system: {}", names.join(", "))?;
        if let Some(why) = why {
            write!(f, " ({why})")?;
        }
        write!(
            f,
            "; on Debian or Ubuntu install with: sudo apt-get install -y --no-install-recommends {}",
            packages.join(" ")
        )
    }
}

impl std::error::Error for SystemError {}

/// Looks for the needed programs, changes nothing.
///
/// # Errors
///
/// Names all that are missing, and the command that installs them.
pub fn check(needs: &[Need]) -> Result<(), SystemError> {
    let missing: Vec<Need> = needs
        .iter()
        .copied()
        .filter(|need| !need.is_met())
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(SystemError::Missing(missing))
    }
}

/// Looks for the needed programs, and installs what is missing where it may: on a system with
/// `apt-get`, as root or with a sudo that asks for no password. Blocks for minutes when it installs;
/// the package manager's output goes to standard error. Services of the packages are not started.
///
/// # Errors
///
/// Names all that are missing, and the command that installs them.
pub fn ensure(needs: &[Need]) -> Result<(), SystemError> {
    let Err(error) = check(needs) else {
        return Ok(());
    };
    let SystemError::Missing(missing) = error else {
        return Err(error);
    };
    let Some(privileged) = privileged_shell() else {
        return Err(SystemError::Missing(missing));
    };
    match install(privileged, &missing) {
        Ok(()) => check(needs),
        Err(why) => Err(SystemError::Install {
            needs: missing,
            why,
        }),
    }
}

/// A daemon in a package would take the ports of a real one, so a policy prevents starting any while packages are
/// installed, and the service stays disabled.
const INSTALL: &str = r#"
set -e
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
apt-get update
packages=
for alternatives in "$@"; do
    chosen=
    for package in $(echo "$alternatives" | tr '|' ' '); do
        if [ -z "$chosen" ] && apt-cache show "$package" > /dev/null 2>&1; then
            chosen=$package
        fi
    done
    packages="$packages ${chosen:-$alternatives}"
done
apt-get install -y --no-install-recommends $packages
case $packages in *rabbitmq-server*)
    if [ -d /run/systemd/system ]; then systemctl disable rabbitmq-server; fi ;;
esac
"#;

fn install(mut shell: Command, missing: &[Need]) -> Result<(), String> {
    let status = shell
        .args(["-c", INSTALL, "install"])
        .args(missing.iter().map(|need| need.package()))
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status()
        .map_err(|error| format!("apt-get could not be started: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("apt-get failed with {status}"))
    }
}

fn privileged_shell() -> Option<Command> {
    if !on_path("apt-get") {
        return None;
    }
    if rustix::process::geteuid().is_root() {
        return Some(Command::new("/bin/sh"));
    }
    let asks_nothing = Command::new("sudo")
        .args(["-n", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    asks_nothing.then(|| {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "/bin/sh"]);
        sudo
    })
}

/// The directory of the installed `RabbitMQ` server: `RABBITMQ_HOME` if set, otherwise the package's.
///
/// # Errors
///
/// When there is none.
pub fn rabbitmq_home() -> Result<PathBuf, SystemError> {
    find_rabbitmq().ok_or_else(|| SystemError::Missing(vec![Need::RabbitMq]))
}

/// A Java runtime that is new enough, and its version: that of `JAVA_HOME`, the one on the path, or
/// one of the installed others.
///
/// # Errors
///
/// When there is none.
pub fn java() -> Result<(PathBuf, String), SystemError> {
    find_java().ok_or_else(|| SystemError::Missing(vec![Need::Java]))
}

fn find_rabbitmq() -> Option<PathBuf> {
    let named = std::env::var_os("RABBITMQ_HOME").map(PathBuf::from);
    let packaged = entries(Path::new(RABBITMQ));
    named
        .into_iter()
        .chain(packaged)
        .find(|home| home.join("sbin/rabbitmq-server").is_file())
}

fn find_java() -> Option<(PathBuf, String)> {
    let home = std::env::var_os("JAVA_HOME").map(|home| Path::new(&home).join("bin/java"));
    let installed = entries(Path::new("/usr/lib/jvm"))
        .into_iter()
        .map(|home| home.join("bin/java"));
    home.into_iter()
        .chain([PathBuf::from("java")])
        .chain(installed)
        .find_map(|java| {
            let version = java_version(&java)?;
            let major: u32 = version.split(['.', '-', '+', '_']).next()?.parse().ok()?;
            (major >= JAVA).then_some((java, version))
        })
}

/// `java -version` prints a line like `openjdk version "17.0.15" 2025-04-15`.
fn java_version(java: &Path) -> Option<String> {
    let output = Command::new(java)
        .arg("-version")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    text.split('"').nth(1).map(str::to_owned)
}

/// Salt 3008.5 needs 3.10 or newer. Debian's python3 has the module `venv`, but not what installs pip in an
/// environment.
fn makes_environments() -> bool {
    Command::new("python3")
        .args([
            "-Ic",
            "import ensurepip, sys, venv; assert sys.version_info >= (3, 10)",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    paths
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_every_missing_package_and_one_command() {
        let error = SystemError::Missing(vec![Need::RabbitMq, Need::Java]).to_string();
        assert_eq!(
            error,
            "missing on this system: rabbitmq-server, a Java runtime 17 or newer; on Debian or \
             Ubuntu install with: sudo apt-get install -y --no-install-recommends rabbitmq-server \
             default-jre-headless"
        );
    }

    #[test]
    fn what_is_there_is_not_missing() {
        assert!(check(&[]).is_ok());
    }
}
