//! The system's own words for what it refused.

use std::io;

/// What the system answered, without the number that nobody but programs reads.
pub fn system_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error ") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_left_out() {
        let full = io::Error::from_raw_os_error(28);
        assert_eq!(system_text(&full), "No space left on device");
        assert_eq!(system_text(&io::Error::other("broken")), "broken");
    }
}
