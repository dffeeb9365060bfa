//! Who a plugin is, in a form that is read without running any of its code.
//!
//! The section [`MANIFEST_SECTION`] of a plugin file holds one JSON object:
//!
//! ```json
//! {"manifest":1,"abi":"1.0","id":"kafka","version":"0.1.0","description":"Publishes to Kafka",
//!  "providers":["kafka"],"matchers":[]}
//! ```
//!
//! It is UTF-8 of at most [`MANIFEST_MAX_BYTES`]; NULs may follow it. A host ignores fields that it does not
//! know. [`Manifest`] writes the object at compile time.

/// The section of a plugin file that holds its manifest.
pub const MANIFEST_SECTION: &str = ".evbus_plugin";

/// The format of the manifest that this crate writes and reads.
pub const MANIFEST_FORMAT: u32 = 1;

/// The longest manifest, padding included.
pub const MANIFEST_MAX_BYTES: usize = 64 * 1024;

/// The version of this contract as a manifest names it, major and minor.
pub const MANIFEST_ABI: &str = concat!(
    env!("CARGO_PKG_VERSION_MAJOR"),
    ".",
    env!("CARGO_PKG_VERSION_MINOR")
);

/// What a plugin's manifest says; the plugin's root module has to say the same.
#[derive(Debug, Clone, Copy)]
pub struct Manifest<'a> {
    /// See [`InfoV1::id`](crate::v1::InfoV1::id).
    pub id: &'a str,
    /// See [`InfoV1::version`](crate::v1::InfoV1::version).
    pub version: &'a str,
    /// See [`InfoV1::description`](crate::v1::InfoV1::description).
    pub description: &'a str,
    /// See [`ProviderV1::names`](crate::v1::ProviderV1::names).
    pub providers: &'a [&'a str],
    /// See [`MatcherFnsV1::names`](crate::v1::MatcherFnsV1::names).
    pub matchers: &'a [&'a str],
}

impl Manifest<'_> {
    /// The length of the JSON text.
    ///
    /// Panics, which at compile time is an error, where the text is longer than
    /// [`MANIFEST_MAX_BYTES`].
    pub const fn json_len(&self) -> usize {
        let mut counting = Writer::<0>::new();
        self.write(&mut counting);
        assert!(
            counting.len <= MANIFEST_MAX_BYTES,
            "the plugin's id, version, description and names take more than 64 KiB"
        );
        counting.len
    }

    /// The JSON text; `N` is [`json_len`](Self::json_len).
    pub const fn to_json<const N: usize>(&self) -> [u8; N] {
        let mut writer = Writer::<N>::new();
        self.write(&mut writer);
        assert!(writer.len == N, "the length of the manifest is json_len()");
        writer.out
    }

    const fn write<const N: usize>(&self, out: &mut Writer<N>) {
        out.raw("{\"manifest\":1,\"abi\":");
        out.string(MANIFEST_ABI);
        out.raw(",\"id\":");
        out.string(self.id);
        out.raw(",\"version\":");
        out.string(self.version);
        out.raw(",\"description\":");
        out.string(self.description);
        out.raw(",\"providers\":");
        out.list(self.providers);
        out.raw(",\"matchers\":");
        out.list(self.matchers);
        out.raw("}");
    }
}

/// Writes JSON at compile time; counts what does not fit.
struct Writer<const N: usize> {
    out: [u8; N],
    len: usize,
}

impl<const N: usize> Writer<N> {
    const fn new() -> Self {
        Self {
            out: [0; N],
            len: 0,
        }
    }

    const fn byte(&mut self, byte: u8) {
        if self.len < N {
            self.out[self.len] = byte;
        }
        self.len += 1;
    }

    const fn raw(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            self.byte(bytes[at]);
            at += 1;
        }
    }

    const fn string(&mut self, text: &str) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let bytes = text.as_bytes();
        self.byte(b'"');
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            if byte < 0x20 {
                self.raw("\\u00");
                self.byte(HEX[(byte >> 4) as usize]);
                self.byte(HEX[(byte & 15) as usize]);
            } else {
                if byte == b'"' || byte == b'\\' {
                    self.byte(b'\\');
                }
                self.byte(byte);
            }
            at += 1;
        }
        self.byte(b'"');
    }

    const fn list(&mut self, names: &[&str]) {
        self.byte(b'[');
        let mut at = 0;
        while at < names.len() {
            if at > 0 {
                self.byte(b',');
            }
            self.string(names[at]);
            at += 1;
        }
        self.byte(b']');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: Manifest<'static> = Manifest {
        id: "k\u{e4}fka",
        version: "0.1.0",
        description: "says \"hello\"\n\\o/",
        providers: &["kafka", "kafka-2"],
        matchers: &[],
    };

    static JSON: [u8; MANIFEST.json_len()] = MANIFEST.to_json();

    #[test]
    fn a_manifest_is_json_that_says_all_of_it() {
        assert_eq!(
            std::str::from_utf8(&JSON),
            Ok(concat!(
                r#"{"manifest":1,"abi":"1.0","id":"käfka","version":"0.1.0","#,
                r#""description":"says \"hello\"\u000a\\o/","#,
                r#""providers":["kafka","kafka-2"],"matchers":[]}"#
            ))
        );
    }
}
