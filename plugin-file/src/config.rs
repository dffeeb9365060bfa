//! The configuration of a destination in the acct file.

use std::fmt;
use std::time::Duration;

use evbus_sdk::schemars::JsonSchema;
use evbus_sdk::serde::de::{Error, Unexpected, Visitor};
use evbus_sdk::serde::{Deserialize, Deserializer};
use evbus_sdk::{ConfigFault, Template, TimeSpan};

use crate::base::{directory_of, is_root};

/// A destination of the provider `file`.
#[derive(Deserialize, JsonSchema, Debug, Clone)]
#[serde(crate = "evbus_sdk::serde")]
#[schemars(crate = "evbus_sdk::schemars")]
pub struct Config {
    /// The file that events are appended to, or `-` for standard output. A relative path is relative to
    /// the host's working directory. A missing file is created, a missing directory only with
    /// `create_dirs`. Events cannot leave the directory that is named before the first expression.
    pub path: Template,
    /// How many files may be open at once, from 1 to 1024, if `path` is another one for each event. Default 64.
    #[serde(default = "default_max_open")]
    #[schemars(range(min = 1, max = 1024))]
    pub max_open: usize,
    /// Content of a line. Default `json_lines`.
    #[serde(default)]
    pub format: Format,
    /// Start a new file when this one is full. Default: the file grows without limit.
    pub rotate: Option<Rotate>,
    /// When lines are synced to disk: `batch`, `never` or `interval: DURATION`. Default `batch`, so that
    /// an accepted event survives a power failure. No effect on standard output and devices.
    #[serde(default)]
    pub fsync: Fsync,
    /// Permissions of a new file: octal digits in quotes; the owner must be able to read and write.
    /// Default `"0600"`, because events may contain secrets.
    #[serde(default)]
    pub mode: Mode,
    /// Create missing directories above the file, with permissions 0755. Default
    /// false.
    #[serde(default)]
    pub create_dirs: bool,
}

/// What a line holds.
#[derive(Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[serde(crate = "evbus_sdk::serde", rename_all = "snake_case")]
#[schemars(crate = "evbus_sdk::schemars")]
pub enum Format {
    /// A JSON object with `id`, `time`, `profile`, `body`, and `tags` if there are any.
    #[default]
    JsonLines,
    /// Only the body.
    Body,
}

/// When to start a new file, and how many old ones to keep.
#[derive(Deserialize, JsonSchema, Debug, Clone, Copy)]
#[serde(crate = "evbus_sdk::serde")]
#[schemars(crate = "evbus_sdk::schemars")]
pub struct Rotate {
    /// Size in bytes after which a new file is started. A file is larger only if a single batch is.
    #[schemars(range(min = 1), extend("x-unit" = "bytes"))]
    pub max_bytes: u64,
    /// How many old files to keep, from 1 to 1000: PATH.1 is the newest. Default 5.
    #[serde(default = "default_keep")]
    #[schemars(range(min = 1, max = 1000))]
    pub keep: u32,
}

fn default_max_open() -> usize {
    64
}

fn default_keep() -> u32 {
    5
}

/// When lines are synced to disk.
#[derive(Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[serde(crate = "evbus_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "evbus_sdk::schemars")]
pub enum Fsync {
    /// Before a batch is accepted.
    #[default]
    Batch,
    /// When the operating system writes them. Accepted events survive a crash of the host, but not of
    /// the machine.
    Never,
    /// At this interval: a number of seconds, or a duration with units such as 30s or 5m; at least one
    /// second. A power failure loses the events accepted in that time.
    Interval(#[schemars(range(min = 1))] TimeSpan),
}

impl Fsync {
    /// The time between two syncs, if it is fixed.
    pub(crate) fn interval(self) -> Option<Duration> {
        match self {
            Self::Interval(interval) => Some(interval.duration()),
            Self::Batch | Self::Never => None,
        }
    }
}

/// Permissions of a file.
#[derive(JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
#[schemars(
    crate = "evbus_sdk::schemars",
    transparent,
    extend("x-expected" = "three or four octal digits in quotes that let the owner read and write, such as \"0640\"")
)]
pub struct Mode(#[schemars(with = "String", regex(pattern = "^0?[67][0-7]{2}$"))] pub u32);

impl Default for Mode {
    /// Only for the host's user.
    fn default() -> Self {
        Self(0o600)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // YAML reads 0640 as 416 and 640 as 640, so only a string is unambiguous.
        struct OctalDigits;

        impl Visitor<'_> for OctalDigits {
            type Value = Mode;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "three or four octal digits in quotes that let the owner read and write",
                )
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Mode, E> {
                let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|b| b.is_ascii_digit());
                u32::from_str_radix(text, 8)
                    .ok()
                    // The owner must be able to read: the end of the file is read when it is opened again.
                    .filter(|mode| octal && *mode <= 0o777 && mode & 0o600 == 0o600)
                    .map(Mode)
                    .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(OctalDigits)
    }
}

impl Config {
    /// Whether events go to the host's standard output.
    pub(crate) fn is_stdout(&self) -> bool {
        self.path.constant() == Some("-")
    }

    /// Every fault that the types do not rule out.
    pub(crate) fn faults(&self) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        let mut fault = |path: &str, message: &str| faults.push(ConfigFault::of_key(path, message));
        if self.path.constant() == Some("") {
            fault(
                "path",
                "it is empty; expected a file path, or - for standard output",
            );
        }
        if self.path.prefix().contains('\0') {
            fault(
                "path",
                "it contains a NUL character, which file names cannot contain",
            );
        }
        if self.path.constant().is_none() && is_root(directory_of(self.path.prefix())) {
            fault(
                "path",
                "it begins with the root directory, so that events could choose any file; name a directory before the first expression",
            );
        }
        if self.rotate.is_some() && self.is_stdout() {
            fault(
                "rotate",
                "standard output cannot be rotated; remove this key, or set `path` to a file",
            );
        }
        faults
    }
}
