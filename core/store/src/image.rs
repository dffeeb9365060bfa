//! The pages of a damaged store, without `SQLite`: the latest image of each that can be read, from the
//! file and its log.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::salvage::beside;
use super::wal::{self, Log, PAGE};

/// A page of the pointer map describes this many pages after it, in entries of 5 bytes.
#[allow(clippy::cast_possible_truncation)] // A page has 4096 bytes.
const MAPPED: u32 = (PAGE / 5) as u32;

/// Types of pages in the pointer map.
const FREE: u8 = 2;
const TREE: [u8; 2] = [1, 5];

/// The first byte of each kind of page of a tree.
const LEAF: u8 = 13;
const INNER: u8 = 5;
const KINDS: [u8; 4] = [2, INNER, 10, LEAF];

pub(super) struct Image {
    store: File,
    pub(super) log: Log,
    latest: HashMap<u32, usize>,
    free: HashSet<u32>,
    pub(super) pages: u32,
}

/// What a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A page with rows.
    Leaf,
    /// A page that should be part of a tree but is not.
    Destroyed,
    /// A page without rows.
    Other,
}

impl Image {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let log = wal::read(&beside(path, "-wal"), &beside(path, "-shm"))?;
        let store = File::open(path)?;
        let len = store.metadata()?.len() / PAGE as u64;
        let in_file = u32::try_from(len).unwrap_or(u32::MAX);
        let latest = log.latest();
        let mut image = Self {
            store,
            pages: 0,
            free: HashSet::new(),
            log,
            latest,
        };
        image.pages = match image.log.pages() {
            Some(pages) => pages,
            // Pages in the log may be beyond the end of the file; every page that can be read counts.
            None => (image.latest.keys().copied().max().unwrap_or_default())
                .max(image.log.most_pages())
                .min(in_file.saturating_add(1 << 20))
                .max(in_file),
        };
        image.free = image.free_pages()?;
        Ok(image)
    }

    /// The latest image of a page; `None` if there is no such page.
    pub(super) fn page(&self, number: u32) -> io::Result<Option<Vec<u8>>> {
        match self.latest.get(&number) {
            Some(frame) => self.log.page(*frame).map(Some),
            None => self.in_file(number),
        }
    }

    /// The image of a page in the file itself.
    pub(super) fn in_file(&self, number: u32) -> io::Result<Option<Vec<u8>>> {
        let Some(before) = number.checked_sub(1) else {
            return Ok(None);
        };
        let mut page = vec![0; PAGE];
        match self
            .store
            .read_exact_at(&mut page, u64::from(before) * PAGE as u64)
        {
            Ok(()) => Ok(Some(page)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the log has a later image of a page than the file.
    pub(super) fn is_in_log(&self, number: u32) -> bool {
        self.latest.contains_key(&number)
    }

    /// Whether no later image of a page may be among the damaged frames.
    pub(super) fn is_current(&self, number: u32) -> bool {
        self.log.is_current(number, self.frame(number))
    }

    /// The frame with the latest image of a page; `None` if it is in the file.
    pub(super) fn frame(&self, number: u32) -> Option<usize> {
        self.latest.get(&number).copied()
    }

    /// The kind of a page, according to the pointer map and its content.
    pub(super) fn kind(&self, number: u32, page: &[u8]) -> io::Result<Kind> {
        let map = map_of(number);
        if number < 2 || number == map {
            return Ok(Kind::Other);
        }
        let at = 5 * (number - map - 1) as usize;
        let mapped = self.page(map)?.map_or(0, |map| map[at]);
        // The list of free pages may itself be damaged; if it contradicts the map, the page is searched for rows.
        if mapped == FREE || (self.free.contains(&number) && !TREE.contains(&mapped)) {
            return Ok(Kind::Other);
        }
        let found = page[0];
        Ok(if found == LEAF {
            // Regardless of the map: an overflow page begins with a page number, and no store has that many pages.
            Kind::Leaf
        } else if TREE.contains(&mapped) && !(KINDS.contains(&found) && self.has_child(page)) {
            Kind::Destroyed
        } else {
            Kind::Other
        })
    }

    /// Whether an inner page of a tree leads to another page, which one that was a leaf does not.
    fn has_child(&self, page: &[u8]) -> bool {
        page[0] != INNER || (2..=self.pages).contains(&u32_at(page, 8))
    }

    /// The pages that the first page lists as free: their content was deleted.
    fn free_pages(&self) -> io::Result<HashSet<u32>> {
        let mut free = HashSet::new();
        let mut next = match self.page(1)? {
            Some(first) => u32_at(&first, 32),
            None => 0,
        };
        // A damaged chain may be a cycle.
        while next != 0 && next <= self.pages && free.insert(next) {
            let Some(trunk) = self.page(next)? else { break };
            let count = u32_at(&trunk, 4) as usize;
            if count > PAGE / 4 - 2 {
                break;
            }
            free.extend((0..count).map(|leaf| u32_at(&trunk, 8 + 4 * leaf)));
            next = u32_at(&trunk, 0);
        }
        Ok(free)
    }
}

/// The page with the pointer map's entry for this one.
fn map_of(number: u32) -> u32 {
    number.saturating_sub(2) / (MAPPED + 1) * (MAPPED + 1) + 2
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
