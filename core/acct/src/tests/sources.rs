//! From the disk to the file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::{MAX_FILE_BYTES, load, parse};

fn fault(path: &Path) -> String {
    let errors = load(path).unwrap_err();
    assert_eq!(errors.len(), 1);
    errors[0].to_string()
}

#[test]
fn a_file_is_read_under_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("credentials.yml");
    fs::write(&path, "kafka:\n  a: 5\n").unwrap();
    let file = load(&path).unwrap();
    let location = file.sections()[0].location().to_string();
    assert_eq!(location, format!("{}:1:1", path.display()));
}

#[test]
fn a_file_that_is_no_readable_text_says_why() {
    const ENCRYPTED: &str = ": the file is encrypted with fernet, but no key was given; use --acct-key-file, ACCT_KEY or --acct-key";
    const NOT_UTF8: &str = "found bytes that are not UTF-8, expected YAML text; give the key with --acct-key-file or ACCT_KEY if the file is encrypted, or save it as UTF-8";
    let folder = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/acct");
    let write = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    for (path, expected) in [
        (folder.path().join("missing"), ": acct file not found; check its path".to_owned()),
        (folder.path().to_owned(), ": found a directory, expected a regular file; check the path of the acct file".into()),
        (fixtures.join("credentials.yml.fernet"), ENCRYPTED.into()),
        (fixtures.join("credentials.jinja.yml.fernet"), ENCRYPTED.into()),
        (fixtures.join("credentials.yml.aesgcm256"), format!(":1:1: {NOT_UTF8}")),
        (write("latin1", b"a: 1\nb: \xe9\n"), format!(":2:4: {NOT_UTF8}")),
        (write("broken", b"a: [\n"), ":2:1: found text that is not YAML (while parsing a flow node, did not find expected node content), expected `key: value` with consistent indentation; check quotes, colons and indentation here and on the line before".into()),
    ] {
        assert_eq!(fault(&path), format!("{}{expected}", path.display()));
    }
}

/// The super user may read everything, so for it the file is simply read.
#[test]
fn a_file_this_user_may_not_read_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    fs::write(&path, "kafka:\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&path).is_ok() {
        assert_eq!(load(&path).unwrap().sections().len(), 1);
        return;
    }
    assert_eq!(
        fault(&path),
        format!(
            "{}: this user may not read the acct file; change its owner or mode",
            path.display()
        )
    );
}

#[test]
fn a_file_past_the_limit_is_refused_on_disk_and_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large");
    let text = " ".repeat(usize::try_from(MAX_FILE_BYTES).unwrap() + 1);
    fs::write(&path, &text).unwrap();
    let sentence = "the file is larger than 16 MiB; check that it is an acct file";
    assert_eq!(fault(&path), format!("{}: {sentence}", path.display()));
    assert_eq!(
        parse(&text, "f").unwrap_err()[0].to_string(),
        format!("f: {sentence}")
    );
}
