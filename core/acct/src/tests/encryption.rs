//! Encrypted files: those written by acct for Python, and this project's own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{AcctDocument, AcctKey, AcctSource, Cipher, KeySource, RenderPipe};

const CHECK_THE_KEY: &str = "check the key (--acct-key-file, --acct-key or ACCT_KEY), and that the file is complete and unchanged";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/acct")
}

/// Files that acct wrote, with their keys.
fn written_by_acct() -> Vec<(PathBuf, String)> {
    let keys = fs::read_to_string(fixtures().join("keys.txt")).unwrap();
    keys.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(file, key)| (fixtures().join(file), key.to_owned()))
        .collect()
}

fn with_key(file: &Path, key: &str) -> AcctSource {
    AcctSource::new(file).key(KeySource::Given(AcctKey::new(key)))
}

fn data(document: &AcctDocument) -> Value {
    serde_json::from_slice(&document.to_json().unwrap()).unwrap()
}

fn plain(text: &str) -> (tempfile::TempDir, AcctDocument) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("plain.yml");
    fs::write(&file, text).unwrap();
    let document = AcctSource::new(&file).document().unwrap();
    (dir, document)
}

#[test]
fn files_that_acct_wrote_are_read_whatever_their_cipher() {
    assert_eq!(written_by_acct().len(), 4);
    for (file, key) in written_by_acct() {
        let document = with_key(&file, &key).document().unwrap();
        let expected = fs::read(file.with_extension("expected.json")).unwrap();
        assert_eq!(
            data(&document),
            serde_json::from_slice::<Value>(&expected).unwrap(),
            "{}",
            file.display()
        );
        let cipher = document.cipher().unwrap().name();
        assert_eq!(file.extension().unwrap(), cipher);
        // The right cipher opens the file; the wrong one does not.
        let named = with_key(&file, &key).cipher(cipher.parse::<Cipher>().unwrap());
        assert!(named.document().unwrap().same_data(&document));
    }
}

#[test]
fn a_token_that_was_folded_quoted_or_marked_is_read() {
    let (dir, document) = plain("kafka: {a: {topics: [x, y, z], key: k}}\n");
    let key = Cipher::Fernet.generate_key().unwrap();
    let token = document.encrypt(Cipher::Fernet, &key).unwrap();
    let token = String::from_utf8(token).unwrap();
    let (start, end) = token.split_at(64);
    let file = dir.path().join("f");
    for written in [
        format!("\u{feff}{token}\n"),
        format!("\"{token}\"\n"),
        format!("'{token}'"),
        format!("{start}\n{end}\n"),
        format!("{start}\r\n  {end}\r\n"),
    ] {
        fs::write(&file, &written).unwrap();
        let read = with_key(&file, key.reveal()).document().unwrap();
        assert!(read.same_data(&document), "{written:?}");
        // Without a key, the file is not read as YAML.
        let error = &AcctSource::new(&file).document().unwrap_err()[0];
        assert!(
            error
                .message()
                .starts_with("the file is encrypted with fernet")
        );
    }
}

#[test]
fn keys_that_would_be_one_when_encrypted_are_refused_and_every_other_key_comes_back() {
    let key = Cipher::Fernet.generate_key().unwrap();
    for text in [
        "aws: {0x10: a, '16': b}\n",
        "aws: {on: a, 'true': b}\n",
        "aws: {1.10: a, '1.1': b}\n",
        "aws: {~: a, 'null': b}\n",
    ] {
        let (_dir, document) = plain(text);
        let error = &document.encrypt(Cipher::Fernet, &key).unwrap_err()[0];
        assert!(
            error
                .message()
                .starts_with("found two keys of one mapping that have the same name"),
            "{text}: {error}"
        );
    }
    let long = "k".repeat(2000);
    let (dir, document) = plain(&format!(
        "aws: {{on: 1, 0x10: 2, 1.0e+16: 3, .inf: 4, ~: 5, \"a\\n b\": 6, ? {long} : 7, '<<': 8, =: 9, 007: 10}}\n"
    ));
    let file = dir.path().join("f");
    fs::write(&file, document.encrypt(Cipher::Fernet, &key).unwrap()).unwrap();
    let read = with_key(&file, key.reveal()).document().unwrap();
    assert!(read.same_data(&document));
    // What `edit` and `decrypt` show is read back, too.
    let shown = dir.path().join("shown.yml");
    fs::write(&shown, read.to_yaml().as_bytes()).unwrap();
    let again = AcctSource::new(&shown).render_pipe(RenderPipe::yaml());
    let again = again.document().unwrap();
    assert!(again.same_data(&document));
}

#[test]
fn what_is_encrypted_is_read_back_with_types_keys_and_order() {
    let (dir, document) = plain(
        "z: {5672: a, 'x': 1.5, n: ~, big: 18446744073709551615, low: -9223372036854775808}\na: [yes, [], {}, .inf, !!binary aGk=]\n",
    );
    for cipher in [Cipher::Fernet, Cipher::Aesgcm256] {
        let key = cipher.generate_key().unwrap();
        let file = dir.path().join(cipher.name());
        fs::write(&file, document.encrypt(cipher, &key).unwrap()).unwrap();
        let again = with_key(&file, key.reveal()).document().unwrap();
        assert_eq!(again.cipher(), Some(cipher));
        assert_eq!(
            again.to_yaml().as_str(),
            "'z':\n  5672: 'a'\n  'x': 1.5\n  'n': null\n  big: 18446744073709551615\n  low: -9223372036854775808\n'a':\n- true\n- []\n- {}\n- .inf\n- hi\n"
        );
        // Neither nonce nor initialization vector is used twice.
        let other = document.encrypt(cipher, &key).unwrap();
        assert_ne!(other, fs::read(&file).unwrap());
    }
}

#[test]
fn a_file_that_does_not_open_says_so_in_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let other_key = Cipher::Fernet.generate_key().unwrap();
    for (file, key) in written_by_acct() {
        let content = fs::read(&file).unwrap();
        let cipher: Cipher = file.extension().unwrap().to_str().unwrap().parse().unwrap();
        let wrong = format!(
            "wrong key, or the file is damaged: {cipher} decryption failed; {CHECK_THE_KEY}"
        );
        let damaged = format!(
            "the file is truncated or damaged: it is not valid {cipher} data; copy it again, or restore it from a backup"
        );
        let cut = content[..content.len() - 3].to_vec();
        let mut changed = content.clone();
        let middle = changed.len() / 2;
        changed[middle] = if changed[middle] == b'A' { b'B' } else { b'A' };
        let (fernet, stub) = (cipher == Cipher::Fernet, content[..20].to_vec());
        for (content, key, expected) in [
            (content.clone(), other_key.reveal(), &wrong),
            (cut, &*key, if fernet { &damaged } else { &wrong }),
            (changed, &*key, &wrong),
            (stub, &*key, &damaged),
            (content.clone(), "c2hvcnQ=", &"the key is not 32 bytes in base64; use the key that was printed when the file was encrypted (--acct-key-file, --acct-key or ACCT_KEY)".to_owned()),
            (b"kafka: {}\n".to_vec(), &*key, &"a key was given, but the file is not encrypted; encrypt it with `evbus acct encrypt`, or remove --acct-key-file, --acct-key and ACCT_KEY".to_owned()),
        ] {
            let path = dir.path().join("f");
            fs::write(&path, content).unwrap();
            let error = &with_key(&path, key).document().unwrap_err()[0];
            assert_eq!(error.message(), expected);
            assert_eq!(error.to_string(), format!("{}: {expected}", path.display()));
            assert!(!error.to_string().contains(key));
        }
    }
}

#[test]
fn a_file_of_other_content_than_msgpack_says_what_was_found() {
    let dir = tempfile::tempdir().unwrap();
    let key = Cipher::Fernet.generate_key().unwrap();
    for (content, found) in [
        (&b"{\"kafka\": {}}"[..], "trailing data"),
        (b"\x82\xa1a", "truncated data"),
        (b"\xc1", "an invalid byte"),
        (b"\x81\x90\x01", "a key that is not text"),
        (b"\xdd\xff\xff\xff\xff", "truncated data"),
        (&[0x91; 200], "values nested more than 100 levels deep"),
        (b"\x82\xa1a\x01\xa1a\x02", "a mapping with a duplicate key"),
    ] {
        let path = dir.path().join("f");
        fs::write(&path, Cipher::Fernet.encrypt(&key, content).unwrap()).unwrap();
        let error = &with_key(&path, key.reveal()).document().unwrap_err()[0];
        assert_eq!(
            error.message(),
            format!(
                "found {found} in the decrypted file, expected msgpack as written by acct's serial plugin msgpack; encrypt the file again"
            )
        );
    }
}

#[test]
fn an_error_in_an_encrypted_file_names_the_key_without_a_line() {
    let (dir, document) = plain("kafka:\n  idem-*:\n    evbus: {queue: {events: 0}}\n");
    let key = Cipher::Fernet.generate_key().unwrap();
    let file = dir.path().join("f");
    fs::write(&file, document.encrypt(Cipher::Fernet, &key).unwrap()).unwrap();
    let acct = with_key(&file, key.reveal()).load().unwrap();
    let errors = acct.sections()[0].entries().unwrap_err();
    assert_eq!(
        errors[0].to_string(),
        format!(
            "{}: kafka.idem-*.evbus.queue.events: found a number, expected a whole number of events from 1 to 100000000; correct the number",
            file.display()
        )
    );
}

#[test]
fn a_key_is_taken_from_a_file_each_time_and_never_shown() {
    let (dir, document) = plain("kafka: {a: {}}\n");
    let (path, key_file) = (dir.path().join("f"), dir.path().join("key"));
    let source = AcctSource::new(&path).key(KeySource::File(key_file.clone()));
    let refused = |why: &str| {
        format!(
            "cannot use key file {}: {why}; use a file with the key on its first line (--acct-key-file)",
            key_file.display()
        )
    };
    fs::write(&path, "x").unwrap();
    assert_eq!(
        source.document().unwrap_err()[0].message(),
        refused("no such file")
    );
    fs::write(&key_file, "\n \n").unwrap();
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(
        source.document().unwrap_err()[0].message(),
        refused("it is empty")
    );
    fs::write(&key_file, "k".repeat(5000)).unwrap();
    assert_eq!(
        source.document().unwrap_err()[0].message(),
        refused("it is larger than 4 KiB")
    );
    for _ in 0..2 {
        let key = Cipher::Aesgcm256.generate_key().unwrap();
        fs::write(&key_file, format!("{}\n# note\n", key.reveal())).unwrap();
        fs::write(&path, document.encrypt(Cipher::Aesgcm256, &key).unwrap()).unwrap();
        assert!(source.document().unwrap().same_data(&document));
        assert_eq!(format!("{key:?}"), "AcctKey(..)");
        assert!(!format!("{source:?}").contains(key.reveal()));
    }
}

#[test]
fn what_cannot_be_encrypted_is_named() {
    let (_dir, document) = plain("aws:\n  a: [1, {b: 99999999999999999999}]\n");
    let key = Cipher::Fernet.generate_key().unwrap();
    let error = &document.encrypt(Cipher::Fernet, &key).unwrap_err()[0];
    assert_eq!(error.location().position.unwrap().line, 2);
    assert_eq!(error.key(), "aws.a[1].b");
    assert!(
        error
            .message()
            .starts_with("found a whole number of more than 64 bits")
    );
    let (_dir, list) = plain("- a\n");
    let error = &list.encrypt(Cipher::Fernet, &key).unwrap_err()[0];
    assert!(
        error
            .message()
            .starts_with("found a list at the top of the file")
    );
}

#[test]
fn yaml_that_is_shown_is_read_back_as_the_same_data() {
    let texts = [
        "plain",
        "",
        " lead",
        "trail ",
        "yes",
        "1e5",
        "0644",
        "2021-03-04",
        "a: b",
        "#",
        "it's",
        "\"q\"",
        "tab\there",
        "line\nline\n",
        "line\n\n  in\nline",
        "\nfirst",
        "a\n\n\n",
        "\u{1f600}\u{85}",
        "{{ x }}",
        "- a",
        "*a",
        "&a",
        "!x",
        "null",
        "~",
        "<<",
        "=",
        "y",
        "\u{feff}x",
        "[a]",
        "cr\rx",
        "a\\b",
        "\u{7}",
        "line\n\tx",
        "a #b",
        "a\n ",
        "x\n\u{2028}y",
    ];
    let pairs: serde_json::Map<String, Value> = texts
        .iter()
        .enumerate()
        .map(|(n, text)| {
            (
                format!("{text}{n}"),
                serde_json::json!([text, {"v": text}, [[text]]]),
            )
        })
        .chain([(
            "numbers".to_owned(),
            serde_json::json!([1e16, -2.5e-7, 0.1, 3.0, -4]),
        )])
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let (json, yaml) = (dir.path().join("j"), dir.path().join("y"));
    fs::write(&json, serde_json::to_vec(&pairs).unwrap()).unwrap();
    let document = AcctSource::new(&json)
        .render_pipe(RenderPipe::json())
        .document()
        .unwrap();
    fs::write(&yaml, document.to_yaml().as_bytes()).unwrap();
    let again = AcctSource::new(&yaml)
        .render_pipe(RenderPipe::yaml())
        .document()
        .unwrap_or_else(|error| panic!("{error:?}\n{}", document.to_yaml().as_str()));
    assert_eq!(data(&again), Value::Object(pairs));
    assert!(again.same_data(&document));
}
