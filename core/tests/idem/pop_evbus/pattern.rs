//! Patterns of both match plugins, and names that they are likely to match.

use crate::random::Random;

/// A part of a pattern. It knows its own text, and can generate what it matches.
pub(crate) enum Piece {
    Literal {
        text: String,
        matches: String,
    },
    /// One character.
    Any(&'static str),
    /// Any characters.
    Star(&'static str),
    /// One of some characters, or none of them.
    Class {
        text: String,
        members: Vec<char>,
    },
    /// One of some sequences.
    Choice {
        open: &'static str,
        choices: Vec<Vec<Piece>>,
    },
    Repeat {
        piece: Box<Piece>,
        suffix: &'static str,
        least: u64,
        most: u64,
    },
    /// The same text twice, by a back-reference.
    Twice {
        group: String,
        choices: Vec<&'static str>,
    },
    /// Matches no character.
    Empty(String),
}

/// The parts of literals and names: ordinary names, and every character that is special in a pattern, in a YAML file
/// or in Unicode.
const WORDS: &[&str] = &[
    "idem-", "idem", "run", "status", "state", "-logger", "a", "b", "z", "A", "Z", "0", "42", "_",
    "-", ".", "..", "/", "/log/", "é", "ß", "ẞ", "ſ", "K", "\u{212a}", "İ", "ı", "日本", "😀",
    "\u{301}", "Σ", "ς", "\n", "\r\n", "\t", " ", "\u{85}", "\u{a0}", "\u{2028}", "\u{7f}",
    "\u{1}", "\u{feff}", "!", "^", "$", "\\", "{", "}", "{a,b}", "(", ")", "|", "+", ",", "#",
    "&&", "~~", "--", "||", "'", "\"", ":", ": ", "%", "{{", "]", "=", "@", "`", "<",
];

pub(crate) fn word(random: &mut Random) -> &'static str {
    // Mostly the frequent words, so that patterns have names in common.
    let end = if random.below(3) == 0 {
        WORDS.len()
    } else {
        19
    };
    WORDS[random.index(end)]
}

fn character(random: &mut Random) -> char {
    let text: Vec<char> = word(random).chars().collect();
    text[random.index(text.len())]
}

/// A pattern's text.
pub(crate) fn text(pieces: &[Piece]) -> String {
    pieces.iter().map(Piece::text).collect()
}

/// A name generated from a pattern, and sometimes changed slightly.
pub(crate) fn name(pieces: &[Piece], random: &mut Random) -> String {
    let mut name = String::new();
    for piece in pieces {
        piece.sample(random, &mut name);
    }
    for _ in 0..random.below(3).saturating_sub(random.below(2)) {
        name = changed(&name, random);
    }
    name
}

fn changed(name: &str, random: &mut Random) -> String {
    let mut name: Vec<char> = name.chars().collect();
    let at = random.index(name.len() + 1);
    if at == name.len() {
        name.extend(word(random).chars());
    } else {
        let c = name[at];
        match random.below(5) {
            0 => drop(name.remove(at)),
            1 => name.insert(at, character(random)),
            2 => name[at] = character(random),
            3 => drop(name.splice(at..=at, c.to_uppercase())),
            _ => drop(name.splice(at..=at, c.to_lowercase())),
        }
    }
    name.into_iter().collect()
}

impl Piece {
    fn text(&self) -> String {
        match self {
            Self::Literal { text, .. } | Self::Class { text, .. } | Self::Empty(text) => {
                text.clone()
            }
            Self::Any(text) | Self::Star(text) => (*text).to_owned(),
            Self::Choice { open, choices } => {
                let choices: Vec<String> = choices.iter().map(|pieces| text(pieces)).collect();
                format!("{open}{})", choices.join("|"))
            }
            Self::Repeat { piece, suffix, .. } => format!("{}{suffix}", piece.text()),
            Self::Twice { group, choices } => {
                format!("(?P<{group}>{}).?(?P={group})", choices.join("|"))
            }
        }
    }

    /// Adds something that the piece matches, or almost matches.
    fn sample(&self, random: &mut Random, name: &mut String) {
        match self {
            Self::Literal { matches, .. } => name.push_str(matches),
            Self::Any(_) => name.push(character(random)),
            Self::Star(_) => {
                for _ in 0..random.below(3) {
                    name.push_str(word(random));
                }
            }
            Self::Class { members, .. } => {
                // Sometimes a character that is not a member.
                if members.is_empty() || random.below(4) == 0 {
                    name.push(character(random));
                } else {
                    name.push(members[random.index(members.len())]);
                }
            }
            Self::Choice { choices, .. } => {
                for piece in &choices[random.index(choices.len())] {
                    piece.sample(random, name);
                }
            }
            Self::Repeat {
                piece, least, most, ..
            } => {
                for _ in 0..random.within(*least..*most + 1) {
                    piece.sample(random, name);
                }
            }
            Self::Twice { choices, .. } => {
                let choice = choices[random.index(choices.len())];
                name.push_str(choice);
                if random.below(2) == 0 {
                    name.push(character(random));
                }
                name.push_str(choice);
            }
            Self::Empty(_) => {}
        }
    }
}

/// A random glob; every text is one.
pub(crate) fn glob(random: &mut Random) -> Vec<Piece> {
    let pieces = random.within(1..6);
    (0..pieces)
        .map(|_| match random.below(12) {
            0..=2 => Piece::Star(["*", "**"][random.index(2)]),
            3 => Piece::Any("?"),
            4 | 5 => {
                let (body, members) = class_body(random, |c| c.to_string());
                let negation = ["", "", "!", "^"][random.index(4)];
                let bracket = ["", "", "", "]"][random.index(4)];
                Piece::Class {
                    text: format!("[{negation}{bracket}{body}]"),
                    members,
                }
            }
            // Left open, unless a later piece closes it.
            6 => literal(["[", "[!", "[]", "[!]", "[a-"][random.index(5)], |c| {
                c.to_string()
            }),
            // Reversed ranges match no character, any character, and any character but `b`.
            7 if random.below(2) == 0 => Piece::Class {
                text: ["[z-a]", "[!z-a]", "[z-a!b]"][random.index(3)].to_owned(),
                members: vec!['a', 'b'],
            },
            7 => literal(
                ["\\*", "\\", "\\[a\\]", "{a,b}", "{run,status}"][random.index(5)],
                |c| c.to_string(),
            ),
            _ => literal(word(random), |c| c.to_string()),
        })
        .collect()
}

/// Some members of a class, and its text without brackets.
fn class_body(random: &mut Random, escape: impl Fn(char) -> String) -> (String, Vec<char>) {
    let mut body = String::new();
    let mut members = Vec::new();
    for _ in 0..random.within(1..4) {
        if random.below(5) == 0 {
            body += ["a-z", "0-9", "A-Z", "a-é", "!-~"][random.index(5)];
            members.extend(['b', 'a', '4']);
        } else {
            let c = character(random);
            body += &escape(c);
            members.push(c);
        }
    }
    (body, members)
}

fn literal(matches: &str, escape: impl Fn(char) -> String) -> Piece {
    Piece::Literal {
        text: matches.chars().map(escape).collect(),
        matches: matches.to_owned(),
    }
}

fn escape(c: char) -> String {
    if r"\.^$*+?{}[]()|#&~-".contains(c) || c.is_ascii_whitespace() {
        format!("\\{c}")
    } else {
        c.to_string()
    }
}

/// A regular expression that Python accepts.
pub(crate) fn regex(random: &mut Random) -> Vec<Piece> {
    let mut groups = 0;
    let mut pieces = sequence(random, 2, &mut groups);
    // Back-references that ignore case are a documented difference from CPython.
    if groups == 0 {
        let flags = ["", "", "(?i)", "(?s)", "(?a)"][random.index(5)];
        pieces.insert(0, Piece::Empty(flags.to_owned()));
    }
    pieces
}

fn sequence(random: &mut Random, depth: u64, groups: &mut u64) -> Vec<Piece> {
    let pieces = random.within(1..5);
    (0..pieces)
        .map(|_| match random.below(12) {
            0 | 1 => Piece::Star([".*", ".*?", "[^/]*", r"[\s\S]*"][random.index(4)]),
            2 => {
                let piece = Box::new(character_piece(random));
                // Repetitions are not nested, because Python would take exponential time.
                let (suffix, least, most) = [
                    ("*", 0, 3),
                    ("+", 1, 3),
                    ("?", 0, 1),
                    ("{2}", 2, 2),
                    ("{1,3}", 1, 3),
                    ("+?", 1, 3),
                ][random.index(6)];
                Piece::Repeat {
                    piece,
                    suffix,
                    least,
                    most,
                }
            }
            3 | 4 => character_piece(random),
            5 if depth > 0 => Piece::Choice {
                open: ["(", "(?:", "(?i:", "(?>"][random.index(4)],
                choices: (0..random.within(1..4))
                    .map(|_| sequence(random, depth - 1, groups))
                    .collect(),
            },
            6 => {
                *groups += 1;
                Piece::Twice {
                    group: format!("g{groups}"),
                    choices: vec!["a", "run", "4", ""][random.index(3)..].to_vec(),
                }
            }
            7 => {
                let inner = word(random).chars().map(escape).collect::<String>();
                Piece::Empty(match random.below(6) {
                    0 => format!("(?!{inner})"),
                    1 => format!("(?!.*{inner})"),
                    2 => format!("(?<!{inner})"),
                    3 => format!("(?:(?={inner}))?"),
                    4 => r"\b".to_owned(),
                    _ => "(?:$|^)?".to_owned(),
                })
            }
            _ => literal(word(random), escape),
        })
        .collect()
}

/// One character.
fn character_piece(random: &mut Random) -> Piece {
    match random.below(4) {
        0 => Piece::Any("."),
        1 => Piece::Class {
            text: [r"\w", r"\W", r"\d", r"\s", r"\S"][random.index(5)].to_owned(),
            members: vec!['a', '4', ' ', '-', '日'],
        },
        _ => {
            let (body, members) = class_body(random, escape);
            let negation = ["", "", "^"][random.index(3)];
            Piece::Class {
                text: format!("[{negation}{body}]"),
                members,
            }
        }
    }
}
