//! YAML text to a tree with positions, as `PyYAML`'s `SafeLoader` would understand it.
//!
//! Beyond what YAML refuses, refused are: a key written twice, several documents in one text, keys that
//! are lists or mappings, unknown tags, and texts that nest or expand past the limits below.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};
use zeroize::Zeroizing;

use super::node::{Key, Node, Value};
use super::syntax::{self, Fault, ScalarSpan, position};
use super::{AcctError, Location, Position, scalar};

/// How deep lists and mappings may nest, aliases included.
const MAX_DEPTH: usize = 100;
/// How much memory, in bytes, a text may expand to; aliases count each time they are used.
const MAX_EXPANDED: usize = 64 * 1024 * 1024;
/// What a node costs beside its text: its place in the tree and the allocation behind it.
const NODE_COST: usize = 64;

/// Reads one document. An empty text is a null.
///
/// # Errors
///
/// The first fault of the text.
pub(super) fn parse(text: &str, file: &Arc<str>) -> Result<Node, AcctError> {
    parse_rendered(text, file, &|place| place)
}

/// As [`parse`], for a text that was rendered: sentences that name another line name the one that `moved`
/// gives for it.
pub(super) fn parse_rendered(
    text: &str,
    file: &Arc<str>,
    moved: &dyn Fn(Position) -> Position,
) -> Result<Node, AcctError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    document(text, moved).map_err(|fault| {
        let Refused { key, fault } = fault;
        AcctError::new(Location::at(file, fault.0), &key, &fault.1)
    })
}

/// A fault and the key it concerns, if one.
struct Refused {
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

fn document(text: &str, moved: &dyn Fn(Position) -> Position) -> Result<Node, Refused> {
    if let Some(fault) = syntax::control_character(text) {
        return Err(fault.into());
    }
    let mut tree = Tree {
        text,
        events: Parser::new_from_str(text),
        scalars: Vec::new(),
        anchors: HashMap::new(),
        spent: 0,
        moved,
        open_end: open_end(text),
    };
    let mut root = None;
    loop {
        let (event, span) = tree.next()?;
        match event {
            Event::StreamEnd => break,
            Event::DocumentStart(_) if root.is_some() => {
                let message = "found a second document, expected one; remove the `---` line or split the file";
                return Err((position(&span.start), message.to_owned()).into());
            }
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            event => root = Some(tree.node(event, span, 0)?.0),
        }
    }
    if let Some(at) = syntax::stray_tab(text, &tree.scalars) {
        return Err(syntax::tab_fault(at).into());
    }
    Ok(root.unwrap_or(Node {
        value: Value::Null,
        position: Some(Position { line: 1, column: 1 }),
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

/// The tree in the making.
struct Tree<'t> {
    text: &'t str,
    events: Parser<'t, StrInput<'t>>,
    scalars: Vec<ScalarSpan>,
    /// By the parser's numbers, which are distinct even where a name is used again.
    anchors: HashMap<usize, (Node, Size)>,
    spent: usize,
    moved: &'t dyn Fn(Position) -> Position,
    /// Where the text ends, in characters, if its last line has no end.
    open_end: Option<usize>,
}

/// The length of a text in characters, if it ends in the middle of a line.
fn open_end(text: &str) -> Option<usize> {
    let last = text.rsplit('\n').next()?;
    (!last.trim().is_empty()).then(|| text.chars().count())
}

impl<'t> Tree<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), Fault> {
        match self.events.next_event() {
            Some(Ok((event, span))) => {
                if let Event::Scalar(_, style, ..) = &event {
                    self.scalars.push(ScalarSpan {
                        chars: span.start.index()..span.end.index(),
                        verbatim: *style != ScalarStyle::Plain,
                    });
                }
                Ok((event, span))
            }
            Some(Err(error)) => Err(syntax::refusal(self.text, &error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// The node that `event` begins; takes the events up to its end.
    fn node(
        &mut self,
        event: Event<'t>,
        span: Span,
        depth: usize,
    ) -> Result<(Node, Size), Refused> {
        let at = position(&span.start);
        let (anchor, (value, size)) = match event {
            Event::Alias(anchor) => return self.alias(anchor, at, depth),
            Event::Scalar(mut text, style, anchor, tag) => {
                // A block that ends with the text has only the line ends that are there.
                if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded)
                    && self.open_end.is_some_and(|end| span.end.index() >= end)
                    && text.ends_with('\n')
                {
                    text.to_mut().pop();
                }
                let value = scalar_value(&text, style, tag.as_deref()).map_err(|e| (at, e))?;
                let size = Size {
                    cost: NODE_COST + text.len(),
                    height: 0,
                };
                if let Cow::Owned(text) = text {
                    drop(Zeroizing::new(text));
                }
                self.charge(size, at)?;
                (anchor, (value, size))
            }
            Event::SequenceStart(anchor, tag) => {
                check_collection(tag.as_deref(), "seq", at)?;
                (anchor, self.list(at, depth)?)
            }
            Event::MappingStart(anchor, tag) => {
                check_collection(tag.as_deref(), "map", at)?;
                (anchor, self.map(at, depth)?)
            }
            // The parser closes what it opens, so these never begin a node.
            Event::SequenceEnd
            | Event::MappingEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::StreamStart
            | Event::StreamEnd
            | Event::Nothing => {
                let message = "found the end of a value, expected a value; check the indentation";
                return Err((at, message.to_owned()).into());
            }
        };
        let node = Node {
            value,
            position: Some(at),
        };
        if anchor != 0 {
            self.charge(size, at)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok((node, size))
    }

    /// A copy of an anchored node; it keeps its own position, where the operator can mend it.
    fn alias(
        &mut self,
        anchor: usize,
        at: Position,
        depth: usize,
    ) -> Result<(Node, Size), Refused> {
        // The parser knows the anchor, so only one that is still being built can be missing.
        let Some(size) = self.anchors.get(&anchor).map(|(_, size)| *size) else {
            let message = "found an alias inside the value it refers to, expected a value with an end; write the value out";
            return Err((at, message.to_owned()).into());
        };
        check_depth(depth + size.height, at)?;
        self.charge(size, at)?;
        Ok((self.anchors[&anchor].0.clone(), size))
    }

    fn list(&mut self, at: Position, depth: usize) -> Result<(Value, Size), Refused> {
        let mut size = self.open(at, depth)?;
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok((Value::List(items), size));
            }
            let (item, item_size) = self.node(event, span, depth + 1)?;
            size.hold(item_size);
            items.push(item);
        }
    }

    fn map(&mut self, at: Position, depth: usize) -> Result<(Value, Size), Refused> {
        let mut size = self.open(at, depth)?;
        let mut pairs = Vec::new();
        let mut seen: HashMap<String, Position> = HashMap::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let is_merge =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let key_at = position(&span.start);
            let key = self.key(event, span, depth)?;
            let (event, span) = self.next()?;
            let (value, value_size) = self.node(event, span, depth + 1)?;
            size.hold(value_size);
            size.cost += key.name.len();
            if is_merge {
                merge(value, key_at, &mut merged)?;
                continue;
            }
            if let Some(first) = seen.insert(key.name.clone(), key_at) {
                let message = format!(
                    "found the key a second time, first on line {}, expected it once; rename or remove one of the two",
                    (self.moved)(first).line
                );
                return Err(Refused {
                    key: key.name,
                    fault: (key_at, message),
                });
            }
            pairs.push((key, value));
        }
        if !merged.is_empty() {
            merged.retain(|(key, _)| !seen.contains_key(&key.name));
            let mut whole = last_of_each(merged);
            whole.append(&mut pairs);
            pairs = whole;
        }
        Ok((Value::Map(pairs), size))
    }

    /// A key as it is written: `5672` and `on` are their own text, since a name is meant.
    fn key(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Key, Refused> {
        let written = match &event {
            Event::Scalar(text, ScalarStyle::Plain, _, None) if text.is_empty() => {
                let message = "found no key before the `:`, expected one; write the key, or \"\" for an empty one";
                return Err((position(&span.start), message.to_owned()).into());
            }
            Event::Scalar(text, ..) => Some(text.to_string()),
            _ => None,
        };
        let plain = matches!(&event, Event::Scalar(_, ScalarStyle::Plain, _, None));
        let at = position(&span.start);
        let (node, _) = self.node(event, span, depth + 1)?;
        let name = match (written, node.value) {
            (Some(written), _) => written,
            (None, Value::Text(written)) => written.to_string(),
            (None, other) => {
                let found = other.kind();
                let message = format!(
                    "found {found} as a key, expected text; put keys and patterns that begin with `[` or `{{` in quotes"
                );
                return Err((at, message).into());
            }
        };
        Ok(Key {
            name,
            position: Some(at),
            plain,
        })
    }

    /// Accounts for a collection that begins.
    fn open(&mut self, at: Position, depth: usize) -> Result<Size, Refused> {
        check_depth(depth, at)?;
        let size = Size {
            cost: NODE_COST,
            height: 0,
        };
        self.charge(size, at)?;
        Ok(size)
    }

    fn charge(&mut self, size: Size, at: Position) -> Result<(), Fault> {
        self.spent += size.cost;
        if self.spent <= MAX_EXPANDED {
            return Ok(());
        }
        let message = format!(
            "found a text that expands to more than {} MiB, expected less; use fewer aliases or split the file",
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
        "found values nested more than {MAX_DEPTH} deep, expected less; check brackets and aliases"
    );
    Err((at, message))
}

/// The part of a tag behind `!!`, or else the whole tag.
fn tag_name(tag: &Tag) -> Result<String, String> {
    let whole = format!("{}{}", tag.handle, tag.suffix);
    match whole.strip_prefix("tag:yaml.org,2002:") {
        Some(name) => Ok(name.to_owned()),
        None => Err(whole),
    }
}

fn scalar_value(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    match tag.map(tag_name) {
        None if style == ScalarStyle::Plain => scalar::plain(text),
        None => Ok(Value::text(text)),
        Some(Ok(name)) => scalar::tagged(&name, text),
        // The library behind Idem's reader gives this tag no meaning, where YAML says that it makes text.
        Some(Err(whole)) if whole == "!" && style == ScalarStyle::Plain => scalar::plain(text),
        Some(Err(whole)) if whole == "!" => Ok(Value::text(text)),
        Some(Err(whole)) => Err(unknown_tag(&whole)),
    }
}

fn check_collection(tag: Option<&Tag>, own: &str, at: Position) -> Result<(), Fault> {
    match tag.map(tag_name) {
        None => Ok(()),
        Some(Ok(name)) if name == own => Ok(()),
        Some(Err(whole)) if whole == "!" => Ok(()),
        Some(Ok(name)) => Err((at, unknown_tag(&format!("!!{name}")))),
        Some(Err(whole)) => Err((at, unknown_tag(&whole))),
    }
}

fn unknown_tag(tag: &str) -> String {
    format!(
        "found the tag `{tag}`, expected none here; remove it, or put the word or pattern that holds the `!` in quotes"
    )
}

/// Takes the value of a `<<` key: a mapping, or a list of mappings of which the first wins.
fn merge(value: Node, at: Position, into: &mut Vec<(Key, Node)>) -> Result<(), Fault> {
    let at = value.position.unwrap_or(at);
    let refuse = |found: &str, at| {
        let message = format!(
            "found {found} under `<<`, expected a mapping or a list of mappings; refer to one with an alias, or quote the key"
        );
        Err((at, message))
    };
    match value.value {
        Value::Map(pairs) => into.extend(pairs),
        Value::List(items) => {
            for item in items.into_iter().rev() {
                match item.value {
                    Value::Map(pairs) => into.extend(pairs),
                    _ => return refuse(item.value.kind(), item.position.unwrap_or(at)),
                }
            }
        }
        other => return refuse(other.kind(), at),
    }
    Ok(())
}

/// Each key once: at its first place, with its last value, as a Python dictionary built from the pairs.
fn last_of_each(pairs: Vec<(Key, Node)>) -> Vec<(Key, Node)> {
    let mut places = HashMap::new();
    let mut distinct: Vec<(Key, Node)> = Vec::new();
    for (key, node) in pairs {
        if let Some(&place) = places.get(&key.name) {
            distinct[place] = (key, node);
        } else {
            places.insert(key.name.clone(), distinct.len());
            distinct.push((key, node));
        }
    }
    distinct
}
