//! From a file on disk to an [`AcctFile`]: read, decrypt, render, parse.
//!
//! Each step is a function from the step before. Decryption and Jinja rendering are not built yet:
//! `decrypt` and `render` are their places and today only recognize what would need them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::{AcctError, AcctFile, Location, syntax};

/// The largest acct file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Reads an acct file. Blocks while it reads.
///
/// # Errors
///
/// Every fault found: the file cannot be read, is larger than [`MAX_FILE_BYTES`], is not UTF-8, is
/// encrypted or a template, or is not a valid acct file.
pub fn load(path: &Path) -> Result<AcctFile, Vec<AcctError>> {
    let name: Arc<str> = path.display().to_string().into();
    let text = read(path, &name)
        .and_then(|content| decrypt(content, &name))
        .and_then(|text| render(text, &name))
        .map_err(|error| vec![error])?;
    parse(&text, &name)
}

/// Reads an acct file's text, already decrypted and rendered; `name` stands for the file in errors.
///
/// # Errors
///
/// Every fault found in the text. Faults inside a provider's section are found by
/// [`super::Section::entries`].
pub fn parse(text: &str, name: &str) -> Result<AcctFile, Vec<AcctError>> {
    let file = Arc::from(name);
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(vec![too_large(&file)]);
    }
    AcctFile::from_text(text, &file)
}

fn read(path: &Path, name: &Arc<str>) -> Result<Vec<u8>, AcctError> {
    let whole = |message: &str| AcctError::new(Location::whole(name), "", message);
    let mut content = Vec::new();
    // One byte more than allowed tells a file that is too large; a pipe has no length to ask for.
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content))
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => whole(
                "found no such file, expected an acct file; check --acct-file or ACCT_FILE",
            ),
            io::ErrorKind::IsADirectory => whole(
                "found a directory, expected an acct file; name the file inside it",
            ),
            io::ErrorKind::PermissionDenied => whole(
                "found a file this user may not read, expected a readable acct file; change its owner or mode",
            ),
            _ => whole(&format!(
                "found a file that cannot be read ({error}), expected a readable acct file; check the path and the disk"
            )),
        })?;
    if content.len() as u64 > MAX_FILE_BYTES {
        return Err(too_large(name));
    }
    Ok(content)
}

fn too_large(name: &Arc<str>) -> AcctError {
    AcctError::new(
        Location::whole(name),
        "",
        "found a file of more than 16 MiB, expected less; check that it is an acct file",
    )
}

/// The place of decryption (fernet, aesgcm256): the plain text of a file's content.
fn decrypt(content: Vec<u8>, name: &Arc<str>) -> Result<String, AcctError> {
    if is_fernet_token(&content) {
        return Err(AcctError::new(
            Location::whole(name),
            "",
            "found a file encrypted with fernet, expected YAML text; decrypt it first, this version reads plain files only",
        ));
    }
    String::from_utf8(content).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let position = std::str::from_utf8(&error.as_bytes()[..valid])
            .map(|text| syntax::position_of(text, text.len()))
            .ok();
        AcctError::new(
            Location {
                file: Arc::clone(name),
                position,
            },
            "",
            "found bytes that are not UTF-8, expected YAML text; decrypt the file first if it is encrypted, or save it as UTF-8",
        )
    })
}

/// Fernet's version byte 0x80 and the high bytes of its time make every token begin with `gAAAA`.
fn is_fernet_token(content: &[u8]) -> bool {
    let content = content.trim_ascii();
    content.starts_with(b"gAAAA")
        && content
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(b))
}

/// The place of Jinja rendering: the YAML text of a template.
fn render(text: String, name: &Arc<str>) -> Result<String, AcctError> {
    let first = ["{{", "{%", "{#"]
        .iter()
        .filter_map(|sign| text.find(sign))
        .min();
    match first {
        None => Ok(text),
        Some(at) => Err(AcctError::new(
            Location::at(name, syntax::position_of(&text, at)),
            "",
            "found a Jinja template, expected YAML text; render the file first, this version reads rendered files only",
        )),
    }
}
