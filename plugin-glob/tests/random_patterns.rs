//! Random patterns and names, judged by a small model that reads `CPython`'s `fnmatch.py` literally.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use plugin_glob::GlobSet;

/// Pieces chosen so that classes, reversed ranges and globset's special cases come up often.
const PATTERN_PIECES: [&str; 38] = [
    "*", "*", "*", "?", "[", "[", "]", "]", "!", "-", "-", "^", "[!", "[a-c]", "[c-a", "[]",
    "[z-a!", "a", "b", "c", "é", "漢", "🦀", "\u{301}", "\n", "/", ".", "..", "\\", "{", "}", ",",
    "&&", "~", "|", "A", "a.b", "/ab",
];
const NAME_PIECES: [&str; 27] = [
    "a", "a", "b", "c", "é", "漢", "🦀", "\u{301}", "\n", "/", "/", ".", ".", "..", "\\", "{", "}",
    ",", "&", "!", "-", "^", "[", "]", "A", "a.b", "/ab",
];

/// `SplitMix64`: the same sequence on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % limit as u64).unwrap()
    }

    fn text(&mut self, pieces: &[&str], longest: usize) -> String {
        let count = self.below(longest + 1);
        (0..count)
            .map(|_| pieces[self.below(pieces.len())])
            .collect()
    }

    /// A name: sometimes random, sometimes derived from `pattern`, which matches far more often.
    fn name(&mut self, pattern: &str) -> String {
        if self.below(3) == 0 {
            return self.text(&NAME_PIECES, 8);
        }
        let mut name = String::new();
        for c in pattern.chars() {
            match c {
                '*' => name += &self.text(&NAME_PIECES, 2),
                '?' => name += NAME_PIECES[self.below(NAME_PIECES.len())],
                '[' | ']' | '!' | '-' if self.below(2) == 0 => {}
                _ if self.below(12) == 0 => {}
                _ => name.push(c),
            }
        }
        name
    }
}

/// The model of `fnmatchcase`: plain recursion over characters.
fn model(pattern: &[char], name: &[char]) -> bool {
    let Some((&first, after)) = pattern.split_first() else {
        return name.is_empty();
    };
    if first == '*' {
        return (0..=name.len()).any(|taken| model(after, &name[taken..]));
    }
    let Some((&c, rest)) = name.split_first() else {
        return false;
    };
    let (taken, length) = match first {
        '?' => (true, 1),
        '[' => match class_end(pattern) {
            Some(end) => (model_class(&pattern[1..end], c), end + 1),
            None => (c == '[', 1),
        },
        _ => (c == first, 1),
    };
    taken && model(&pattern[length..], rest)
}

/// The position of the `]` that closes the class at the beginning of `pattern`.
fn class_end(pattern: &[char]) -> Option<usize> {
    let mut j = 1;
    if pattern.get(j) == Some(&'!') {
        j += 1;
    }
    if pattern.get(j) == Some(&']') {
        j += 1;
    }
    (j..pattern.len()).find(|&j| pattern[j] == ']')
}

/// The class `[body]`: `translate` splits it at the hyphens that form ranges, joins chunks whose range is reversed,
/// and passes the rest to `re`.
fn model_class(body: &[char], c: char) -> bool {
    let mut chunks: Vec<Vec<char>> = Vec::new();
    let mut start = 0;
    let mut k = if body[0] == '!' { 2 } else { 1 };
    while let Some(hyphen) = (k..body.len()).find(|&k| body[k] == '-') {
        chunks.push(body[start..hyphen].to_vec());
        start = hyphen + 1;
        k = hyphen + 3;
    }
    if start < body.len() {
        chunks.push(body[start..].to_vec());
    } else {
        chunks.last_mut().unwrap().push('-');
    }
    for k in (1..chunks.len()).rev() {
        if chunks[k - 1].last().unwrap() > chunks[k].first().unwrap() {
            let right = chunks.remove(k);
            chunks[k - 1].pop();
            chunks[k - 1].extend(&right[1..]);
        }
    }

    // Characters for `re`; `None` is a hyphen between chunks, which is not escaped.
    let mut stuff: Vec<Option<char>> = Vec::new();
    for (k, chunk) in chunks.iter().enumerate() {
        if k > 0 {
            stuff.push(None);
        }
        stuff.extend(chunk.iter().copied().map(Some));
    }
    let negated = stuff.first() == Some(&Some('!'));
    if negated {
        stuff.remove(0);
    }
    let mut found = false;
    let mut at = 0;
    while at < stuff.len() {
        let low = stuff[at].unwrap_or('-');
        if let (Some(None), Some(&Some(high))) = (stuff.get(at + 1), stuff.get(at + 2)) {
            found |= low <= c && c <= high;
            at += 3;
        } else {
            found |= low == c;
            at += 1;
        }
    }
    found != negated
}

fn expected(patterns: &[String], name: &str) -> Vec<u32> {
    let name: Vec<char> = name.chars().collect();
    (0..)
        .zip(patterns)
        .filter(|(_, pattern)| model(&pattern.chars().collect::<Vec<_>>(), &name))
        .map(|(index, _)| index)
        .collect()
}

#[test]
fn single_patterns_agree_with_the_model() {
    let mut random = Random(1);
    let mut out = Vec::new();
    let mut matched = 0;
    for _ in 0..20_000 {
        let pattern = random.text(&PATTERN_PIECES, 8);
        let set = GlobSet::compile(&[&pattern]).unwrap();
        for _ in 0..4 {
            let name = random.name(&pattern);
            set.matches(&name, &mut out);
            let expected = expected(std::slice::from_ref(&pattern), &name);
            assert_eq!(out, expected, "{pattern:?} on {name:?}");
            matched += out.len();
        }
    }
    assert!(matched > 10_000, "only {matched} of the cases matched");
}

#[test]
fn sets_of_patterns_agree_with_the_model() {
    let mut random = Random(2);
    let mut out = Vec::new();
    for _ in 0..300 {
        let patterns: Vec<String> = (0..40).map(|_| random.text(&PATTERN_PIECES, 6)).collect();
        let texts: Vec<&str> = patterns.iter().map(String::as_str).collect();
        let set = GlobSet::compile(&texts).unwrap();
        for pattern in &patterns {
            let name = random.name(pattern);
            set.matches(&name, &mut out);
            assert_eq!(out, expected(&patterns, &name), "{patterns:?} on {name:?}");
        }
    }
}
