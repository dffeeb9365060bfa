//! YAML as people, programs and accidents write it, generated from a seed.

use crate::python::yaml_words::{ENDS, PLAIN, QUOTED, SIGNS, STARTS, STOPS, TAGGED, TAGS};

/// A small random generator; the same seed gives the same text.
pub(crate) struct Documents {
    state: u64,
    anchors: usize,
    /// Whole files, which are changed slightly to make texts.
    files: Vec<String>,
}

impl Documents {
    pub(crate) fn new(seed: u64, files: Vec<String>) -> Self {
        Self {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            anchors: 0,
            files,
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state % bound as u64).expect("it is below a usize")
    }

    fn one_of(&mut self, words: &[&'static str]) -> &'static str {
        words[self.below(words.len())]
    }

    /// The next text.
    pub(crate) fn next(&mut self) -> String {
        self.anchors = 0;
        let mut text = match self.below(4) {
            0 => {
                let file = self.below(self.files.len());
                self.files[file].clone()
            }
            kind => {
                let mut text = self.one_of(STARTS).to_owned();
                if kind == 1 {
                    let value = self.flow(0);
                    text.push_str(&value);
                    text.push_str(self.one_of(ENDS));
                } else {
                    self.block(0, 0, &mut text);
                }
                text.push_str(self.one_of(STOPS));
                text
            }
        };
        let changes = match self.below(4) {
            0 | 1 => 0,
            2 => 1,
            _ => 1 + self.below(4),
        };
        for _ in 0..changes {
            self.change(&mut text);
        }
        // Unknown render pipes are not what is compared here.
        if text.starts_with("#!") && !text.starts_with("#!yaml\n") {
            text.replace_range(..2, "# ");
        }
        text
    }

    fn change(&mut self, text: &mut String) {
        let offsets: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        if offsets.is_empty() {
            return;
        }
        let at = offsets[self.below(offsets.len())];
        match self.below(6) {
            0 => {
                text.remove(at);
            }
            1 => text.truncate(at),
            2 => {
                let to = offsets[self.below(offsets.len())];
                let part = text[at.min(to)..at.max(to)].to_owned();
                text.insert_str(at, &part);
            }
            _ => text.insert_str(at, self.one_of(SIGNS)),
        }
    }

    fn scalar(&mut self) -> String {
        match self.below(10) {
            0..=4 => self.one_of(PLAIN).to_owned(),
            5 | 6 => self.one_of(QUOTED).to_owned(),
            7 => {
                let tag = self.one_of(TAGS);
                format!("{tag} {}", self.one_of(TAGGED))
            }
            8 if self.anchors > 0 => format!("*a{}", self.below(self.anchors)),
            8 => "x".to_owned(),
            _ => format!("k{}", self.below(20)),
        }
    }

    fn properties(&mut self) -> String {
        match self.below(12) {
            0 => {
                self.anchors += 1;
                format!("&a{} ", self.anchors - 1)
            }
            1 => {
                let tag = self.one_of(TAGS);
                format!("{tag} ")
            }
            _ => String::new(),
        }
    }

    /// Blanks between the parts of a flow collection.
    fn blank(&mut self) -> &'static str {
        match self.below(9) {
            0 => "\n",
            1 => "\n    ",
            2 => "\t",
            3 => " # c\n",
            4 => "\n\t",
            5 => "",
            _ => " ",
        }
    }

    fn flow(&mut self, depth: usize) -> String {
        let mut text = self.properties();
        let is_list = match self.below(if depth > 3 { 3 } else { 6 }) {
            0..=2 => return text + &self.scalar(),
            kind => kind == 3,
        };
        text.push(if is_list { '[' } else { '{' });
        let count = self.below(4);
        for index in 0..count {
            text.push_str(if self.below(3) == 0 { self.blank() } else { "" });
            if !is_list || self.below(6) == 0 {
                if self.below(12) == 0 {
                    text.push_str("? ");
                }
                if self.below(10) == 0 {
                    text.push_str("<<");
                } else {
                    text.push_str(&self.scalar());
                }
                text.push_str(self.one_of(&[": ", ": ", ": ", ":", ":\t", " : ", ":\n", ""]));
            }
            text.push_str(&self.flow(depth + 1));
            text.push_str(if self.below(4) == 0 { self.blank() } else { "" });
            if index + 1 < count || self.below(5) == 0 {
                text.push(',');
                text.push_str(self.blank());
            }
        }
        text.push_str(if self.below(3) == 0 { self.blank() } else { "" });
        text.push(if is_list { ']' } else { '}' });
        text
    }

    fn literal(&mut self, indent: usize) -> String {
        let header = self.one_of(&[
            "|", ">", "|-", ">-", "|+", ">+", "|2", ">1-", "|+1", "| # c", ">\t", "|9", "|0", "|x",
            "|-\t# c",
        ]);
        let mut text = header.to_owned();
        let deeper = indent + 1 + self.below(3);
        for _ in 0..self.below(4) {
            text.push_str(self.one_of(&[
                "\n", "\n", "\n", "\n\n", "\r\n", "\n \n", "\u{85}", "\u{2028}",
            ]));
            text.push_str(&" ".repeat(deeper + self.below(5).saturating_sub(3)));
            text.push_str(self.one_of(&[
                "x", "x y", "", " x", "\tx", "# c", "a: b", "- x", "x ", "x\t", "'", "---",
                "\u{fc}",
            ]));
        }
        text
    }

    fn block(&mut self, depth: usize, indent: usize, text: &mut String) {
        let is_list = self.below(3) == 0;
        for index in 0..=self.below(4) {
            if index > 0 {
                // Occasionally wrong.
                let shift = match self.below(25) {
                    0 => 1,
                    1 => -1,
                    _ => 0,
                };
                text.push_str(&" ".repeat(indent.saturating_add_signed(shift)));
            }
            if is_list {
                text.push_str(self.one_of(&["- ", "- ", "- ", "-  ", "-\t", "-\n "]));
            } else {
                let key = match self.below(14) {
                    0 => "<<".to_owned(),
                    1..=5 => self.scalar(),
                    6 => self.flow(3),
                    _ => format!("k{index}"),
                };
                let mark = self.one_of(&["", "", "", "", "", "", "", "", "? ", "?\t"]);
                text.push_str(mark);
                text.push_str(&self.properties());
                text.push_str(&key);
                if !mark.is_empty() {
                    text.push('\n');
                    text.push_str(&" ".repeat(indent));
                }
                text.push_str(
                    self.one_of(&[": ", ": ", ": ", ": ", ":  ", ":\t", " : ", ":", ": \t"]),
                );
            }
            text.push_str(&self.properties());
            match self.below(if depth > 3 { 6 } else { 10 }) {
                0..=3 => text.push_str(&self.scalar()),
                4 => text.push_str(&self.flow(1)),
                5 => text.push_str(&self.literal(indent)),
                _ => {
                    let deeper = if self.below(4) == 0 && !is_list {
                        indent
                    } else {
                        indent + 1 + self.below(3)
                    };
                    text.push('\n');
                    text.push_str(&" ".repeat(deeper));
                    self.block(depth + 1, deeper, text);
                    continue;
                }
            }
            text.push_str(self.one_of(ENDS));
        }
    }
}
