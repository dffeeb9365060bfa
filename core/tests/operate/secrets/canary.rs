//! What replaces secrets in the test, and how it is found in everything that was written.

use std::fs;
use std::path::Path;
use std::process::Output;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// Every canary begins and ends with this word, and nothing else contains it.
pub(crate) const WORD: &str = "cAnArY";
/// A number that is a canary.
pub(crate) const NUMBER: u64 = 773_310_942_215;

/// A text that is as hard to hide as any: quotes, backslashes, a line break, percent signs, non-ASCII.
pub(crate) fn canary(source: &str) -> String {
    format!("{WORD}-{source}\"q'\\b%41 ü$(x)\nsecond line {source} {WORD}")
}

/// A path that does not exist, and that programs like to shorten.
pub(crate) fn path(source: &str) -> String {
    format!("./none/..//none/{WORD}-{source}//./{WORD}\"file")
}

/// Everything that was written, each piece with its origin.
#[derive(Default)]
pub(crate) struct Written(Vec<(String, Vec<u8>)>);

impl Written {
    pub(crate) fn add(&mut self, origin: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((origin.into(), bytes.into()));
    }

    pub(crate) fn add_output(&mut self, origin: &str, output: &Output) {
        self.add(format!("{origin}: standard output"), &*output.stdout);
        self.add(format!("{origin}: standard error"), &*output.stderr);
    }

    /// Every file in a directory and below.
    pub(crate) fn add_files(&mut self, origin: &str, dir: &Path) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.add_files(origin, &path);
            } else {
                let name = format!("{origin}: {}", path.display());
                // Sockets cannot be read.
                self.add(name, fs::read(&path).unwrap_or_default());
            }
        }
    }

    /// The total size.
    pub(crate) fn bytes(&self) -> usize {
        self.0.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// Whether a text is in it.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.0
            .iter()
            .any(|(_, bytes)| memchr::memmem::find(bytes, text.as_bytes()).is_some())
    }

    /// Where a canary appears in any form, with the text around it.
    pub(crate) fn leaks(&self) -> Vec<String> {
        let mut leaks = Vec::new();
        for (origin, bytes) in &self.0 {
            for form in forms() {
                if let Some(at) = memchr::memmem::find(bytes, form.as_bytes()) {
                    let around = &bytes[at.saturating_sub(160)..(at + 120).min(bytes.len())];
                    leaks.push(format!("{origin}: {}", String::from_utf8_lossy(around)));
                }
            }
        }
        leaks
    }
}

/// The word contains only letters, so it survives quoting, escaping and percent-encoding.
fn forms() -> Vec<String> {
    let mut forms = vec![WORD.to_owned(), NUMBER.to_string()];
    for before in ["", "%", "\\x", "\\u00"] {
        let lower: Vec<_> = WORD.bytes().map(|byte| format!("{byte:02x}")).collect();
        for digits in [
            lower.clone(),
            lower.iter().map(|digits| digits.to_uppercase()).collect(),
        ] {
            forms.push(format!("{before}{}", digits.join(before)));
        }
    }
    let numbers = format!("{:?}", WORD.as_bytes());
    forms.push(numbers.trim_matches(['[', ']']).to_owned());
    for before in 0..3 {
        let bytes = [&vec![0; before][..], WORD.as_bytes()].concat();
        let encoded = STANDARD_NO_PAD.encode(&bytes);
        forms.push(encoded[(8 * before).div_ceil(6)..8 * bytes.len() / 6].to_owned());
    }
    forms
}
