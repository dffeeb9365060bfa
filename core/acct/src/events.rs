//! libyaml's events, without those that have no meaning here, and with positions as editors count them.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use libyaml_safer::{Encoding, Error, EventData, Mark, Parser, ScalarStyle};
use zeroize::Zeroizing;

use super::Position;

/// How many bytes the parser receives at a time; its buffer never has to grow.
const CHUNK: usize = 1024;
/// More characters than the parser's buffer holds.
const BUFFER: usize = 18 * 1024;
/// How many characters the parser looks ahead.
const LOOKAHEAD: usize = 4;

thread_local! {
    static IS_PARSING: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread is one of the YAML parser, which becomes an error about the text: a program's panic
/// hook need not print it.
pub fn is_parsing() -> bool {
    IS_PARSING.get()
}

fn quiet<T>(parse: impl FnOnce() -> T) -> T {
    let outer = IS_PARSING.replace(true);
    let parsed = parse();
    IS_PARSING.set(outer);
    parsed
}

/// A parsing event.
pub(crate) enum Event {
    Alias(String),
    Scalar(Scalar),
    ListStart(Properties),
    ListEnd,
    MapStart(Properties),
    MapEnd,
    DocumentStart,
    /// The end of the text.
    End,
}

/// The properties before a value.
#[derive(Default)]
pub(crate) struct Properties {
    pub(crate) anchor: Option<String>,
    /// With its handle resolved; `!` has no meaning and counts as no tag.
    pub(crate) tag: Option<String>,
}

/// A value that is not a collection.
pub(crate) struct Scalar {
    pub(crate) text: Zeroizing<String>,
    /// Whether its text determines its type: it has neither quotes nor a tag, or has the tag `!`.
    pub(crate) plain: bool,
    pub(crate) properties: Properties,
}

/// Why there is no next event.
pub(crate) enum Refusal {
    Syntax(Error),
    /// The parser panicked at a text that it cannot handle.
    Panic(Position),
}

/// The events of one text.
pub(crate) struct Events<'t> {
    parser: Parser<Text<'t>>,
    places: Places<'t>,
    /// The length of the text in bytes, if its last line has no line break.
    open_end: Option<usize>,
    /// How many blanks the last line has, if it has only blanks.
    blanks: Option<usize>,
}

impl<'t> Events<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        // The parser needs a line break after the last line.
        let is_open = !text.is_empty() && !text.ends_with(is_break);
        let mut events = Self::of(Text::new(
            text.as_bytes(),
            if is_open { b"\n" } else { b"" },
        ));
        events.open_end = is_open.then_some(text.len());
        let last_line = text.rsplit(is_break).next().unwrap_or_default();
        let is_blank = last_line.chars().all(|c| c == ' ');
        events.blanks = is_blank.then_some(last_line.len());
        events.places.text = text;
        events
    }

    fn of(text: Text<'t>) -> Self {
        let mut parser = Parser::new();
        parser.set_encoding(Encoding::Utf8);
        parser.set_input(text);
        Self {
            parser,
            open_end: None,
            blanks: None,
            places: Places {
                text: "",
                offset: 0,
                place: Position { line: 1, column: 1 },
            },
        }
    }

    /// The parser's next event; `None` if it panicked. After that, only its buffer is used, to be overwritten.
    fn parse(&mut self) -> Option<Result<libyaml_safer::Event, Error>> {
        let Self { parser, .. } = self;
        quiet(|| catch_unwind(AssertUnwindSafe(|| parser.parse()))).ok()
    }

    /// The next event and its position; after the end, the end again.
    pub(crate) fn next(&mut self) -> Result<(Event, Position), Refusal> {
        loop {
            let Some(parsed) = self.parse() else {
                let Places { text, place, .. } = self.places;
                return Err(tag_before_comma(text).map_or(Refusal::Panic(place), Refusal::Syntax));
            };
            let event = parsed.map_err(Refusal::Syntax)?;
            let properties = |anchor, tag: Option<String>| Properties {
                anchor,
                tag: tag.filter(|tag| tag != "!"),
            };
            let found = match event.data {
                EventData::StreamStart { .. } | EventData::DocumentEnd { .. } => continue,
                EventData::StreamEnd => Event::End,
                EventData::DocumentStart { .. } => Event::DocumentStart,
                EventData::Alias { anchor } => Event::Alias(anchor),
                EventData::Scalar {
                    anchor,
                    tag,
                    mut value,
                    plain_implicit,
                    style,
                    ..
                } => {
                    // A block at the end of the text keeps only the line breaks that the text has.
                    if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded)
                        && self
                            .open_end
                            .is_some_and(|end| offset(&event.end_mark) >= end)
                        && has_added_end(&value, self.blanks)
                    {
                        value.pop();
                    }
                    Event::Scalar(Scalar {
                        text: Zeroizing::new(value),
                        plain: plain_implicit,
                        properties: properties(anchor, tag),
                    })
                }
                EventData::SequenceStart { anchor, tag, .. } => {
                    Event::ListStart(properties(anchor, tag))
                }
                EventData::SequenceEnd => Event::ListEnd,
                EventData::MappingStart { anchor, tag, .. } => {
                    Event::MapStart(properties(anchor, tag))
                }
                EventData::MappingEnd => Event::MapEnd,
            };
            return Ok((found, self.places.of(&event.start_mark)));
        }
    }

    /// The position of the parser's mark.
    pub(crate) fn place(&mut self, mark: &Mark) -> Position {
        self.places.of(mark)
    }
}

/// The parser's buffer contains the end of the text, which may be a password, so it is overwritten with blanks.
impl Drop for Events<'_> {
    fn drop(&mut self) {
        static BLANKS: [u8; BUFFER] = [b' '; BUFFER];
        self.parser.reset();
        self.parser.set_input(Text::new(&BLANKS, b""));
        while self
            .parser
            .parse()
            .is_ok_and(|event| event.data != EventData::StreamEnd)
        {}
    }
}

/// The refusal of a tag before a comma, as in `[!!str, x]`, for a text at which the parser panics. The parser refuses
/// a tag before a bracket, so this replaces the comma with one.
fn tag_before_comma(text: &str) -> Option<Error> {
    let read = &text[..read_before_panic(text)?];
    let last = read.char_indices().rev().take(LOOKAHEAD);
    let mut commas: Vec<usize> = last.filter(|(_, c)| *c == ',').map(|(at, _)| at).collect();
    commas.reverse();
    commas.into_iter().find_map(|comma| {
        let error = refusal_of(Text::new(&text.as_bytes()[..comma], b"]\n"))?;
        let mark = error.problem_mark();
        let is_here = error.context() == Some("while scanning a tag")
            && mark.is_some_and(|mark| offset(&mark) == comma);
        is_here.then_some(error)
    })
}

/// How many bytes of the text the parser has read when it panics, if it receives only as many as it needs.
fn read_before_panic(text: &str) -> Option<usize> {
    let mut sparing = Text::new(text.as_bytes(), b"");
    sparing.piece = 1;
    let left = Rc::clone(&sparing.left);
    let mut events = Events::of(sparing);
    loop {
        match events.parse() {
            None => return Some(text.len() - left.get()),
            Some(Ok(event)) if event.data != EventData::StreamEnd => {}
            Some(_) => return None,
        }
    }
}

/// The parser's refusal of the text, if any.
fn refusal_of(text: Text<'_>) -> Option<Error> {
    let mut events = Events::of(text);
    loop {
        match events.parse()? {
            Ok(event) if event.data == EventData::StreamEnd => return None,
            Ok(_) => {}
            Err(error) => return Some(error),
        }
    }
}

/// A text in pieces, followed by another text.
struct Text<'t> {
    rest: &'t [u8],
    last: &'static [u8],
    /// The length of a piece, in bytes.
    piece: usize,
    /// How many bytes of the text are left.
    left: Rc<Cell<usize>>,
}

impl<'t> Text<'t> {
    fn new(text: &'t [u8], last: &'static [u8]) -> Self {
        Self {
            rest: text,
            last,
            piece: CHUNK,
            left: Rc::new(Cell::new(text.len())),
        }
    }
}

impl Read for Text<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Text<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.rest.is_empty() {
            self.rest = std::mem::take(&mut self.last);
        }
        Ok(&self.rest[..self.rest.len().min(self.piece)])
    }

    fn consume(&mut self, amount: usize) {
        self.rest.consume(amount);
        self.left.set(self.left.get().saturating_sub(amount));
    }
}

/// Whether the parser ends a line at this character.
fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Whether a block contains the line break that was added to the text. It does if the last line is part of it. A last
/// line of blanks is part of it if it has more blanks than the block's indentation, or if the block keeps all lines.
fn has_added_end(block: &str, blanks: Option<usize>) -> bool {
    let (Some(lines), Some(blanks)) = (block.strip_suffix('\n'), blanks) else {
        return block.ends_with('\n');
    };
    let last = lines.rsplit('\n').next().unwrap_or_default();
    last.len() < blanks && last.chars().all(|c| c == ' ')
}

fn offset(mark: &Mark) -> usize {
    usize::try_from(mark.index).unwrap_or(usize::MAX)
}

/// Converts the parser's marks to positions. libyaml also counts lines that editors and the map of a template do not
/// have, at U+0085, U+2028 and U+2029, so only its byte offset is used.
struct Places<'t> {
    text: &'t str,
    offset: usize,
    place: Position,
}

impl Places<'_> {
    fn of(&mut self, mark: &Mark) -> Position {
        let offset = offset(mark);
        // Events are in the order of the text, but an error may point to an earlier position.
        if offset < self.offset {
            self.offset = 0;
            self.place = Position { line: 1, column: 1 };
        }
        for c in self.text[self.offset..].chars() {
            if self.offset >= offset {
                break;
            }
            self.offset += c.len_utf8();
            if c == '\n' {
                self.place.line += 1;
                self.place.column = 1;
            } else {
                self.place.column += 1;
            }
        }
        let mut place = self.place;
        // The added line break at the end is not part of the text.
        if self.offset < offset && place.column > 1 {
            place = Position {
                line: place.line + 1,
                column: 1,
            };
        }
        place
    }
}
