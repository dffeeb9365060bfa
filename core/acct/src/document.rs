//! An acct file's data as a whole, whatever it describes: what `evbus acct` encrypts and shows.

use std::fmt;
use std::sync::Arc;

use serde::Serialize as _;
use zeroize::Zeroizing;

use super::node::{Node, Value};
use super::pack::Unpackable;
use super::place::Place;
use super::{AcctError, AcctKey, Cipher, Location, emit, pack};

/// The data of an acct file, for every tool that shares the file.
#[derive(Clone)]
pub struct AcctDocument {
    root: Node,
    file: Arc<str>,
    cipher: Option<Cipher>,
}

impl AcctDocument {
    pub(crate) fn new(root: Node, file: &Arc<str>, cipher: Option<Cipher>) -> Self {
        Self {
            root,
            file: Arc::clone(file),
            cipher,
        }
    }

    pub(crate) fn into_root(self) -> Node {
        self.root
    }

    /// The cipher that the file was encrypted with; `None` for a plain file.
    pub fn cipher(&self) -> Option<Cipher> {
        self.cipher
    }

    /// A document without data, for a file that does not exist yet.
    pub fn empty(file: &str) -> Self {
        let root = Node {
            value: Value::Map(Vec::new()),
            place: Place::NoText,
        };
        Self::new(root, &Arc::from(file), None)
    }

    /// Whether there is no data.
    pub fn is_empty(&self) -> bool {
        match &self.root.value {
            Value::Null => true,
            Value::Map(pairs) => pairs.is_empty(),
            _ => false,
        }
    }

    /// Whether two documents hold the same data in the same order.
    pub fn same_data(&self, other: &Self) -> bool {
        match (pack::pack(&self.root), pack::pack(&other.root)) {
            (Ok(one), Ok(other)) => one == other,
            _ => false,
        }
    }

    /// The data as YAML text, in the file's order.
    pub fn to_yaml(&self) -> Zeroizing<String> {
        match &self.root.value {
            Value::Map(pairs) if pairs.is_empty() => Zeroizing::default(),
            _ => emit::yaml(&self.root),
        }
    }

    /// The data as indented JSON, in the file's order, with a final newline.
    ///
    /// # Errors
    ///
    /// A value that JSON cannot hold.
    pub fn to_json(&self) -> Result<Zeroizing<Vec<u8>>, AcctError> {
        let value = self.root.to_json().map_err(|unfit| {
            let message = format!(
                "found {}, expected a value that JSON can hold; show the file with `--output yaml`",
                unfit.what
            );
            AcctError::new(unfit.place.within(&self.file), &unfit.path, &message)
        })?;
        let mut text = Zeroizing::new(Vec::with_capacity(64 * 1024));
        let indented = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let mut serializer = serde_json::Serializer::with_formatter(&mut *text, indented);
        value
            .serialize(&mut serializer)
            .expect("memory takes what a JSON value is written as");
        text.push(b'\n');
        evbus_destination::wipe(value);
        Ok(text)
    }

    /// Encrypts the data. The result is the content of a file that acct can read.
    ///
    /// # Errors
    ///
    /// Every reason for which the data cannot be encrypted: the top level is not a mapping, or a value has a type that
    /// msgpack does not have; or the key is not a valid key.
    pub fn encrypt(&self, cipher: Cipher, key: &AcctKey) -> Result<Vec<u8>, Vec<AcctError>> {
        let fault = |message: &str| vec![AcctError::new(Location::whole(&self.file), "", message)];
        let packed = self.packed()?;
        let content = cipher
            .encrypt(key, &packed)
            .map_err(|error| fault(&error.to_string()))?;
        // The caller overwrites the only good file with this content.
        let readable = cipher
            .decrypt(key, &content)
            .is_ok_and(|read| *read == *packed && pack::unpack(&read).is_ok());
        if !readable {
            return Err(fault(
                "the encrypted data cannot be read back; nothing was encrypted: use the file as it is, and report this",
            ));
        }
        Ok(content)
    }

    /// Why the data cannot be encrypted.
    pub(crate) fn unfit(&self) -> Vec<AcctError> {
        self.packed().err().unwrap_or_default()
    }

    fn packed(&self) -> Result<Zeroizing<Vec<u8>>, Vec<AcctError>> {
        if !matches!(self.root.value, Value::Map(_) | Value::Null) {
            let message = format!(
                "found {} at the top of the file, expected a mapping of providers; begin with a provider's name and a colon",
                self.root.value.kind()
            );
            let place = self.root.place.within(&self.file);
            return Err(vec![AcctError::new(place, "", &message)]);
        }
        let fault = |unfit: Unpackable| {
            let expected = if unfit.what == pack::ONE_NAME {
                "different names; rename or remove one of the two"
            } else {
                "a value that an encrypted file can hold; quote it if it is text"
            };
            AcctError::new(
                unfit.place.within(&self.file),
                &unfit.path,
                &format!("found {}, expected {expected}", unfit.what),
            )
        };
        pack::pack(&self.root).map_err(|unfit| unfit.into_iter().map(fault).collect())
    }
}

/// Leaves the values out: they may be secrets.
impl fmt::Debug for AcctDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcctDocument")
            .field("file", &self.file)
            .field("cipher", &self.cipher)
            .finish_non_exhaustive()
    }
}
