//! Acct files read and encrypted by acct for Python and by this project, with the same result.
mod documents;
mod generator;
mod reader;
mod yaml_words;

use std::fs;
use std::path::Path;

use crate::json_server::JsonServer;
use evbus::acct::{AcctDocument, AcctKey, AcctSource, Cipher, KeySource};
use generator::Generator;
use serde_json::{Value, json};

/// acct, in one Python process for all questions.
struct Acct(JsonServer);

impl Acct {
    fn start() -> Self {
        Self(JsonServer::start("acct/python/acct_server.py"))
    }

    fn ask(&mut self, order: &Value) -> Value {
        self.0.ask(order)
    }

    fn decrypt(&mut self, file: &Path, cipher: Cipher, key: &AcctKey) -> Value {
        self.ask(
            &json!({"do": "decrypt", "file": file, "cipher": cipher.name(), "key": key.reveal()}),
        )
    }

    fn encrypt(&mut self, file: &Path, cipher: Cipher, key: &AcctKey, output: &Path) {
        self.ask(&json!({"do": "encrypt", "file": file, "cipher": cipher.name(), "key": key.reveal(), "output": output}));
    }
}

fn data(document: &AcctDocument) -> Value {
    serde_json::from_slice(&document.to_json().unwrap()).unwrap()
}

fn open(file: &Path, key: &AcctKey) -> Value {
    let source = AcctSource::new(file).key(KeySource::Given(key.clone()));
    data(
        &source
            .document()
            .unwrap_or_else(|error| panic!("{error:?}")),
    )
}

#[test]
fn two_hundred_files_are_the_same_data_in_both_plain_and_encrypted_by_either() {
    const FILES: u64 = 200;
    let dir = tempfile::tempdir().unwrap();
    let mut acct = Acct::start();
    for seed in 0..FILES {
        let text = Generator::new(seed).file();
        let file = dir.path().join(format!("{seed}.yml"));
        fs::write(&file, &text).unwrap();
        let document = AcctSource::new(&file)
            .document()
            .unwrap_or_else(|error| panic!("seed {seed}: {error:?}\n{text}"));
        let expected = acct.ask(&json!({"do": "read", "file": file}));
        assert_eq!(data(&document), expected, "seed {seed}:\n{text}");

        let cipher = [Cipher::Fernet, Cipher::Aesgcm256][usize::from(seed % 2 == 0)];
        let key = cipher.generate_key().unwrap();
        let ours = dir.path().join("ours");
        fs::write(&ours, document.encrypt(cipher, &key).unwrap()).unwrap();
        assert_eq!(acct.decrypt(&ours, cipher, &key), expected, "seed {seed}");
        assert_eq!(open(&ours, &key), expected, "seed {seed}");
        let theirs = dir.path().join("theirs");
        acct.encrypt(&file, cipher, &key, &theirs);
        assert_eq!(open(&theirs, &key), expected, "seed {seed}");

        // Idem reads what is shown, too.
        let shown = dir.path().join("shown.yml");
        let yaml = document.to_yaml().replace('{', "{{ '{' }}");
        fs::write(&shown, format!("{yaml}\n")).unwrap();
        assert_eq!(
            acct.ask(&json!({"do": "read", "file": shown})),
            expected,
            "seed {seed}:\n{yaml}"
        );
    }
}

#[test]
fn keys_that_python_does_not_take_for_text_keep_their_type_when_encrypted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f.yml");
    fs::write(
        &file,
        "aws: {123456789012: a, yes: b, ~: c, 1.5: d, '7': e}\n",
    )
    .unwrap();
    let mut acct = Acct::start();
    let expected = acct.ask(&json!({"do": "read", "file": file}));
    assert_eq!(expected["aws"]["true"], "b");
    let document = AcctSource::new(&file).document().unwrap();
    let key = Cipher::Fernet.generate_key().unwrap();
    let ours = dir.path().join("ours");
    fs::write(&ours, document.encrypt(Cipher::Fernet, &key).unwrap()).unwrap();
    assert_eq!(acct.decrypt(&ours, Cipher::Fernet, &key), expected);
    assert_eq!(open(&ours, &key), expected);
}
