//! `evbus acct`: encrypts, shows and edits acct files.

mod edit;
mod editor;
mod new_key;
mod private_dir;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, Subcommand};
use evbus::acct::{AcctDocument, AcctSource, Cipher, KeySource, MAX_FILE_BYTES, RenderPipe};
use evbus_files::named_file;
use new_key::{FileKey, NewKeyOptions};

use super::acct_options::KeyOptions;
use super::exit::{Exit, note};
use super::output;
use super::secret_file::SecretFile;
use super::with_runtime;

/// Encrypt, decrypt and edit acct files in the format of acct for Python
#[derive(Debug, Args)]
pub(super) struct AcctArgs {
    #[command(subcommand)]
    command: AcctCommand,
}

#[derive(Debug, Subcommand)]
enum AcctCommand {
    Encrypt(EncryptArgs),
    Decrypt(DecryptArgs),
    Edit(edit::EditArgs),
}

/// Render a plain acct file and encrypt the result
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  evbus acct encrypt acct.yml --new-key-file acct.key
  evbus acct encrypt acct.yml --acct-key-file acct.key --crypto-plugin aesgcm256

Writes FILE.fernet or FILE.aesgcm256 with mode 0600. If no key is given, a new key is written to \
--new-key-file or to standard output. Keep the key: the file cannot be opened without it.")]
struct EncryptArgs {
    /// Plain acct file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    key: KeyOptions,
    #[command(flatten)]
    new_key: NewKeyOptions,
    /// Cipher: fernet or aesgcm256
    #[arg(long, value_name = "P", default_value_t)]
    crypto_plugin: Cipher,
    /// How to read the file: jinja|yaml, yaml, jinja|json or json
    #[arg(long, value_name = "P", default_value_t)]
    render_pipe: RenderPipe,
    /// Write to this file instead
    #[arg(long, value_name = "F")]
    output_file: Option<PathBuf>,
}

/// Print the decrypted content of an acct file
#[derive(Debug, Args)]
#[command(after_help = "Example:
  evbus acct decrypt acct.yml.fernet --acct-key-file acct.key --output json

Without a key the file is read as a plain one, and the rendered text is printed.")]
struct DecryptArgs {
    /// Acct file
    #[arg(value_name = "FILE", env = "ACCT_FILE")]
    file: PathBuf,
    #[command(flatten)]
    key: KeyOptions,
    /// Cipher: fernet or aesgcm256 [default: detected from the file]
    #[arg(long, value_name = "P")]
    crypto_plugin: Option<Cipher>,
    /// How to read a plain file: jinja|yaml, yaml, jinja|json or json
    #[arg(long, value_name = "P", default_value_t)]
    render_pipe: RenderPipe,
    /// Form of the output: yaml or json
    #[arg(long, value_name = "FORM", default_value_t)]
    output: Form,
    /// Write to this file, with mode 0600, instead of standard output
    #[arg(long, value_name = "F")]
    output_file: Option<PathBuf>,
    /// Replace an existing file
    #[arg(long, requires = "output_file")]
    force: bool,
}

/// The text form of the data.
#[derive(Debug, Clone, Copy, Default)]
enum Form {
    #[default]
    Yaml,
    Json,
}

impl std::fmt::Display for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Yaml => "yaml",
            Self::Json => "json",
        })
    }
}

impl FromStr for Form {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "yaml" => Ok(Self::Yaml),
            "json" => Ok(Self::Json),
            _ => Err("expected yaml or json".to_owned()),
        }
    }
}

pub(super) fn run(args: AcctArgs) -> Result<(), Exit> {
    match args.command {
        AcctCommand::Encrypt(args) => encrypt(&args),
        AcctCommand::Decrypt(args) => decrypt(&args),
        AcctCommand::Edit(args) => with_runtime(edit::run(args)),
    }
}

fn encrypt(args: &EncryptArgs) -> Result<(), Exit> {
    let path = args.output_file.clone().unwrap_or_else(|| {
        let mut name = OsString::from(&args.file);
        name.push(".");
        name.push(args.crypto_plugin.name());
        name.into()
    });
    let given = args.key.source();
    let document = AcctSource::new(&args.file)
        .render_pipe(args.render_pipe.clone())
        .document_to_encrypt()
        .map_err(|errors| {
            if encryption(&args.file) != Some(Cipher::Fernet) {
                return Exit::acct(&errors);
            }
            Exit::config(format!(
                "{}: the file is already encrypted; change it with `evbus acct edit`",
                args.file.display()
            ))
        });
    let output = args
        .new_key
        .refuse_key_file(given.as_ref(), &path)
        .and_then(|()| output_for(&path, args.new_key.force));
    let key = FileKey::new(given, &args.new_key, args.crypto_plugin, &path);
    let (document, output, key) = match (document, output, key) {
        (Ok(document), Ok(output), Ok(key)) => (document, output, key),
        (document, output, key) => {
            let faults = [document.err(), output.err(), key.err()];
            return Exit::of_all(faults.into_iter().flatten().collect());
        }
    };
    save(&document, args.crypto_plugin, &key, output)
}

/// The place of an encrypted file. An encrypted file that is there already is replaced; [`FileKey::new`] checks whose
/// key opens it.
fn output_for(path: &Path, force: bool) -> Result<SecretFile, Exit> {
    SecretFile::prepare(path, |file| force || encryption(file).is_some())
}

/// The cipher that a file was encrypted with; none for text, and if there is no file.
fn encryption(file: &Path) -> Option<Cipher> {
    let mut content = Vec::new();
    named_file::read(file, MAX_FILE_BYTES, &mut content).ok()?;
    Cipher::of(&content)
}

fn decrypt(args: &DecryptArgs) -> Result<(), Exit> {
    let key = args.key.source();
    if let (Some(KeySource::File(key)), Some(written)) = (&key, &args.output_file) {
        new_key::refuse_key_file(key, written)?;
    }
    if key.is_none() && encryption(&args.file).is_none() {
        note(&format!(
            "no key given: reading {} as a plain file",
            args.file.display()
        ));
    }
    let document = AcctSource::new(&args.file)
        .key(key)
        .cipher(args.crypto_plugin)
        .render_pipe(args.render_pipe.clone())
        .document()
        .map_err(|errors| Exit::acct(&errors))?;
    let text = shown(&document, args.output)?;
    match &args.output_file {
        Some(path) => SecretFile::prepare(path, |_| args.force)?.write(&text, || Ok(())),
        None => output::write(&text).map(|_| ()),
    }
}

/// The data as text, which is wiped when it is dropped.
fn shown(document: &AcctDocument, form: Form) -> Result<zeroize::Zeroizing<Vec<u8>>, Exit> {
    match form {
        Form::Yaml => Ok(zeroize::Zeroizing::new(
            document.to_yaml().as_bytes().to_vec(),
        )),
        Form::Json => document.to_json().map_err(|error| Exit::acct(&[error])),
    }
}

/// Encrypts a document into a file.
fn save(
    document: &AcctDocument,
    cipher: Cipher,
    key: &FileKey,
    output: SecretFile,
) -> Result<(), Exit> {
    let content = document
        .encrypt(cipher, &key.key)
        .map_err(|errors| Exit::acct(&errors))?;
    let path = output.path().to_owned();
    output.write(&content, || key.hand_over(&path))?;
    tracing::info!("{}: written, encrypted with {cipher}", path.display());
    Ok(())
}
