//! Maps positions in a rendered text back to its template.

use minijinja::{OutputSpan, OutputSpanKind};
use zeroize::Zeroizing;

use crate::Position;

/// The lines of a text, for converting between bytes and positions.
struct Lines {
    text: Zeroizing<String>,
    /// The offset of each line's first byte.
    starts: Vec<usize>,
}

impl Lines {
    fn new(text: Zeroizing<String>) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(ends).collect();
        Self { text, starts }
    }

    fn position(&self, offset: usize) -> Position {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line.saturating_sub(1)];
        let before = self.text.get(start..offset).unwrap_or_default();
        Position {
            line,
            column: before.chars().count() + 1,
        }
    }

    fn offset(&self, position: Position) -> usize {
        let Some(start) = self.starts.get(position.line.saturating_sub(1)) else {
            return self.text.len();
        };
        self.text[*start..]
            .char_indices()
            .nth(position.column.saturating_sub(1))
            .map_or(self.text.len(), |(at, _)| start + at)
    }
}

/// A map from places in a rendered text to places in its template.
pub struct SourceMap {
    source: Lines,
    rendered: Lines,
    spans: Vec<OutputSpan>,
}

impl SourceMap {
    /// `spans` are those of `rendered`; those of other templates than `name` are ignored.
    pub(crate) fn new(
        source: &str,
        rendered: Zeroizing<String>,
        mut spans: Vec<OutputSpan>,
        name: &str,
    ) -> Self {
        spans.retain(|span| span.name() == name);
        Self {
            source: Lines::new(Zeroizing::new(source.to_owned())),
            rendered: Lines::new(rendered),
            spans,
        }
    }

    /// The position in the template for a position in the rendered text: the exact one if the template contains
    /// the text, else the expression that printed it, else the end of what precedes it.
    pub fn place(&self, place: Position) -> Position {
        let offset = self.rendered.offset(place);
        let behind = self
            .spans
            .partition_point(|span| span.output_range().start <= offset);
        let Some(span) = behind.checked_sub(1).and_then(|at| self.spans.get(at)) else {
            return Position { line: 1, column: 1 };
        };
        let source = span.source_range();
        let within = offset - span.output_range().start;
        self.source.position(match span.kind() {
            OutputSpanKind::Raw => source.start + within.min(source.len()),
            _ if offset >= span.output_range().end => source.end,
            _ => source.start,
        })
    }
}
