//! The files that librdkafka opens by itself. It would wait for a named pipe and never finish reading a
//! device, so they are checked first.

use std::path::Path;

use evbus_sdk::{ConfigFault, FileFault, check_file};

use crate::properties::Settings;

/// More bytes than any bundle of certificates or revocation list has.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The endings of the names of properties that name a file.
const FILE_VALUED: [&str; 3] = [".location", ".file", ".keytab"];

/// The certificate authorities may be a directory, and with this value librdkafka looks for them itself.
const AUTHORITIES: &str = "ssl.ca.location";
const LOOKED_FOR: &str = "probe";

/// A fault for every setting whose path is not a regular file, or cannot be read.
pub(crate) fn faults(settings: &Settings) -> Vec<ConfigFault> {
    settings
        .given()
        .filter(|(_, property, _)| FILE_VALUED.iter().any(|end| property.ends_with(end)))
        .filter_map(|(key, property, file)| {
            let why = unusable(property, Path::new(file))?;
            Some(ConfigFault::of_key(
                key,
                format!("{file} cannot be read: {why}"),
            ))
        })
        .collect()
}

fn unusable(property: &str, file: &Path) -> Option<String> {
    if property != AUTHORITIES {
        return check_file(file, MAX_BYTES).err().map(|why| why.to_string());
    }
    if file == Path::new(LOOKED_FOR) {
        return None;
    }
    if file.is_dir() {
        return unusable_in(file);
    }
    check_file(file, MAX_BYTES).err().map(|why| why.to_string())
}

/// OpenSSL opens the files of a directory one by one, when it needs them; a link to nothing does no harm.
fn unusable_in(dir: &Path) -> Option<String> {
    let entries = match dir.read_dir() {
        Ok(entries) => entries,
        Err(error) => return Some(error.to_string()),
    };
    entries
        .flatten()
        .map(|entry| entry.path())
        .find_map(|path| match check_file(&path, MAX_BYTES) {
            Err(FileFault::NotAFile(kind)) if !path.is_dir() => {
                Some(format!("{} in it is {kind}", path.display()))
            }
            Err(why @ FileFault::TooLarge(_)) => Some(format!("{} in it: {why}", path.display())),
            _ => None,
        })
}
