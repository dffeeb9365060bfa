//! The string tags of an event, which travel beside its body.

use std::collections::{HashMap, HashSet};

/// Pairs of texts in the order in which they were given, at most [`MAX_TAGS`], all in one piece of memory that
/// is kept from event to event. Keys are unique.
#[derive(Debug, Clone, Default)]
pub struct StringTags {
    /// Keys and values one behind the other.
    text: String,
    /// The lengths of key and value of each tag; `None` if the value is not text.
    lengths: Vec<(usize, Option<usize>)>,
    /// The last key was one too many.
    is_beyond: bool,
}

/// Of how many keys of a body's tags the texts travel beside it; those of later keys stay in the body alone.
pub const MAX_TAGS: usize = 1024;

/// Up to so many tags are compared with each other.
const FEW: usize = 16;

impl StringTags {
    /// Tags with their values, if these are texts.
    pub fn of<K: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (K, Option<V>)>,
    ) -> Self {
        let mut tags = Self::default();
        for (key, value) in pairs {
            tags.key(key.as_ref());
            if let Some(value) = value {
                tags.value(value.as_ref());
            }
        }
        tags.finish();
        tags
    }

    /// Each key with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all()
            .filter_map(|(key, value)| value.map(|value| (key, value)))
    }

    /// Each key with its value if that is text.
    fn all(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let mut rest = self.text.as_str();
        self.lengths.iter().map(move |(key, value)| {
            let (tag, after) = rest.split_at(key + value.unwrap_or_default());
            rest = after;
            let (key, text) = tag.split_at(*key);
            (key, value.map(|_| text))
        })
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.lengths.clear();
        self.is_beyond = false;
    }

    /// Keeps at most this many bytes of memory for texts, and as much for lengths.
    pub(super) fn trim(&mut self, bytes: usize) {
        self.text.shrink_to(bytes);
        self.lengths
            .shrink_to(bytes / size_of::<(usize, Option<usize>)>());
    }

    /// A key, whose value may come next.
    pub(super) fn key(&mut self, key: &str) {
        self.is_beyond = self.lengths.len() == MAX_TAGS;
        if self.is_beyond {
            return;
        }
        self.text.push_str(key);
        self.lengths.push((key.len(), None));
    }

    /// The value of the last key.
    pub(super) fn value(&mut self, value: &str) {
        if self.is_beyond {
            return;
        }
        self.text.push_str(value);
        if let Some(last) = self.lengths.last_mut() {
            last.1 = Some(value.len());
        }
    }

    /// There are no more tags. Of those with one key the last counts, in the place of the first.
    pub(super) fn finish(&mut self) {
        if self.has_twice() {
            let mut places = HashMap::new();
            let mut tags: Vec<(&str, Option<&str>)> = Vec::new();
            for (key, value) in self.all() {
                let place = *places.entry(key).or_insert(tags.len());
                match tags.get_mut(place) {
                    Some(earlier) => earlier.1 = value,
                    None => tags.push((key, value)),
                }
            }
            let mut unique = Self::default();
            for (key, value) in tags {
                unique.key(key);
                if let Some(value) = value {
                    unique.value(value);
                }
            }
            *self = unique;
        }
    }

    fn has_twice(&self) -> bool {
        if self.lengths.len() > FEW {
            let mut keys = HashSet::new();
            return self.all().any(|(key, _)| !keys.insert(key));
        }
        let mut earlier = [""; FEW];
        self.all().enumerate().any(|(count, (key, _))| {
            let known = earlier[..count].contains(&key);
            earlier[count] = key;
            known
        })
    }
}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for StringTags {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self::of(pairs.into_iter().map(|(key, value)| (key, Some(value))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_values_of_a_key_the_last_counts() {
        for count in [3, 40] {
            let names: Vec<String> = (0..count).map(|number| number.to_string()).collect();
            let pairs = names.iter().map(|name| (name.as_str(), "old"));
            let tags: StringTags = pairs.chain([("1", "new"), ("", "x")]).collect();
            assert_eq!(tags.iter().count(), count + 1);
            let found: Vec<_> = tags.iter().collect();
            assert_eq!(found[..3], [("0", "old"), ("1", "new"), ("2", "old")]);
            assert_eq!(found[count], ("", "x"));
        }
    }

    #[test]
    fn no_more_tags_than_the_limit_are_kept_each_with_its_own_value() {
        let tags: StringTags = (0..2 * MAX_TAGS)
            .map(|number| (number.to_string(), format!("value {number}")))
            .collect();
        let found: Vec<_> = tags.iter().collect();
        assert_eq!(found.len(), MAX_TAGS);
        assert_eq!(found[MAX_TAGS - 1], ("1023", "value 1023"));
    }

    #[test]
    fn a_key_without_a_text_is_no_tag() {
        let mut tags = StringTags::default();
        tags.key("no text");
        tags.key("a");
        tags.value("b");
        tags.key("c");
        tags.value("d");
        tags.key("c");
        tags.finish();
        assert_eq!(tags.iter().collect::<Vec<_>>(), [("a", "b")]);
    }
}
