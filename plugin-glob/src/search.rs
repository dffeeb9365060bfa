//! Finds all guards that apply to a name, at once.

use aho_corasick::AhoCorasick;
use globset::{Candidate, GlobBuilder, GlobSetBuilder};

use crate::guard::{Guard, Place};

/// The most guards in one automaton. The time to build one grows with the square of this where the
/// literals are prefixes of each other (100,000 in one take 20 seconds), the time to match a name
/// with the number of automata.
const AUTOMATON_GUARDS: usize = 2048;

/// Compiled guards. A guard is identified by its position in the list given to [`Search::new`].
pub(crate) struct Search {
    parts: Vec<Part>,
}

/// The compiled guards of a part of the list.
struct Part {
    /// The position of the part in the list.
    first: usize,
    finder: Finder,
}

enum Finder {
    /// Guards that are the name, its start or its end. globset has a strategy for each of these, so its regular
    /// expressions never run; they would match bytes where a pattern means characters.
    Anchored(globset::GlobSet),
    /// Guards anywhere in a name, for which globset has no strategy.
    Inside(AhoCorasick),
}

impl Search {
    /// Compiles `guards`, which are sorted and distinct.
    pub(crate) fn new(guards: &[Guard]) -> Self {
        let mut parts = Vec::new();
        let mut first = 0;
        for run in guards.chunk_by(|a, b| a.place == b.place) {
            let most = match run[0].place {
                // Whole names are looked up in a hash table.
                Place::Whole => run.len(),
                Place::Start | Place::End | Place::Inside => AUTOMATON_GUARDS,
            };
            for stretch in run.chunks(most) {
                parts.push(Part {
                    first,
                    finder: Finder::new(stretch),
                });
                first += stretch.len();
            }
        }
        Self { parts }
    }

    /// Calls `hit` once with each guard that holds for `name`. `scratch` is working memory.
    pub(crate) fn find(&self, name: &str, scratch: &mut Vec<usize>, mut hit: impl FnMut(usize)) {
        let candidate = Candidate::from_bytes(name);
        for part in &self.parts {
            match &part.finder {
                Finder::Anchored(globs) => globs.matches_candidate_into(&candidate, scratch),
                Finder::Inside(literals) => {
                    scratch.clear();
                    let found = literals.find_overlapping_iter(name);
                    scratch.extend(found.map(|found| found.pattern().as_usize()));
                    scratch.sort_unstable();
                    scratch.dedup();
                }
            }
            for id in &*scratch {
                hit(part.first + id);
            }
        }
    }
}

impl Finder {
    /// Compiles guards of the same kind of place.
    fn new(guards: &[Guard]) -> Self {
        if guards[0].place == Place::Inside {
            let literals = guards.iter().map(|guard| &guard.literal);
            let automaton = AhoCorasick::new(literals)
                .expect("the size limit of a set is far below the automaton's");
            return Self::Inside(automaton);
        }
        let mut globs = GlobSetBuilder::new();
        for guard in guards {
            globs.add(glob(guard));
        }
        let globs = globs
            .build()
            .expect("only regular expressions can fail to build, and no guard needs one");
        Self::Anchored(globs)
    }
}

/// The glob that matches the names for which `guard` holds.
fn glob(guard: &Guard) -> globset::Glob {
    let (before, after) = match guard.place {
        Place::Whole => ("", ""),
        Place::Start => ("", "*"),
        Place::End => ("*", ""),
        Place::Inside => ("*", "*"),
    };
    let mut text = String::with_capacity(guard.literal.len() + 1);
    text.push_str(before);
    for c in guard.literal.chars() {
        // Not `globset::escape`: it writes classes, which are slower.
        if matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push_str(after);
    GlobBuilder::new(&text)
        .literal_separator(false)
        .backslash_escape(true)
        .build()
        .expect("escaped literals and a `*` are a valid glob")
}
