//! Reads msgpack one token at a time: nothing is built only to be looked at or skipped.

use rmp::Marker;

/// A scalar, or the opening of a container whose items follow.
///
/// What a token holds is as wide as a register, also where less would do: a token with narrow parts is copied by
/// pieces that overlap, for which the processor waits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Token<'a> {
    Nil,
    False,
    True,
    Uint(u64),
    /// Below zero.
    Int(i64),
    Float(f64),
    /// Text by its type; whether it is UTF-8 is not checked.
    Str(&'a [u8]),
    Bin(&'a [u8]),
    /// The type, which has eight bits.
    Ext(i64, &'a [u8]),
    /// So many items follow.
    Array(u64),
    /// So many pairs of key and value follow.
    Map(u64),
}

/// Why no token could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The input ends within the token.
    Incomplete,
    /// The byte c1, which msgpack never uses.
    Reserved,
}

/// A token's beginning: enough to know where it ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    marker: Marker,
    /// Bytes up to the payload.
    header: usize,
    /// Bytes that follow the header and belong to the token itself.
    payload: usize,
    /// Values that follow the token and belong to it: items, or keys and values.
    pub(crate) children: u64,
}

impl Head {
    /// The token's length in bytes, without its children. At most 4 GiB and a few bytes.
    pub(crate) fn len(&self) -> usize {
        self.header + self.payload
    }

    /// Reads the beginning of the token at the front of `input`.
    #[inline]
    pub(crate) fn read(input: &[u8]) -> Result<Self, Stop> {
        // Most tokens are texts of less than 256 bytes, and maps with few pairs.
        let (marker, header, payload, children) = match *input {
            [first @ 0xa0..=0xbf, ..] => {
                let len = first & 0x1f;
                (Marker::FixStr(len), 1, usize::from(len), 0)
            }
            [first @ 0x80..=0x8f, ..] => {
                let count = first & 0x0f;
                (Marker::FixMap(count), 1, 0, 2 * u64::from(count))
            }
            [0xd9, len, ..] => (Marker::Str8, 2, usize::from(len), 0),
            _ => return Self::read_any(input),
        };
        Ok(Self {
            marker,
            header,
            payload,
            children,
        })
    }

    fn read_any(input: &[u8]) -> Result<Self, Stop> {
        let &first = input.first().ok_or(Stop::Incomplete)?;
        let marker = Marker::from_u8(first);
        let (header, payload, children) = match marker {
            Marker::Reserved => return Err(Stop::Reserved),
            Marker::FixPos(_) | Marker::FixNeg(_) | Marker::Null | Marker::False | Marker::True => {
                (1, 0, 0)
            }
            Marker::U8 | Marker::I8 => (1, 1, 0),
            Marker::U16 | Marker::I16 => (1, 2, 0),
            Marker::U32 | Marker::I32 | Marker::F32 => (1, 4, 0),
            Marker::U64 | Marker::I64 | Marker::F64 => (1, 8, 0),
            Marker::FixStr(len) => (1, usize::from(len), 0),
            Marker::Str8 | Marker::Bin8 => (2, length::<1>(input)?, 0),
            Marker::Str16 | Marker::Bin16 => (3, length::<2>(input)?, 0),
            Marker::Str32 | Marker::Bin32 => (5, length::<4>(input)?, 0),
            Marker::FixExt1 => (2, 1, 0),
            Marker::FixExt2 => (2, 2, 0),
            Marker::FixExt4 => (2, 4, 0),
            Marker::FixExt8 => (2, 8, 0),
            Marker::FixExt16 => (2, 16, 0),
            Marker::Ext8 => (3, length::<1>(input)?, 0),
            Marker::Ext16 => (4, length::<2>(input)?, 0),
            Marker::Ext32 => (6, length::<4>(input)?, 0),
            Marker::FixArray(count) => (1, 0, u64::from(count)),
            Marker::FixMap(count) => (1, 0, 2 * u64::from(count)),
            Marker::Array16 => (3, 0, length::<2>(input)? as u64),
            Marker::Array32 => (5, 0, length::<4>(input)? as u64),
            Marker::Map16 => (3, 0, 2 * length::<2>(input)? as u64),
            Marker::Map32 => (5, 0, 2 * length::<4>(input)? as u64),
        };
        Ok(Self {
            marker,
            header,
            payload,
            children,
        })
    }

    /// Whether the token opens an array or a map.
    pub(crate) fn is_container(&self) -> bool {
        self.is_map()
            || matches!(
                self.marker,
                Marker::FixArray(_) | Marker::Array16 | Marker::Array32
            )
    }

    /// Whether the token opens a map.
    pub(crate) fn is_map(&self) -> bool {
        matches!(
            self.marker,
            Marker::FixMap(_) | Marker::Map16 | Marker::Map32
        )
    }
}

/// The `N`-byte length after the marker.
fn length<const N: usize>(input: &[u8]) -> Result<usize, Stop> {
    let bytes = input.get(1..=N).ok_or(Stop::Incomplete)?;
    Ok(bytes
        .iter()
        .fold(0, |value, &byte| value << 8 | usize::from(byte)))
}

fn unsigned(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// Takes the token at the front of `input`.
#[inline]
pub(crate) fn read<'a>(input: &mut &'a [u8]) -> Result<Token<'a>, Stop> {
    // Most tokens are short texts.
    if let [first @ 0xa0..=0xbf, rest @ ..] = input
        && let Some((text, rest)) = rest.split_at_checked(usize::from(first & 0x1f))
    {
        *input = rest;
        return Ok(Token::Str(text));
    }
    read_any(input)
}

fn read_any<'a>(input: &mut &'a [u8]) -> Result<Token<'a>, Stop> {
    let head = Head::read(input)?;
    let whole = input.get(..head.len()).ok_or(Stop::Incomplete)?;
    let payload = &whole[head.header..];
    *input = &input[head.len()..];
    let bits = u64::from(64 - 8 * u32::try_from(payload.len().min(8)).unwrap_or(8));
    // Sign-extends an integer of the payload's width.
    let signed = || ((unsigned(payload) << bits).cast_signed()) >> bits;
    Ok(match head.marker {
        Marker::Null | Marker::Reserved => Token::Nil,
        Marker::False => Token::False,
        Marker::True => Token::True,
        Marker::FixPos(value) => Token::Uint(value.into()),
        Marker::FixNeg(value) => Token::Int(value.into()),
        Marker::U8 | Marker::U16 | Marker::U32 | Marker::U64 => Token::Uint(unsigned(payload)),
        Marker::I8 | Marker::I16 | Marker::I32 | Marker::I64 => {
            let value = signed();
            u64::try_from(value).map_or(Token::Int(value), Token::Uint)
        }
        Marker::F32 => {
            let bits = payload.try_into().map(u32::from_be_bytes);
            // A payload has the four bytes that its head says.
            Token::Float(bits.map_or(f64::NAN, |bits| f32::from_bits(bits).into()))
        }
        Marker::F64 => Token::Float(f64::from_bits(unsigned(payload))),
        Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => Token::Str(payload),
        Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => Token::Bin(payload),
        Marker::FixExt1
        | Marker::FixExt2
        | Marker::FixExt4
        | Marker::FixExt8
        | Marker::FixExt16
        | Marker::Ext8
        | Marker::Ext16
        | Marker::Ext32 => Token::Ext(whole[head.header - 1].cast_signed().into(), payload),
        Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => Token::Array(head.children),
        Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => Token::Map(head.children / 2),
    })
}

/// Takes the whole value at the front of `input`, with all that is nested in it.
pub(crate) fn skip<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], Stop> {
    let all = *input;
    let mut at = 0;
    let mut left = 1_u64;
    while left > 0 {
        let rest = all.get(at..).ok_or(Stop::Incomplete)?;
        let head = Head::read(rest)?;
        at += head.len();
        left = (left - 1).saturating_add(head.children);
    }
    let value = all.get(..at).ok_or(Stop::Incomplete)?;
    *input = &all[at..];
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_width_keep_their_value() {
        for (bytes, expected) in [
            (&[0x7f][..], Token::Uint(127)),
            (&[0xe0], Token::Int(-32)),
            (&[0xcc, 0xff], Token::Uint(255)),
            (&[0xd0, 0x80], Token::Int(-128)),
            (&[0xd1, 0x00, 0x05], Token::Uint(5)),
            (&[0xd2, 0xff, 0xff, 0xff, 0xfe], Token::Int(-2)),
            (
                &[0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                Token::Uint(u64::MAX),
            ),
            (&[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0], Token::Int(i64::MIN)),
            (&[0xca, 0x3f, 0xc0, 0, 0], Token::Float(1.5)),
            (&[0xd4, 0xff, 9], Token::Ext(-1, &[9])),
            (&[0xc7, 2, 78, b'a', b'b'], Token::Ext(78, b"ab")),
        ] {
            let mut input = bytes;
            assert_eq!(read(&mut input), Ok(expected), "{bytes:02x?}");
            assert!(input.is_empty(), "{bytes:02x?}");
            for end in 0..bytes.len() {
                assert_eq!(read(&mut &bytes[..end]), Err(Stop::Incomplete));
            }
        }
    }

    #[test]
    fn skipping_takes_one_value_with_all_that_is_nested() {
        let mut input = &[0x82, 1, 0x92, 2, 0xa1, b'x', 3, 0x80, 7][..];
        assert_eq!(skip(&mut input).map(<[u8]>::len), Ok(8));
        assert_eq!(input, [7]);
        assert_eq!(skip(&mut &[0x91, 0xc1][..]), Err(Stop::Reserved));
        assert_eq!(
            skip(&mut &[0xdf, 255, 255, 255, 255][..]),
            Err(Stop::Incomplete)
        );
    }
}
