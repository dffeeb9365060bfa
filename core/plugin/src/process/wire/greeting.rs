//! The first frame in each direction: which version of evbus sends it.
//!
//! Its layout never changes, however the messages behind it are encoded. So programs of any two versions recognize
//! that they differ before either of them reads what it cannot know. In the frame are [`MAGIC`], the version of the
//! protocol (`u16`, little-endian) and the release in UTF-8.

use std::path::Path;

use super::one_line;

const MAGIC: [u8; 4] = *b"EVBP";

/// Changes whenever the messages or their encoding change.
const PROTOCOL: u16 = 5;

const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// What each side sends first.
pub(in crate::process) fn greeting() -> Vec<u8> {
    greeting_of(PROTOCOL, RELEASE)
}

fn greeting_of(protocol: u16, release: &str) -> Vec<u8> {
    let content = [&MAGIC[..], &protocol.to_le_bytes(), release.as_bytes()].concat();
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes()[..], &content].concat()
}

/// The version in a first frame, if it is not this program's.
///
/// The release counts too: both ends must be the same program.
pub(in crate::process) fn other_version(first: &[u8]) -> Option<String> {
    let content = first.strip_prefix(&MAGIC);
    let Some((protocol, release)) = content.and_then(<[u8]>::split_first_chunk) else {
        return Some("of an unknown version".to_owned());
    };
    let protocol = u16::from_le_bytes(*protocol);
    let is_ours = protocol == PROTOCOL && release == RELEASE.as_bytes();
    (!is_ours).then(|| named(protocol, &String::from_utf8_lossy(release)))
}

fn named(protocol: u16, release: &str) -> String {
    format!("evbus {} (protocol {protocol})", one_line(release))
}

/// The host's refusal of a `program` whose version is `other`.
pub(in crate::process) fn refused_program(program: &Path, other: &str) -> String {
    format!(
        "the program for isolated plugins, {}, is {other}, but this host is {}; use a program of the same version",
        program.display(),
        named(PROTOCOL, RELEASE)
    )
}

/// The refusal of a host whose version is `other` by the program that it started.
pub(in crate::process) fn refused_host(other: &str) -> String {
    format!(
        "this program is {}, but the host that started it is {other}; use a program of the same version",
        named(PROTOCOL, RELEASE)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(first: &[u8], expected: Option<&str>) {
        assert_eq!(other_version(first).as_deref(), expected, "{first:?}");
    }

    #[test]
    fn a_program_of_another_version_is_recognized_whatever_follows() {
        check(&greeting()[4..], None);
        check(
            &greeting_of(PROTOCOL, "9.9.9")[4..],
            Some(&named(PROTOCOL, "9.9.9")),
        );
        check(&greeting_of(9, RELEASE)[4..], Some(&named(9, RELEASE)));
        check(
            &greeting_of(9, "1\n\u{1b}")[4..],
            Some("evbus 1   (protocol 9)"),
        );
        check(b"EVBP\x05\x00\xff", Some(&named(5, "\u{fffd}")));
        for unknown in [
            &b""[..],
            b"EVBP",
            b"EVBP\x05",
            b"evbp\x05\x000.1.0",
            b"\x00\x050.1.0",
        ] {
            check(unknown, Some("of an unknown version"));
        }
    }

    #[test]
    fn a_refusal_names_both_versions() {
        let refusals = [
            refused_program("/usr/bin/evbus".as_ref(), "evbus 9.9.9 (protocol 9)"),
            refused_host("evbus 9.9.9 (protocol 9)"),
        ];
        for refusal in refusals {
            for version in ["evbus 9.9.9 (protocol 9)", &named(PROTOCOL, RELEASE)] {
                assert!(refusal.contains(version), "{refusal}");
            }
        }
    }
}
