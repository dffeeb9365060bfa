//! `_stamp` in DATA that is already msgpack.

use super::{STAMP, check_data};
use crate::token::{self, Token};
use crate::{MAX_BODY_BYTES, MAX_DEPTH, pack};

/// Sets `_stamp` in DATA to the time of firing and replaces an existing one, as Salt's clients do.
/// Everything else stays the same, byte for byte.
///
/// # Errors
///
/// A short reason: `data` is not exactly one well-formed map that can be DATA, or is longer than
/// [`MAX_BODY_BYTES`].
pub fn stamp_data(data: &[u8], stamp: &str) -> Result<Vec<u8>, &'static str> {
    const UNREADABLE: &str = "not well-formed msgpack";
    if data.len() > MAX_BODY_BYTES {
        return Err("longer than 100 MiB");
    }
    check_data(data, MAX_DEPTH)?;
    let mut rest = data;
    let Ok(Token::Map(pairs)) = token::read(&mut rest) else {
        return Err(UNREADABLE);
    };
    let (mut kept, mut count) = (Vec::with_capacity(rest.len() + 64), 0);
    for _ in 0..pairs {
        let pair = rest;
        let key = token::skip(&mut rest).map_err(|_| UNREADABLE)?;
        token::skip(&mut rest).map_err(|_| UNREADABLE)?;
        if token::read(&mut &*key) != Ok(Token::Str(STAMP)) {
            kept.extend_from_slice(&pair[..pair.len() - rest.len()]);
            count += 1;
        }
    }
    let mut stamped = Vec::with_capacity(kept.len() + 64);
    pack::map(&mut stamped, count + 1);
    stamped.append(&mut kept);
    pack::str(&mut stamped, STAMP);
    pack::str(&mut stamped, stamp.as_bytes());
    Ok(stamped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(data: &[u8], expected: Result<&[u8], &str>) {
        let found = stamp_data(data, "now");
        assert_eq!(found.as_deref().map_err(|reason| *reason), expected);
    }

    #[test]
    fn a_map_gets_its_stamp_and_loses_an_older_one() {
        check(b"\x80", Ok(b"\x81\xa6_stamp\xa3now"));
        check(b"\x81\xa1a\x01", Ok(b"\x82\xa1a\x01\xa6_stamp\xa3now"));
        check(
            b"\x83\xa1a\x01\xa6_stamp\xa4then\xa1b\xc4\x02\xff\x00",
            Ok(b"\x83\xa1a\x01\xa1b\xc4\x02\xff\x00\xa6_stamp\xa3now"),
        );
    }

    #[test]
    fn what_is_not_one_map_is_refused() {
        for data in [&b""[..], b"\x01", b"\x90", b"\x81\xa1a", b"\x80\x80"] {
            assert!(stamp_data(data, "now").is_err(), "{data:?}");
        }
    }
}
