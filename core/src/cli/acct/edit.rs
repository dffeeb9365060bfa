//! `evbus acct edit`: decrypts into memory, lets the operator change it, encrypts what came out.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use evbus::acct::{AcctDocument, AcctError, AcctSource, Cipher, KeySource, RenderPipe};

use super::super::acct_options::KeyOptions;
use super::super::exit::{Exit, note};
use super::editor::{self, Ended, Signals};
use super::new_key::{FileKey, NewKeyOptions};
use super::private_dir::PrivateDir;
use super::{Form, fault, save, shown};

/// Change an encrypted acct file in an editor
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  evbus acct edit acct.yml.fernet --acct-key-file acct.key
  EDITOR='nano -R' evbus acct edit acct.yml.fernet --acct-key-file acct.key

The editor gets the data as text in a directory of mode 0700 in memory, which is removed when the editor
ends. A file that does not exist is made; without a key, with a new one, which goes to --new-key-file
or to standard output.")]
pub(super) struct EditArgs {
    /// The encrypted acct file
    #[arg(value_name = "FILE", env = "ACCT_FILE")]
    file: PathBuf,
    #[command(flatten)]
    key: KeyOptions,
    #[command(flatten)]
    new_key: NewKeyOptions,
    /// The cipher: fernet or aesgcm256 [default: the one of the file; fernet for a new one]
    #[arg(long, value_name = "P")]
    crypto_plugin: Option<Cipher>,
    /// How the text that the editor leaves is read: jinja|yaml, yaml, jinja|json or json [default:
    /// the form, without jinja]
    #[arg(long, value_name = "P")]
    render_pipe: Option<RenderPipe>,
    /// The form of the text in the editor: yaml or json
    #[arg(long, value_name = "FORM", default_value_t)]
    output: Form,
    /// Write this file instead of FILE
    #[arg(long, value_name = "F")]
    output_file: Option<PathBuf>,
    /// The editor, with arguments if need be
    #[arg(long, value_name = "E", env = "EDITOR", default_value = "vi")]
    editor: String,
}

pub(super) async fn run(args: EditArgs) -> Result<(), Exit> {
    let key = args.key.source();
    let is_new = !args.file.exists();
    let before = if is_new {
        AcctDocument::empty(&args.file.display().to_string())
    } else {
        read(&args, key.clone())?
    };
    let cipher = args.crypto_plugin.or(before.cipher()).unwrap_or_default();
    let path = args.output_file.as_deref().unwrap_or(&args.file);
    let key = FileKey::new(key, &args.new_key, cipher, path)?;
    let Some(after) = edited(&args, &before).await? else {
        return Ok(());
    };
    if !is_new && args.output_file.is_none() && before.same_data(&after) {
        note(&format!("{}: nothing was changed", args.file.display()));
        return Ok(());
    }
    save(&after, cipher, &key, path)
}

/// The file's data. A plain file is not for this command: what it would write holds what a template
/// rendered to, and not the template.
fn read(args: &EditArgs, key: Option<KeySource>) -> Result<AcctDocument, Exit> {
    let has_key = key.is_some();
    let document = AcctSource::new(&args.file).key(key).document();
    match document {
        Ok(document) if has_key => Ok(document),
        Ok(_) => Err(Exit::config(format!(
            "{}: found a plain file, expected an encrypted one; open it in an editor as it is, or encrypt it with `evbus acct encrypt`",
            args.file.display()
        ))),
        Err(error) => Err(fault(error)),
    }
}

/// What the operator makes of a document; none where the operator gave up.
async fn edited(args: &EditArgs, before: &AcctDocument) -> Result<Option<AcctDocument>, Exit> {
    let mut signals = Signals::new()?;
    let failed =
        |error: io::Error| Exit::failed(format!("the text to edit cannot be written: {error}"));
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
    let unchanged = format!("{} is as it was", args.file.display());
    let editor = match args.editor.trim() {
        "" => "vi",
        editor => editor,
    };
    loop {
        match editor::run(editor, &path, dir.path(), &mut signals).await? {
            Ended::Itself(status) if status.success() => {}
            Ended::Itself(status) => {
                return Err(Exit::failed(format!(
                    "the editor ended with {status}; {unchanged}"
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
        let document = AcctSource::new(&path).render_pipe(pipe).document();
        match document.and_then(|document| document.check().map(|()| document)) {
            Ok(document) => return Ok(Some(document)),
            Err(error) => ask(error, &path, &unchanged, &mut signals).await?,
        }
    }
}

/// Asks whether to go back into the editor; an error where not.
async fn ask(
    error: AcctError,
    path: &Path,
    unchanged: &str,
    signals: &mut Signals,
) -> Result<(), Exit> {
    let sentence = error.to_string();
    let name = path.display().to_string();
    // The file is gone when this is read; the place in it is what counts.
    let sentence = sentence.replace(&name, "the edited text");
    if !io::stdin().is_terminal() {
        return Err(Exit::config(format!("{sentence}; {unchanged}")));
    }
    note(&sentence);
    // Whoever cannot read the question will not answer it.
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
