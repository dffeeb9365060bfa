//! The keys that a mapping has so far.

use std::collections::HashMap;

use super::Position;
use super::key::{Identity, Key};

/// The keys of one mapping.
#[derive(Default)]
pub(crate) struct Seen {
    names: HashMap<String, Position>,
    /// Keys that Python does not read as text.
    meanings: HashMap<Identity, (String, Position)>,
}

impl Seen {
    /// Records a key; the error is the message if it is there already.
    pub(crate) fn note(
        &mut self,
        key: &Key,
        at: Position,
        moved: &dyn Fn(Position) -> Position,
    ) -> Result<(), String> {
        if let Some(first) = self.names.get(&key.name) {
            return Err(format!(
                "duplicate key, first on line {}; rename or remove one of the two",
                moved(*first).line
            ));
        }
        self.names.insert(key.name.clone(), at);
        let Some(identity) = meaning(key) else {
            return Ok(());
        };
        match self.meanings.insert(identity, (key.name.clone(), at)) {
            None => Ok(()),
            Some((name, first)) => Err(format!(
                "duplicate key, first as `{name}` on line {}: YAML takes both for the same value; quote the key that is meant as text, or remove one of the two",
                moved(first).line
            )),
        }
    }

    pub(crate) fn has(&self, key: &Key) -> bool {
        self.names.contains_key(&key.name)
            || meaning(key).is_some_and(|identity| self.meanings.contains_key(&identity))
    }
}

/// What Python reads a key as, if not as its text.
fn meaning(key: &Key) -> Option<Identity> {
    let identity = key.plain.then(|| key.identity())?;
    (!matches!(identity, Identity::Text(_))).then_some(identity)
}
