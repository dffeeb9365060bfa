//! A host's acknowledgement of a program's events, at the end of the program's stream.

/// Every event of the connection is kept at every destination that it belongs to.
const KEPT: u8 = 0x06;

/// As [`KEPT`], and at least one event matches no destination.
const UNMATCHED: u8 = 0x1a;

/// At least one event is not kept at a destination that it belongs to; the reason follows as text.
const NOT_KEPT: u8 = 0x15;

/// The longest answer, in bytes.
pub const MAX_ANSWER_BYTES: usize = 1024;

/// A host's answer at the end of a connection over which a program sent frames with an `evbus` head. An answer
/// is one byte; for [`NotKept`](Self::NotKept) the reason follows. Then the connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// All events are kept at every matching destination: in its queue, and on disk if the destination is
    /// `durable`. 0x06.
    Kept,
    /// Like [`Kept`](Self::Kept), but at least one event matches no destination; only listeners received it.
    /// 0x1a.
    Unmatched,
    /// Not all events are kept, with the reason. Those that are kept may be delivered. 0x15.
    NotKept(String),
}

impl Answer {
    /// The bytes of the answer. The reason becomes one line; a long one is truncated.
    pub fn write(&self) -> Vec<u8> {
        match self {
            Self::Kept => vec![KEPT],
            Self::Unmatched => vec![UNMATCHED],
            Self::NotKept(reason) => {
                let mut answer = vec![NOT_KEPT];
                answer.extend_from_slice(clean(reason).as_bytes());
                answer
            }
        }
    }

    /// Reads what a host wrote until the connection ended; `None` if that is not an answer.
    pub fn read(answer: &[u8]) -> Option<Self> {
        match answer {
            [KEPT] => Some(Self::Kept),
            [UNMATCHED] => Some(Self::Unmatched),
            [NOT_KEPT, reason @ ..] => Some(Self::NotKept(clean(&String::from_utf8_lossy(reason)))),
            _ => None,
        }
    }
}

/// One line that fits an answer.
fn clean(text: &str) -> String {
    let mut line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    line.truncate(line.floor_char_boundary(MAX_ANSWER_BYTES - 1));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_read_as_it_was_written() {
        for answer in [
            Answer::Kept,
            Answer::Unmatched,
            Answer::NotKept(String::new()),
            Answer::NotKept("destination kafka[0] * has ended".to_owned()),
        ] {
            assert_eq!(Answer::read(&answer.write()), Some(answer));
        }
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for bytes in [&b""[..], b"\x06\x06", b"\x1a ", b"x", b"\x00"] {
            assert_eq!(Answer::read(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_reason_is_one_line_of_bounded_length() {
        let written = Answer::NotKept(format!("a\nb\u{1b}[1m{}", "ä".repeat(2000))).write();
        assert!(written.len() <= MAX_ANSWER_BYTES);
        let Some(Answer::NotKept(reason)) = Answer::read(&written) else {
            panic!("it is an answer");
        };
        assert!(reason.starts_with("a b [1mä"), "{reason}");
    }
}
