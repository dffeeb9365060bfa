//! How a command ends.

use anstyle::{AnsiColor, Style};
use evbus::StartError;
use evbus::acct::AcctError;
use evbus::store::StateError;

use super::logging;
use super::message_line::message;

/// The end of a command that did not succeed: its exit code and its messages.
#[derive(Debug)]
pub(super) struct Exit {
    code: u8,
    lines: Vec<String>,
}

impl Exit {
    /// An event was not delivered, or a check found a fault.
    pub(super) fn failed(line: impl Into<String>) -> Self {
        Self {
            code: 1,
            lines: vec![line.into()],
        }
    }

    /// As `failed`, with one message for each line of a host's reasons, each preceded by `what`.
    pub(super) fn refused(what: &str, reasons: &str) -> Self {
        Self {
            code: 1,
            lines: (reasons.lines())
                .map(|reason| format!("{what}: {reason}"))
                .collect(),
        }
    }

    /// As `failed`, without a message: everything has been reported.
    pub(super) fn silent() -> Self {
        Self {
            code: 1,
            lines: Vec::new(),
        }
    }

    /// Wrong usage.
    pub(super) fn usage(line: impl Into<String>) -> Self {
        Self {
            code: 2,
            lines: vec![line.into()],
        }
    }

    /// Invalid configuration.
    pub(super) fn config(line: impl Into<String>) -> Self {
        Self {
            code: 78,
            lines: vec![line.into()],
        }
    }

    /// A temporary failure, `EX_TEMPFAIL` of sysexits.h: neither the command nor the configuration is wrong.
    pub(super) fn try_again(line: impl Into<String>) -> Self {
        Self {
            code: 75,
            lines: vec![line.into()],
        }
    }

    /// Invalid acct file.
    pub(super) fn acct(errors: &[AcctError]) -> Self {
        Self {
            code: 78,
            lines: errors.iter().map(ToString::to_string).collect(),
        }
    }

    /// Combines several into one; `Ok` if there is none. An invalid configuration determines the code, then wrong
    /// usage.
    pub(super) fn of_all(exits: Vec<Self>) -> Result<(), Self> {
        let code = [78, 2]
            .into_iter()
            .find(|code| exits.iter().any(|exit| exit.code == *code));
        let Some(code) = code.or_else(|| Some(exits.first()?.code)) else {
            return Ok(());
        };
        let lines = exits.into_iter().flat_map(|exit| exit.lines).collect();
        Err(Self { code, lines })
    }

    /// The exit code of another program, which has reported everything itself.
    pub(super) fn passed_on(code: u8) -> Self {
        Self {
            code,
            lines: Vec::new(),
        }
    }

    /// All messages in one line.
    pub(super) fn text(&self) -> String {
        self.lines.join("; ")
    }

    /// Prints the messages and returns the code.
    pub(super) fn report(self) -> u8 {
        for line in &self.lines {
            error(line);
        }
        self.code
    }
}

impl From<StartError> for Exit {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Acct(errors) => Self::acct(&errors),
            StartError::State(error @ StateError::Full { .. }) => {
                Self::try_again(error.to_string())
            }
            error => Self::config(error.to_string()),
        }
    }
}

/// Prints an error on standard error.
pub(super) fn error(line: &str) {
    let style = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    say(format_args!("{style}error{style:#}: {}", message(line)));
}

/// Prints a note on standard error.
pub(super) fn note(line: &str) {
    let style = Style::new().bold().fg_color(Some(AnsiColor::Yellow.into()));
    say(format_args!("{style}note{style:#}: {}", message(line)));
}

fn say(line: std::fmt::Arguments<'_>) {
    let line = line.to_string();
    let line = match anstream::AutoStream::choice(&std::io::stderr()) {
        anstream::ColorChoice::Never => anstream::adapter::strip_str(&line).to_string(),
        _ => line,
    };
    logging::line(&line);
}
