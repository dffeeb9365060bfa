//! `evbus acct edit`: decrypts a file into memory, opens it in an editor, encrypts the result.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use evbus::acct::{AcctDocument, AcctError, AcctSource, Cipher, KeySource, RenderPipe};

use super::super::acct_options::KeyOptions;
use super::super::exit::{Exit, note};
use super::editor::{self, EditorSignals, Ended};
use super::new_key::{FileKey, NewKeyOptions};
use super::private_dir::PrivateDir;
use super::{Form, output_for, save, shown};

/// Edit an encrypted acct file
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  evbus acct edit acct.yml.fernet --acct-key-file acct.key
  EDITOR='nano -R' evbus acct edit acct.yml.fernet --acct-key-file acct.key

The editor opens the decrypted text in a directory in memory with mode 0700, which is removed when the \
editor ends. A file that does not exist is created, unless nothing is entered. If no key is given for it, a new key is written to \
--new-key-file or to standard output.")]
pub(super) struct EditArgs {
    /// Encrypted acct file
    #[arg(value_name = "FILE", env = "ACCT_FILE")]
    file: PathBuf,
    #[command(flatten)]
    key: KeyOptions,
    #[command(flatten)]
    new_key: NewKeyOptions,
    /// Cipher: fernet or aesgcm256 [default: as in the file; fernet for a new file]
    #[arg(long, value_name = "P")]
    crypto_plugin: Option<Cipher>,
    /// How to read the edited text: jinja|yaml, yaml, jinja|json or json [default: as --output,
    /// without jinja]
    #[arg(long, value_name = "P")]
    render_pipe: Option<RenderPipe>,
    /// Form of the text in the editor: yaml or json
    #[arg(long, value_name = "FORM", default_value_t)]
    output: Form,
    /// Write to this file instead of FILE
    #[arg(long, value_name = "F")]
    output_file: Option<PathBuf>,
    /// Editor, with arguments if needed
    #[arg(long, value_name = "E", env = "EDITOR", default_value = "vi")]
    editor: String,
}

pub(super) async fn run(args: EditArgs) -> Result<(), Exit> {
    let key = args.key.source();
    let is_new = !args.file.exists();
    if !is_new && args.output_file.is_none() {
        args.new_key.refuse_for(&args.file)?;
    }
    let before = if is_new {
        AcctDocument::empty(&args.file.display().to_string())
    } else {
        read(&args, key.clone())?
    };
    let cipher = args.crypto_plugin.or(before.cipher()).unwrap_or_default();
    let path = args.output_file.as_deref().unwrap_or(&args.file);
    args.new_key.refuse_key_file(key.as_ref(), path)?;
    let key = FileKey::new(key, &args.new_key, cipher, path)?;
    let Some(after) = edited(&args, &before).await? else {
        return Ok(());
    };
    if is_new && after.is_empty() {
        note(&format!(
            "{}: nothing was entered; no file was created",
            args.file.display()
        ));
        return Ok(());
    }
    if !is_new && args.output_file.is_none() && before.same_data(&after) {
        note(&format!("{}: no changes", args.file.display()));
        return Ok(());
    }
    save(&after, cipher, &key, output_for(path, args.new_key.force)?)
}

/// Reads the file's data. Plain files are refused, because this command would replace a template by the text
/// that it renders to.
fn read(args: &EditArgs, key: Option<KeySource>) -> Result<AcctDocument, Exit> {
    let has_key = key.is_some();
    let document = AcctSource::new(&args.file).key(key).document();
    match document {
        Ok(document) if has_key => Ok(document),
        Ok(_) => Err(Exit::config(format!(
            "{}: the file is not encrypted; edit it directly, or encrypt it with `evbus acct encrypt`",
            args.file.display()
        ))),
        Err(errors) => Err(Exit::acct(&errors)),
    }
}

/// The document after editing; none if the operator gave up.
async fn edited(args: &EditArgs, before: &AcctDocument) -> Result<Option<AcctDocument>, Exit> {
    let mut signals = EditorSignals::new()?;
    let failed = |error: io::Error| Exit::failed(format!("cannot write the text to edit: {error}"));
    let text = shown(before, args.output)?;
    let dir = PrivateDir::new().map_err(failed)?;
    let path = dir.path().join(format!("acct.{}", args.output));
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(&text))
        .map_err(failed)?;
    let unchanged = format!("{} is unchanged", args.file.display());
    let editor = match args.editor.trim() {
        "" => "vi",
        editor => editor,
    };
    loop {
        match editor::run(editor, &path, dir.path(), &mut signals).await? {
            Ended::Itself(status) if status.success() => {}
            Ended::Itself(status) => {
                return Err(Exit::failed(format!(
                    "the editor failed with {status}; {unchanged}"
                )));
            }
            Ended::BySignal => {
                return Err(Exit::failed(format!("ended by a signal; {unchanged}")));
            }
        }
        let has_text = std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
        if !has_text {
            return Err(Exit::failed(format!(
                "the editor left no file {}; {unchanged}",
                path.display()
            )));
        }
        let pipe = args
            .render_pipe
            .clone()
            .unwrap_or_else(|| match args.output {
                Form::Yaml => RenderPipe::yaml(),
                Form::Json => RenderPipe::json(),
            });
        let edited = AcctSource::new(&path).render_pipe(pipe);
        match edited.document_to_encrypt() {
            Ok(document) => return Ok(Some(document)),
            Err(errors) => ask(&errors, &path, &unchanged, &mut signals).await?,
        }
    }
}

/// Asks whether to return to the editor; an error if not.
async fn ask(
    errors: &[AcctError],
    path: &Path,
    unchanged: &str,
    signals: &mut EditorSignals,
) -> Result<(), Exit> {
    let name = path.display().to_string();
    // The file is gone when this is read; only the place in it is useful.
    let sentences = errors
        .iter()
        .map(|error| error.to_string().replace(&name, "the edited text"));
    if !io::stdin().is_terminal() {
        let faults = sentences.map(|sentence| Exit::config(format!("{sentence}; {unchanged}")));
        return Exit::of_all(faults.collect());
    }
    sentences.for_each(|sentence| note(&sentence));
    // If the question cannot be written, it is not answered.
    let _ = write!(io::stderr(), "edit again? [Y/n] ");
    let answering = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin()
            .read_line(&mut line)
            .map(|length| (length, line))
    });
    let answer = tokio::select! {
        answer = answering => answer,
        () = signals.end_or_keyboard() => return Err(Exit::failed(format!("ended by a signal; {unchanged}"))),
    };
    match answer {
        Ok(Ok((length, line)))
            if length > 0 && !line.trim().to_ascii_lowercase().starts_with('n') =>
        {
            Ok(())
        }
        _ => Err(Exit::failed(unchanged.to_owned())),
    }
}
