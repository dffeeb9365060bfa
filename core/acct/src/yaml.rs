//! YAML text to a tree with positions, as Idem's reader understands it.
//!
//! The text is read as libyaml reads it (`events`), and its values are made as `PyYAML`'s `SafeLoader` and
//! rend's changes to it make them. Beyond what those refuse, refused are: keys that are lists, mappings or
//! one text for the host, values inside themselves, and texts that nest or expand past the limits below.

use std::collections::HashMap;
use std::sync::Arc;

use super::events::{Event, Events, Properties, Refusal, Scalar};
use super::key::{Key, KeyPath};
use super::node::{Foreign, Node, Value};
use super::seen::Seen;
use super::syntax::{self, Fault};
use super::{AcctError, Location, Position, merge, scalar};

/// How deep lists and mappings may nest, aliases included.
const MAX_DEPTH: usize = 100;
/// How much memory, in bytes, a text may expand to; aliases count each time they are used.
const MAX_EXPANDED: usize = 64 * 1024 * 1024;
/// How many repeated keys are reported; more end the reading.
pub(crate) const MAX_TWICE: usize = 100;
/// The memory of a node besides its text: its slot in the tree and the allocation for it.
const NODE_COST: usize = 64;
/// The prefix of YAML's own tags.
const STANDARD: &str = "tag:yaml.org,2002:";

/// Reads one document. An empty text is null. Repeated keys are repeated in the result, and each is a fault in
/// `twice`.
///
/// # Errors
///
/// The first fault that ends the reading.
pub(crate) fn parse(
    text: &str,
    file: &Arc<str>,
    twice: &mut Vec<AcctError>,
) -> Result<Node, AcctError> {
    parse_rendered(text, file, &|place| place, twice)
}

/// Like [`parse`], for a rendered text: line numbers in sentences are translated by `moved`.
pub(crate) fn parse_rendered(
    text: &str,
    file: &Arc<str>,
    moved: &dyn Fn(Position) -> Position,
    twice: &mut Vec<AcctError>,
) -> Result<Node, AcctError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found = Vec::new();
    let error =
        |Refused { key, fault }| AcctError::new(Location::at(file, fault.0), &key, &fault.1);
    let root = document(text, moved, &mut found).map_err(error);
    twice.extend(found.into_iter().map(error));
    root
}

/// A fault, and the key it concerns, if any.
pub(crate) struct Refused {
    key: String,
    fault: Fault,
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self {
            key: String::new(),
            fault,
        }
    }
}

fn document(
    text: &str,
    moved: &dyn Fn(Position) -> Position,
    twice: &mut Vec<Refused>,
) -> Result<Node, Refused> {
    if let Some(fault) = syntax::control_character(text) {
        return Err(fault.into());
    }
    let mut tree = Tree {
        text,
        events: Events::new(text),
        anchors: HashMap::new(),
        spent: 0,
        path: KeyPath::default(),
        moved,
        twice,
    };
    let mut root = None;
    loop {
        let (event, at) = tree.next()?;
        match event {
            Event::End => break,
            Event::DocumentStart if root.is_some() => {
                let message = "found a second document, expected one; remove the `---` line or split the file";
                return Err((at, message.to_owned()).into());
            }
            Event::DocumentStart => {}
            event => root = Some(tree.node(event, at, 0)?.0),
        }
    }
    Ok(root.unwrap_or(Node {
        value: Value::Null,
        place: Position { line: 1, column: 1 }.into(),
    }))
}

/// The size of a finished node.
#[derive(Clone, Copy, Default)]
struct Size {
    cost: usize,
    height: usize,
}

impl Size {
    fn hold(&mut self, inner: Size) {
        self.cost += inner.cost;
        self.height = self.height.max(inner.height + 1);
    }
}

/// The target of an alias: a finished value, its size, and its text as a key.
struct Anchored {
    node: Node,
    size: Size,
    key: Option<Key>,
}

/// The tree being built.
struct Tree<'t> {
    text: &'t str,
    events: Events<'t>,
    /// By name; an anchor defined twice stands for its last value. `None` if the value is not finished.
    anchors: HashMap<String, Option<Anchored>>,
    spent: usize,
    /// Where the value is that is being read.
    path: KeyPath,
    moved: &'t dyn Fn(Position) -> Position,
    /// The faults of repeated keys.
    twice: &'t mut Vec<Refused>,
}

impl Tree<'_> {
    fn next(&mut self) -> Result<(Event, Position), Fault> {
        let Self {
            text,
            events,
            moved,
            ..
        } = self;
        events.next().map_err(|refusal| match refusal {
            Refusal::Syntax(error) => {
                syntax::refusal(text, &error, |mark| events.place(mark), *moved)
            }
            Refusal::Panic(at) => (at, syntax::unreadable()),
        })
    }

    /// The node that begins with `event`; consumes the events up to its end.
    fn node(&mut self, event: Event, at: Position, depth: usize) -> Result<(Node, Size), Refused> {
        let mut key = None;
        let (anchor, (value, size)) = match event {
            Event::Alias(name) => return self.alias(&name, at, depth),
            Event::Scalar(scalar) => {
                let value = scalar_value(&scalar).map_err(|message| (at, message))?;
                let size = Size {
                    cost: NODE_COST + scalar.text.len(),
                    height: 0,
                };
                self.charge(size, at)?;
                let anchor = scalar.properties.anchor.clone();
                if anchor.is_some() {
                    key = scalar_key(&scalar, &value, at);
                }
                (anchor, (value, size))
            }
            Event::ListStart(properties) => {
                let made = self.tagged_list(&properties, at, depth)?;
                (properties.anchor, made)
            }
            Event::MapStart(properties) => {
                let made = self.tagged_map(&properties, at, depth)?;
                (properties.anchor, made)
            }
            // The parser closes what it opens, so these never begin a node.
            Event::ListEnd | Event::MapEnd | Event::DocumentStart | Event::End => {
                let message = "found the end of a value, expected a value; check the indentation";
                return Err((at, message.to_owned()).into());
            }
        };
        let node = Node {
            value,
            place: at.into(),
        };
        if let Some(anchor) = anchor {
            self.charge(size, at)?;
            let node = node.clone();
            self.anchors
                .insert(anchor, Some(Anchored { node, size, key }));
        }
        Ok((node, size))
    }

    fn anchored(&self, name: &str, at: Position) -> Result<&Anchored, Fault> {
        match self.anchors.get(name) {
            Some(Some(anchored)) => Ok(anchored),
            Some(None) => {
                let message =
                    "found an alias inside the value that it refers to; write the value out";
                Err((at, message.to_owned()))
            }
            None => Err((at, syntax::unknown_alias())),
        }
    }

    /// A copy of an anchored node, with the position of the anchor, where the operator can correct it.
    fn alias(&mut self, name: &str, at: Position, depth: usize) -> Result<(Node, Size), Refused> {
        let size = self.anchored(name, at)?.size;
        check_depth(depth + size.height, at)?;
        self.charge(size, at)?;
        Ok((self.anchored(name, at)?.node.clone(), size))
    }

    fn tagged_list(
        &mut self,
        properties: &Properties,
        at: Position,
        depth: usize,
    ) -> Result<(Value, Size), Refused> {
        let tag = properties.tag.as_deref().map(standard_name);
        match tag {
            None | Some(Some("seq")) => self.list(properties, at, depth),
            Some(Some("omap" | "pairs")) => {
                let (value, size) = self.list(properties, at, depth)?;
                Ok((pairs(value, at)?, size))
            }
            Some(_) => Err((at, syntax::unknown_tag()).into()),
        }
    }

    fn tagged_map(
        &mut self,
        properties: &Properties,
        at: Position,
        depth: usize,
    ) -> Result<(Value, Size), Refused> {
        let tag = properties.tag.as_deref().map(standard_name);
        let is_set = match tag {
            None | Some(Some("map")) => false,
            Some(Some("set")) => true,
            Some(_) => return Err((at, syntax::unknown_tag()).into()),
        };
        let (pairs, size) = self.map(properties, at, depth)?;
        let value = if is_set {
            let keys = pairs.into_iter().map(|(key, _)| key).collect();
            Value::NotJson(Foreign::Set(keys))
        } else {
            Value::Map(pairs)
        };
        Ok((value, size))
    }

    fn list(
        &mut self,
        properties: &Properties,
        at: Position,
        depth: usize,
    ) -> Result<(Value, Size), Refused> {
        let mut size = self.open(properties, at, depth)?;
        let mut items = Vec::new();
        loop {
            let (event, at) = self.next()?;
            if let Event::ListEnd = event {
                return Ok((Value::List(items), size));
            }
            self.path.enter_item(items.len());
            let (item, item_size) = self.node(event, at, depth + 1)?;
            self.path.leave();
            size.hold(item_size);
            items.push(item);
        }
    }

    fn map(
        &mut self,
        properties: &Properties,
        at: Position,
        depth: usize,
    ) -> Result<(Vec<(Key, Node)>, Size), Refused> {
        let mut size = self.open(properties, at, depth)?;
        let mut pairs = Vec::new();
        let mut seen = Seen::default();
        let mut merged = Vec::new();
        loop {
            let (event, key_at) = self.next()?;
            if let Event::MapEnd = event {
                break;
            }
            let is_merge = matches!(&event, Event::Scalar(scalar) if is_merge(scalar));
            let key = self.key(event, key_at, depth)?;
            let (event, value_at) = self.next()?;
            self.path.enter(&key.name);
            let (value, value_size) = self.node(event, value_at, depth + 1)?;
            self.path.leave();
            size.hold(value_size);
            size.cost += key.name.len();
            if is_merge {
                merge::take(value, key_at, &mut merged)?;
                continue;
            }
            if let Err(message) = seen.note(&key, key_at, self.moved) {
                let fault = Refused {
                    key: self.path.of(&key.name),
                    fault: (key_at, message),
                };
                if self.twice.len() == MAX_TWICE {
                    return Err(fault);
                }
                self.twice.push(fault);
            }
            pairs.push((key, value));
        }
        if !merged.is_empty() {
            merged.retain(|(key, _)| !seen.has(key));
            let mut whole = merge::last_of_each(merged);
            whole.append(&mut pairs);
            pairs = whole;
        }
        Ok((pairs, size))
    }

    /// A key as it is written: `5672` and `on` are texts, because keys are names.
    fn key(&mut self, event: Event, at: Position, depth: usize) -> Result<Key, Refused> {
        let mut written = None;
        match &event {
            // A key has no use for what else these two mean.
            Event::Scalar(scalar) if is_merge(scalar) || is_value(scalar) => {
                return Ok(Key::text(&scalar.text, at.into()));
            }
            Event::Scalar(scalar) if scalar.plain => {
                written = scalar_key(scalar, &Value::Null, at);
            }
            Event::Alias(name) => {
                let key = &self.anchored(name, at)?.key;
                written = key.clone().map(|key| Key {
                    place: at.into(),
                    ..key
                });
            }
            _ => {}
        }
        let (node, _) = self.node(event, at, depth + 1)?;
        written.or_else(|| Key::of(&node.value, at.into())).ok_or_else(|| {
            let found = node.value.kind();
            let message = format!(
                "found {found} as a key, expected text; put keys and patterns that begin with `[` or `{{` in quotes"
            );
            (at, message).into()
        })
    }

    /// Accounts for a collection that begins.
    fn open(
        &mut self,
        properties: &Properties,
        at: Position,
        depth: usize,
    ) -> Result<Size, Refused> {
        check_depth(depth, at)?;
        let size = Size {
            cost: NODE_COST,
            height: 0,
        };
        self.charge(size, at)?;
        if let Some(anchor) = &properties.anchor {
            self.anchors.insert(anchor.clone(), None);
        }
        Ok(size)
    }

    fn charge(&mut self, size: Size, at: Position) -> Result<(), Fault> {
        self.spent += size.cost;
        if self.spent <= MAX_EXPANDED {
            return Ok(());
        }
        let message = format!(
            "the aliases expand to more than {} MiB; use fewer aliases or split the file",
            MAX_EXPANDED / (1024 * 1024)
        );
        Err((at, message))
    }
}

fn check_depth(depth: usize, at: Position) -> Result<(), Fault> {
    if depth < MAX_DEPTH {
        return Ok(());
    }
    let message = format!(
        "found values nested more than {MAX_DEPTH} levels deep, expected fewer; check brackets and aliases"
    );
    Err((at, message))
}

/// The rest of a tag after the prefix of YAML's own tags.
fn standard_name(tag: &str) -> Option<&str> {
    tag.strip_prefix(STANDARD)
}

fn is_merge(scalar: &Scalar) -> bool {
    match scalar.properties.tag.as_deref() {
        None => scalar.plain && *scalar.text == "<<",
        Some(tag) => standard_name(tag) == Some("merge"),
    }
}

fn is_value(scalar: &Scalar) -> bool {
    matches!(scalar.properties.tag.as_deref(), Some(tag) if standard_name(tag) == Some("value"))
}

fn scalar_value(scalar: &Scalar) -> Result<Value, String> {
    match scalar.properties.tag.as_deref() {
        None if scalar.plain => scalar::plain(&scalar.text),
        None => Ok(Value::text(&**scalar.text)),
        Some(tag) => match standard_name(tag) {
            Some(name) => scalar::tagged(name, &scalar.text),
            None => Err(syntax::unknown_tag()),
        },
    }
}

/// A scalar as a key: its text, if neither quotes nor a tag determine its type.
fn scalar_key(scalar: &Scalar, value: &Value, at: Position) -> Option<Key> {
    if !scalar.plain {
        return Key::of(value, at.into());
    }
    Some(Key {
        name: scalar.text.to_string(),
        place: at.into(),
        plain: true,
    })
}

/// Python's value for an `!!omap`, which is a list of mappings with one key each: a list of keys and values.
fn pairs(list: Value, at: Position) -> Result<Value, Fault> {
    let Value::List(items) = list else {
        return Ok(list);
    };
    let items = items.into_iter().map(|item| match item.value {
        Value::Map(mut pairs) if pairs.len() == 1 => {
            let pair = pairs.pop().map(|(key, value)| {
                let key = Node {
                    value: key.meaning(),
                    place: key.place,
                };
                vec![key, value]
            });
            Ok(Node {
                value: Value::List(pair.unwrap_or_default()),
                place: item.place,
            })
        }
        other => {
            let message = format!(
                "found {} in a list tagged `!!omap` or `!!pairs`, expected a mapping with one key; correct it or remove the tag",
                other.kind()
            );
            Err((item.place.position().unwrap_or(at), message))
        }
    });
    items.collect::<Result<_, _>>().map(Value::List)
}
