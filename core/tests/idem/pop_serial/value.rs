//! Values that a Rust program fires and that have a description for the Python one.

use std::collections::HashSet;
use std::time::{Duration, UNIX_EPOCH};

use serde::ser::{Serialize, SerializeMap as _, SerializeTuple as _, Serializer};
use serde_json::{Value as Json, json};

use crate::pop_serial::delivered::hex;
use crate::random::Random;

/// A value, named as in serde.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    None,
    Unit,
    Some(Box<Value>),
    Bool(bool),
    /// Any integer, serialized as the smallest Rust type that holds it.
    Int(i128),
    Unsigned(u128),
    F64(f64),
    F32(f32),
    Char(char),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Tuple(Vec<Value>),
    Map(Vec<(Value, Value)>),
    /// An enum's variant with a value.
    Variant(Box<Value>),
    Texts(HashSet<String>),
    Ints(HashSet<i64>),
    /// Seconds and microseconds since 1970.
    Time(u64, u32),
}

fn as_set<T: Serialize + Ord, S: Serializer>(
    set: &HashSet<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    evbus::pop_serial::set(set, serializer)
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_none(),
            Self::Unit => serializer.serialize_unit(),
            Self::Some(value) => serializer.serialize_some(value),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => match (i8::try_from(*value), i64::try_from(*value)) {
                (Ok(value), _) => serializer.serialize_i8(value),
                (_, Ok(value)) => serializer.serialize_i64(value),
                _ => serializer.serialize_i128(*value),
            },
            Self::Unsigned(value) => match u64::try_from(*value) {
                Ok(value) => serializer.serialize_u64(value),
                Err(_) => serializer.serialize_u128(*value),
            },
            Self::F64(value) => serializer.serialize_f64(*value),
            Self::F32(value) => serializer.serialize_f32(*value),
            Self::Char(value) => serializer.serialize_char(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Bytes(value) => serializer.serialize_bytes(value),
            Self::List(items) => serializer.collect_seq(items),
            Self::Tuple(items) => {
                let mut tuple = serializer.serialize_tuple(items.len())?;
                for item in items {
                    tuple.serialize_element(item)?;
                }
                tuple.end()
            }
            Self::Map(pairs) => {
                let mut map = serializer.serialize_map(Some(pairs.len()))?;
                for (key, value) in pairs {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
            Self::Variant(value) => {
                serializer.serialize_newtype_variant("Value", 0, "Variant", value)
            }
            Self::Texts(set) => as_set(set, serializer),
            Self::Ints(set) => as_set(set, serializer),
            Self::Time(seconds, microseconds) => {
                let since = Duration::new(*seconds, microseconds * 1000);
                evbus::pop_serial::datetime(&(UNIX_EPOCH + since), serializer)
            }
        }
    }
}

impl Value {
    /// The description from which the script builds the same value.
    pub(crate) fn description(&self) -> Json {
        let all = |items: &[Self]| items.iter().map(Self::description).collect::<Json>();
        match self {
            Self::None | Self::Unit => json!({"none": null}),
            Self::Some(value) => value.description(),
            Self::Bool(value) => json!({"bool": value}),
            Self::Int(value) => json!({"int": value.to_string()}),
            Self::Unsigned(value) => json!({"int": value.to_string()}),
            Self::F64(value) => json!({"float": format!("{:016x}", value.to_bits())}),
            // The number with the same decimal digits.
            Self::F32(value) => {
                let value: f64 = value.to_string().parse().unwrap();
                Self::F64(value).description()
            }
            Self::Char(value) => json!({"str": value}),
            Self::Text(value) => json!({"str": value}),
            Self::Bytes(value) => json!({"bytes": hex(value)}),
            Self::List(items) => json!({"list": all(items)}),
            Self::Tuple(items) => json!({"tuple": all(items)}),
            Self::Map(pairs) => {
                let pair = |(key, value): &(Self, Self)| [key.description(), value.description()];
                json!({"map": pairs.iter().map(pair).collect::<Vec<_>>()})
            }
            Self::Variant(value) => {
                json!({"map": [[{"str": "Variant"}, value.description()]]})
            }
            Self::Texts(set) => {
                json!({"set": set.iter().map(|item| json!({"str": item})).collect::<Json>()})
            }
            Self::Ints(set) => {
                json!({"set": set.iter().map(|item| json!({"int": item.to_string()})).collect::<Json>()})
            }
            Self::Time(seconds, microseconds) => {
                json!({"datetime": [seconds, microseconds, true]})
            }
        }
    }

    /// A value with the same result in both programs, in every form.
    pub(crate) fn random(random: &mut Random, depth: u64) -> Self {
        let kinds = if depth == 0 { 9 } else { 13 };
        match random.below(kinds) {
            0 => Self::None,
            1 => Self::Unit,
            2 => Self::Bool(random.below(2) == 0),
            3 => Self::Int(integer(random)),
            4 => Self::Unsigned(integer(random).unsigned_abs()),
            5 => Self::F64(float(random)),
            6 => {
                let bits = u32::try_from(random.next() >> 32).unwrap();
                Self::F32(
                    Some(f32::from_bits(bits))
                        .filter(|it| it.is_finite())
                        .unwrap_or(0.1),
                )
            }
            7 => Self::Char(character(random)),
            8 => Self::Text(text(random)),
            9 => Self::Some(Box::new(Self::random(random, depth - 1))),
            10 => Self::Variant(Box::new(Self::random(random, depth - 1))),
            11 => Self::List(
                (0..count(random))
                    .map(|_| Self::random(random, depth - 1))
                    .collect(),
            ),
            _ => {
                let mut pairs: Vec<(Self, Self)> = Vec::new();
                for at in 0..count(random) {
                    // The number makes every key unique.
                    let key = Self::Text(format!("{}{at}", text(random)));
                    pairs.push((key, Self::random(random, depth - 1)));
                }
                Self::Map(pairs)
            }
        }
    }
}

/// Usually small, and sometimes more than the shortest header of msgpack can express.
fn count(random: &mut Random) -> u64 {
    if random.below(16) == 0 {
        random.within(15..20)
    } else {
        random.below(5)
    }
}

/// Of any size, often near the limits between sizes.
fn integer(random: &mut Random) -> i128 {
    let magnitude = 1_i128 << random.below(127);
    let value = match random.below(3) {
        0 => magnitude + i128::from(random.below(3)) - 1,
        1 => magnitude / 3,
        _ => magnitude - 1 - i128::from(random.below(100)),
    };
    if random.below(2) == 0 { value } else { -value }
}

fn float(random: &mut Random) -> f64 {
    let any = f64::from_bits(random.next());
    match random.below(3) {
        0 if any.is_finite() => any,
        // Near the sizes at which an exponent is written.
        1 => {
            let exponent = i32::try_from(random.below(48)).unwrap() - 24;
            let digits = u32::try_from(random.within(1..100_000)).unwrap();
            f64::from(digits) * 10_f64.powi(exponent)
        }
        _ => f64::from(i32::try_from(random.below(1 << 30)).unwrap() - (1 << 29)) / 8.0,
    }
}

/// Of every kind, except those newer than Unicode 14 or not assigned.
fn character(random: &mut Random) -> char {
    const SOME: [char; 20] = [
        '\0', '\t', '\n', '\r', '\x1f', ' ', '"', '\'', '\\', '/', '\x7f', '\u{80}', '\u{a0}',
        '\u{ad}', 'ü', '\u{301}', '\u{2028}', '\u{feff}', '漢', '🎉',
    ];
    match random.below(4) {
        0 => SOME[random.index(SOME.len())],
        1 => char::from(u8::try_from(random.below(0x80)).unwrap()),
        2 => char::from(u8::try_from(random.below(0x100)).unwrap()),
        // Han and Hangul, which Unicode filled long ago.
        _ => char::from_u32(u32::try_from(random.within(0x4e00..0xd7a4)).unwrap())
            .filter(|c| !('\u{9ff0}'..'\u{ac00}').contains(c))
            .unwrap_or('a'),
    }
}

fn text(random: &mut Random) -> String {
    let len = match random.below(12) {
        // Near the lengths at which msgpack's headers grow.
        0 => random.within(30..34),
        1 => random.within(250..260),
        _ => random.below(12),
    };
    (0..len).map(|_| character(random)).collect()
}
