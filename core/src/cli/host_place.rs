//! Where a host keeps queued events and dead letters, and where commands find the host.

use std::path::PathBuf;
use std::time::Duration;

use evbus::control::{Client, ControlError};
use rustix::process::geteuid;

use super::exit::Exit;

/// A state directory, and what named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StatePlace {
    pub(super) path: PathBuf,
    pub(super) named_by: NamedBy,
}

impl StatePlace {
    /// The process that uses the directory, by its id if it is a host that answers.
    pub(super) async fn holder(&self) -> String {
        let asking = async { Client::connect(&self.path).await?.status().await };
        match tokio::time::timeout(HOLDER_ANSWERS_WITHIN, asking).await {
            Ok(Ok(answer)) => format!("process {}", answer.status.host.pid),
            _ => "another process".to_owned(),
        }
    }
}

/// How long an error message waits for the other host's id.
const HOLDER_ANSWERS_WITHIN: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NamedBy {
    /// `--state-dir`.
    Flag,
    /// `EVBUS_STATE_DIR`.
    Variable,
    /// `STATE_DIRECTORY`, which systemd sets for `StateDirectory=`.
    Systemd,
    /// Nothing.
    Default,
}

impl NamedBy {
    /// Whether the user named the directory.
    pub(super) fn is_chosen(self) -> bool {
        matches!(self, Self::Flag | Self::Variable)
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Flag => "--state-dir",
            Self::Variable => "EVBUS_STATE_DIR",
            Self::Systemd => "StateDirectory= of the systemd unit",
            Self::Default => "the default; change it with --state-dir",
        }
    }
}

/// The value of an environment variable; an empty one counts as unset.
pub(super) fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// The state directory of a host: the given one, else the one from the environment, else the default of this
/// user. None if that user has no home directory.
pub(super) fn state_place(given: Option<&PathBuf>) -> Option<StatePlace> {
    choose(given, geteuid().is_root(), variable)
}

fn choose(
    given: Option<&PathBuf>,
    is_root: bool,
    variable: impl Fn(&str) -> Option<PathBuf>,
) -> Option<StatePlace> {
    let named = |path: PathBuf, named_by| Some(StatePlace { path, named_by });
    if let Some(path) = given {
        return named(path.clone(), NamedBy::Flag);
    }
    if let Some(path) = variable("EVBUS_STATE_DIR") {
        return named(path, NamedBy::Variable);
    }
    // A unit may have several directories, joined by colons; the first one is the host's.
    let systemd = variable("STATE_DIRECTORY")
        .and_then(|dirs| std::env::split_paths(&dirs).next())
        .filter(|path| path.is_absolute());
    if let Some(path) = systemd {
        return named(path, NamedBy::Systemd);
    }
    if is_root {
        return named(PathBuf::from("/var/lib/evbus"), NamedBy::Default);
    }
    let state_home = variable("XDG_STATE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| Some(variable("HOME")?.join(".local/state")))?;
    named(state_home.join("evbus"), NamedBy::Default)
}

/// The directory of a host's control socket.
#[derive(Debug)]
pub(super) struct ControlPlace {
    dir: PathBuf,
    /// Why it was assumed, if neither a flag nor a variable of evbus named it.
    assumed: Option<NamedBy>,
}

impl ControlPlace {
    /// The given directory, else the one from the environment, else the default state directory.
    pub(super) fn find(
        sock_dir: Option<&PathBuf>,
        state_dir: Option<&PathBuf>,
    ) -> Result<Self, Exit> {
        let named = (sock_dir.or(state_dir).cloned()).or_else(|| variable("EVBUS_SOCK_DIR"));
        if let Some(dir) = named {
            return Ok(Self { dir, assumed: None });
        }
        let place = state_place(None).ok_or_else(|| Exit::usage(NO_HOST))?;
        Ok(Self {
            assumed: Some(place.named_by).filter(|named_by| !named_by.is_chosen()),
            dir: place.path,
        })
    }

    /// Connects to the host.
    pub(super) async fn connect(&self) -> Result<Client, ControlError> {
        Client::connect(&self.dir).await
    }

    /// Reports why a host gave no answer. If no directory was named, the advice is to name one.
    pub(super) fn exit(&self, error: &ControlError) -> Exit {
        match (error.no_connection(), self.assumed) {
            (Some(why), Some(named_by)) => Exit::failed(format!(
                "{NO_HOST}; no host answers in the state directory {} ({}): {why}",
                self.dir.display(),
                named_by.text(),
            )),
            _ => Exit::failed(error.to_string()),
        }
    }
}

const NO_HOST: &str =
    "no host given: use --sock-dir or --state-dir, or set EVBUS_SOCK_DIR or EVBUS_STATE_DIR";

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(
        given: Option<&str>,
        is_root: bool,
        set: &[(&str, &str)],
    ) -> Option<(String, NamedBy)> {
        let given = given.map(PathBuf::from);
        let variable = |name: &str| {
            let (_, value) = set.iter().find(|(known, _)| *known == name)?;
            (!value.is_empty()).then(|| PathBuf::from(value))
        };
        let place = choose(given.as_ref(), is_root, variable)?;
        Some((place.path.display().to_string(), place.named_by))
    }

    #[test]
    fn the_nearest_word_on_the_state_directory_counts() {
        let all = [
            ("EVBUS_STATE_DIR", "/env"),
            ("STATE_DIRECTORY", "/var/lib/unit:/var/lib/other"),
            ("XDG_STATE_HOME", "/xdg"),
            ("HOME", "/users/u"),
        ];
        let check = |given, is_root, set: &[(&str, &str)], path: &str, named_by| {
            let expected = Some((path.to_owned(), named_by));
            assert_eq!(chosen(given, is_root, set), expected);
        };
        check(Some("/flag"), true, &all, "/flag", NamedBy::Flag);
        check(None, true, &all, "/env", NamedBy::Variable);
        check(None, true, &all[1..], "/var/lib/unit", NamedBy::Systemd);
        check(None, true, &all[2..], "/var/lib/evbus", NamedBy::Default);
        check(None, false, &all[2..], "/xdg/evbus", NamedBy::Default);
        let home = "/users/u/.local/state/evbus";
        check(None, false, &all[3..], home, NamedBy::Default);
        let empty = [
            ("EVBUS_STATE_DIR", ""),
            ("STATE_DIRECTORY", ""),
            ("XDG_STATE_HOME", "not/absolute"),
            ("HOME", "/users/u"),
        ];
        check(None, false, &empty, home, NamedBy::Default);
        assert_eq!(chosen(None, false, &[]), None);
    }
}
