//! Lines of standard input, read one at a time with a bounded length.

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

/// The longest line of an event: the longest body and the text around it.
pub(super) const MAX_EVENT_BYTES: usize = evbus::event::MAX_BODY_BYTES + 64 * 1024;

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Whole,
    TooLong,
    End,
}

/// Reads one line without its line end. Of a line longer than `max` bytes, no more than that is kept.
pub(super) async fn read_line(
    input: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
    max: usize,
) -> std::io::Result<Line> {
    line.clear();
    // One more byte, for the line end.
    let limit = max as u64 + 1;
    if (&mut *input).take(limit).read_until(b'\n', line).await? == 0 {
        return Ok(Line::End);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Line::Whole);
    }
    if line.len() <= max {
        return Ok(Line::Whole);
    }
    // The rest of the line is skipped.
    loop {
        let chunk = input.fill_buf().await?;
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(chunk.len(), |end| end + 1);
        let over = end.is_some() || chunk.is_empty();
        input.consume(used);
        if over {
            return Ok(Line::TooLong);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_that_is_too_long_goes_by_and_the_next_is_read() {
        let long = "x".repeat(100_000);
        let text = format!("12345678\n{long}\n\n123456789\nlast");
        let mut input = tokio::io::BufReader::new(text.as_bytes());
        let mut line = Vec::new();
        let mut next = async || {
            let found = read_line(&mut input, &mut line, 8)
                .await
                .expect("it is read");
            (found, String::from_utf8_lossy(&line).into_owned())
        };
        assert_eq!(next().await, (Line::Whole, "12345678".to_owned()));
        let (found, kept) = next().await;
        assert_eq!((found, kept.len()), (Line::TooLong, 9));
        assert_eq!(next().await, (Line::Whole, String::new()));
        assert_eq!(next().await.0, Line::TooLong);
        assert_eq!(next().await, (Line::Whole, "last".to_owned()));
        assert_eq!(next().await.0, Line::End);
    }
}
