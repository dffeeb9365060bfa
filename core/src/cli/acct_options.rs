//! The flags of every command that reads an acct file.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Args, Command};
use evbus::acct::{AcctKey, AcctSource, Cipher, JsonObject, KeySource, RenderPipe};

use super::exit::note;

/// The key of an encrypted acct file.
#[derive(Debug, Args)]
pub(super) struct KeyOptions {
    /// Key of the encrypted acct file. Every user of this machine can see it while the command runs:
    /// prefer `ACCT_KEY` or --acct-key-file [env: `ACCT_KEY`]
    #[arg(
        long,
        value_name = "K",
        value_parser = key,
        allow_hyphen_values = true,
        conflicts_with = "acct_key_file"
    )]
    acct_key: Option<AcctKey>,
    /// File with the key of the encrypted acct file; `run` reads it again on every reload
    #[arg(long, value_name = "F")]
    acct_key_file: Option<PathBuf>,
}

/// Never fails, because clap would show the key in its error; an invalid key is reported when it is used.
#[expect(clippy::unnecessary_wraps, reason = "the form that clap asks for")]
fn key(text: &str) -> Result<AcctKey, String> {
    Ok(AcctKey::new(text))
}

impl KeyOptions {
    /// The source of the key: the command line, else the environment.
    pub(super) fn source(&self) -> Option<KeySource> {
        if let Some(path) = &self.acct_key_file {
            let source = KeySource::File(path.clone());
            if let Some(readers) = source.readers() {
                note(&format!(
                    "the key file {} can be read by {readers}; run `chmod 600` on it",
                    path.display()
                ));
            }
            return Some(source);
        }
        let source = match &self.acct_key {
            Some(key) => KeySource::Given(key.clone()),
            None => KeySource::Environment("ACCT_KEY".to_owned()),
        };
        let is_given = source.key().is_ok_and(|key| !key.reveal().is_empty());
        is_given.then_some(source)
    }
}

/// How an acct file is read, and which values are added to it.
#[derive(Debug, Args)]
pub(super) struct AcctOptions {
    #[command(flatten)]
    key: KeyOptions,
    /// Cipher of the encrypted acct file: fernet or aesgcm256 [default: detected from the file]
    #[arg(long, value_name = "P")]
    crypto_plugin: Option<Cipher>,
    /// How to read a plain acct file: jinja|yaml, yaml, jinja|json or json
    #[arg(long, value_name = "P", default_value_t)]
    render_pipe: RenderPipe,
    /// Add values to entries that lack them, such as `{"kafka": {"key": "k"}}`
    #[arg(long, value_name = "JSON", value_parser = ObjectParser)]
    extras: Option<JsonObject>,
    /// Replace values of the acct file, such as `{"file": {"*": {"path": "events.jsonl"}}}`
    #[arg(long, value_name = "JSON", value_parser = ObjectParser)]
    overrides: Option<JsonObject>,
}

/// Reads a JSON object. clap's own errors show the value, which may contain a secret; this one's do not.
#[derive(Debug, Clone, Copy)]
struct ObjectParser;

impl TypedValueParser for ObjectParser {
    type Value = JsonObject;

    fn parse_ref(
        &self,
        _command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<JsonObject, clap::Error> {
        let object = match value.to_str() {
            Some(text) => object(text),
            None => Err("expected a JSON object, found text that is not UTF-8".to_owned()),
        };
        object.map_err(|reason| {
            let flag = arg.map(ToString::to_string).unwrap_or_default();
            let kind = ErrorKind::ValueValidation;
            let mut error =
                clap::Error::raw(kind, format!("invalid value for '{flag}': {reason}\n"));
            error.insert(ContextKind::InvalidArg, ContextValue::String(flag));
            error
        })
    }
}

fn object(text: &str) -> Result<JsonObject, String> {
    // serde's own message may contain a value.
    serde_json::from_str(text).map_err(|error| {
        if error.is_data() {
            "expected a JSON object, found another value".to_owned()
        } else {
            format!(
                "expected a JSON object, found invalid JSON at column {}",
                error.column()
            )
        }
    })
}

impl AcctOptions {
    /// The file, with everything that says how to read it.
    pub(super) fn source(&self, file: impl Into<PathBuf>) -> AcctSource {
        AcctSource::new(file)
            .key(self.key.source())
            .cipher(self.crypto_plugin)
            .render_pipe(self.render_pipe.clone())
            .extras(self.extras.clone().unwrap_or_default())
            .overrides(self.overrides.clone().unwrap_or_default())
    }
}
