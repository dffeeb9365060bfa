//! Acct files as people write them, generated from a seed.

use std::fmt::Write as _;

/// A small random generator; the same seed gives the same file.
pub(crate) struct Generator(u64);

const WORDS: &[&str] = &[
    "localhost",
    "guest",
    "idem-*",
    "'*'",
    "\"[ab]*\"",
    "'!x'",
    "yes",
    "no",
    "On",
    "off",
    "~",
    "null",
    "0",
    "007",
    "0644",
    "-0644",
    "0x1F",
    "0b11",
    "1_000",
    "1:30",
    "1e5",
    "1.5e+3",
    ".5",
    "1.",
    "2021-03-04",
    "2021-03-04 10:00:00",
    "'it''s'",
    "\"a\\tb \\u2713\"",
    "http://h:80/x?y=1",
    "a b c",
    "gu:est",
    "x#y",
    "0o17",
    "08",
    "+12",
    "-7",
    "tru",
    "'5672'",
    "\"\"",
    "''",
    "\u{fc}ber",
    "\u{1f600}",
    "a,b",
    "<none>",
    "--x",
    "?x",
    "!!str 12",
    "!!int '7'",
    "!!float 3",
    "! 12",
    "18446744073709551615",
    "-9223372036854775808",
    "{{ 5600 + 72 }}",
    "{{ user }}",
    "'{{ user | upper }}'",
    "{{ names | join('-') }}",
    "{{ 7 // 2 }}",
    "{{ 'q' * 3 }}",
    "\"{{ user | b64encode }}\"",
    "{{ none | default('d', true) }}",
    "{{ user == 'guest' }}",
    "{{ names | length }}",
    "{{ {'k': [1, true, 'x']} }}",
    "{{ names }}",
    "{{ user.replace('g', 'q') }}",
    "{{ 3 / 2 }}",
    "{{ names | first }}",
    "{{ [3, 1, 2] | sort }}",
    "{{ 'a b' | title }}",
    "{{ '%s-%d' | format(user, 3) }}",
];

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("it is below a usize")
    }

    fn word(&mut self) -> &'static str {
        WORDS[self.below(WORDS.len())]
    }

    /// A whole file.
    pub(crate) fn file(&mut self) -> String {
        let mut text =
            "{% set user = 'guest' -%}\n{% set names = ['idem-status', 'idem-run'] -%}\n"
                .to_owned();
        if self.below(3) == 0 {
            text += "match_plugin: regex\n";
        }
        for section in 0..=self.below(3) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "provider{section}:");
            match self.below(4) {
                0 => {
                    for _ in 0..=self.below(3) {
                        text += "  - idem-run:\n";
                        self.map(3, &mut text);
                    }
                }
                1 => {
                    text += "{%- for name in names %}\n  {{ name }}:\n";
                    self.map(2, &mut text);
                    text += "{%- endfor %}\n";
                }
                2 => {
                    text += "  base: &base\n";
                    self.map(2, &mut text);
                    text += "  other:\n    <<: *base\n    own: 1\n  again: *base\n";
                    // A name may be used once per file, so each section gets its own.
                    text = text.replace("base", &format!("base{section}"));
                }
                _ => {
                    text += "  idem-*:\n";
                    self.map(2, &mut text);
                }
            }
        }
        if self.below(2) == 0 {
            text.truncate(text.trim_end().len());
        }
        text
    }

    fn map(&mut self, depth: usize, text: &mut String) {
        let pad = "  ".repeat(depth);
        for key in 0..=self.below(4) {
            let name = match self.below(6) {
                0 => format!("{}", 5000 + key),
                1 => format!("'key {key}'"),
                _ => format!("k{key}"),
            };
            match self.below(if depth > 4 { 5 } else { 8 }) {
                0 => {
                    let _ = writeln!(text, "{pad}{name}: [{}, \"x\", 'y']", self.below(99));
                }
                1 => {
                    let _ = writeln!(
                        text,
                        "{pad}{name}: |\n{pad}  line {key}\n\n{pad}    more: [\n{pad}end: >-\n{pad}  a\n{pad}  b"
                    );
                    // The name is fixed, so nothing may be appended.
                    return;
                }
                2 => {
                    let _ = writeln!(
                        text,
                        "{pad}{name}: {{a: 1, b: [true, ~], c: {{}}}}  # comment"
                    );
                }
                5 => {
                    let _ = writeln!(text, "{pad}{name}:");
                    self.map(depth + 1, text);
                }
                6 => {
                    let _ = writeln!(text, "{pad}{name}:");
                    for _ in 0..=self.below(3) {
                        let _ = writeln!(text, "{pad}- {}", self.word());
                    }
                }
                _ => {
                    let _ = writeln!(text, "{pad}{name}: {}", self.word());
                }
            }
        }
    }
}
