//! The system's answers about sockets, as sentences for people.

use std::io;

/// Why a socket cannot be connected to, or its connection was lost: part of a sentence, without the system's codes.
pub fn in_words(error: &io::Error) -> String {
    let words = match error.kind() {
        io::ErrorKind::NotFound => "the socket does not exist",
        io::ErrorKind::ConnectionRefused => "nothing listens on it",
        io::ErrorKind::PermissionDenied => "this user may not use it",
        io::ErrorKind::NotADirectory => "part of its path is not a directory",
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "nothing answered in time",
        io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::NotConnected
        | io::ErrorKind::UnexpectedEof => "the other end closed it",
        _ => {
            let text = error.to_string();
            return match text.split_once(" (os error") {
                Some((words, _)) => words.to_owned(),
                None => text,
            };
        }
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_of_the_system_is_shown() {
        const CODES: std::ops::Range<i32> = 1..134;
        for code in CODES {
            let words = in_words(&io::Error::from_raw_os_error(code));
            assert!(!words.contains("os error"), "{code}: {words}");
        }
        let check = |kind: io::ErrorKind, words| assert_eq!(in_words(&kind.into()), words);
        check(io::ErrorKind::NotFound, "the socket does not exist");
        check(io::ErrorKind::ConnectionRefused, "nothing listens on it");
        check(io::ErrorKind::BrokenPipe, "the other end closed it");
    }
}
