//! Dead letters: listed, purged and replayed.
//!
//! Listing works beside a running host and changes nothing. Only one process may write: a running host
//! has to be asked, and without one the state directory is locked meanwhile; see [`replay`] and
//! [`purge`].

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, Statement, TransactionBehavior, params_from_iter};
use serde::Serialize;

use super::full_disk::in_store;
use super::journal::record_bytes;
use super::queue::{self, FIRST};
use super::record::{self, COLUMNS, RowFault};
use super::schema::{self, LETTER_SIZE};
use super::state_dir::{StateError, StateLimits, store_files};
use super::{StateDir, StoreName};
use evbus_event::EventId;

/// How many dead letters are read at a time, and about how many bytes.
const PAGE_LETTERS: usize = 500;
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// One event that was not delivered to a destination.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLetter {
    /// The provider of the destination.
    pub provider: String,
    /// The destination's profile pattern.
    pub pattern: String,
    /// Counts the provider's entries with this pattern, from 0.
    pub nth: usize,
    /// Its number in the destination's store, ascending with time.
    pub number: i64,
    /// The event's id; `None` if its record is damaged.
    pub id: Option<String>,
    /// The event's profile.
    pub profile: String,
    /// When the event was fired, in nanoseconds since the Unix epoch; as RFC 3339 text when serialized,
    /// like the other times, because many JSON readers keep only 53 bits of a number.
    #[serde(rename = "time", serialize_with = "rfc3339")]
    pub time_unix_ns: u64,
    /// Why it was not delivered, in one sentence.
    pub error: String,
    /// How many attempts it had.
    pub attempts: u32,
    /// When the first attempt ended, in nanoseconds since the Unix epoch; 0 if there was none, which is null when
    /// serialized.
    #[serde(rename = "first_attempt", serialize_with = "rfc3339")]
    pub first_attempt_unix_ns: u64,
    /// When the last attempt ended, or when an event without one was given up, in nanoseconds since the Unix epoch.
    #[serde(rename = "last_attempt", serialize_with = "rfc3339")]
    pub last_attempt_unix_ns: u64,
    /// Bytes of its body.
    pub body_bytes: u64,
    /// The media type of its body.
    pub content_type: String,
    /// Its body, if it was requested.
    #[serde(skip)]
    pub body: Vec<u8>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde asks for"
)]
fn rfc3339<S: serde::Serializer>(unix_ns: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    if *unix_ns == 0 {
        return serializer.serialize_none();
    }
    let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(*unix_ns);
    serializer.collect_str(&humantime::format_rfc3339_nanos(time))
}

/// Which dead letters are meant; all conditions have to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
// Ignoring an unknown condition would match too much.
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// The destination's provider.
    pub provider: Option<String>,
    /// The destination's pattern, as written in the acct file.
    pub pattern: Option<String>,
    /// The event's profile.
    pub profile: Option<String>,
    /// The event's id.
    pub id: Option<String>,
    /// It became a dead letter at this time or before, in nanoseconds since the Unix epoch.
    pub until_unix_ns: Option<u64>,
}

impl Filter {
    fn takes_store(&self, name: &StoreName) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        is(&self.provider, &name.provider) && is(&self.pattern, &name.pattern)
    }

    fn takes(&self, letter: &DeadLetter) -> bool {
        self.profile
            .as_deref()
            .is_none_or(|wanted| wanted == letter.profile)
            && self
                .id
                .as_deref()
                .is_none_or(|wanted| letter.id.as_deref() == Some(wanted))
            && self
                .until_unix_ns
                .is_none_or(|until| letter.last_attempt_unix_ns <= until)
    }
}

/// Passes every dead letter that the filter selects to `see`, store by store, oldest first, until it
/// returns `false`. Bodies are read if `bodies` is true.
///
/// # Errors
///
/// The state directory does not exist, or a store cannot be read.
pub fn each(
    state_dir: &Path,
    filter: &Filter,
    bodies: bool,
    mut see: impl FnMut(DeadLetter) -> bool,
) -> Result<(), StateError> {
    for file in store_files(state_dir)? {
        let store = schema::open_beside(&file, false)?;
        let goes_on = each_of(&store, filter, bodies, &mut see);
        if !goes_on.map_err(in_store("read", &file))? {
            break;
        }
    }
    Ok(())
}

fn each_of(
    store: &Connection,
    filter: &Filter,
    bodies: bool,
    see: &mut impl FnMut(DeadLetter) -> bool,
) -> rusqlite::Result<bool> {
    let name = schema::destination(store)?;
    if !filter.takes_store(&name) {
        return Ok(true);
    }
    // The search may take long; dead letters that arrive in the meantime are ignored.
    let last: i64 = store.query_row(
        "SELECT coalesce(max(number), 0) FROM dead_letters",
        [],
        |row| row.get(0),
    )?;
    let body = if bodies { "body" } else { "x''" };
    let mut select = store.prepare(&format!(
        "SELECT number, id, profile, time, error, attempts, first_attempt, last_attempt, \
         length(body), content_type, {body} FROM dead_letters \
         WHERE number > ?1 AND number <= ?2 ORDER BY number"
    ))?;
    let mut after = i64::MIN;
    loop {
        let page = page_of(&mut select, &name, after, last)?;
        let Some(letter) = page.last() else {
            return Ok(true);
        };
        after = letter.number;
        for letter in page {
            if filter.takes(&letter) && !see(letter) {
                return Ok(false);
            }
        }
    }
}

/// The next dead letters. The caller may take its time between pages, as a pager does, so the store is not read
/// meanwhile: its log grows with every commit while somebody reads it.
fn page_of(
    select: &mut Statement<'_>,
    name: &StoreName,
    after: i64,
    last: i64,
) -> rusqlite::Result<Vec<DeadLetter>> {
    let mut page = Vec::new();
    let mut bytes = 0;
    let mut rows = select.query([after, last])?;
    while page.len() < PAGE_LETTERS
        && bytes < PAGE_BYTES
        && let Some(row) = rows.next()?
    {
        let id: Vec<u8> = row.get(1)?;
        let time = |column: usize| row.get(column).map(i64::cast_unsigned);
        let letter = DeadLetter {
            provider: name.provider.clone(),
            pattern: name.pattern.clone(),
            nth: name.nth,
            number: row.get(0)?,
            id: id
                .try_into()
                .ok()
                .map(|id| EventId::from_bytes(id).to_string()),
            profile: row.get(2)?,
            time_unix_ns: time(3)?,
            error: row.get(4)?,
            attempts: row.get(5)?,
            first_attempt_unix_ns: time(6)?,
            last_attempt_unix_ns: time(7)?,
            body_bytes: row.get(8)?,
            content_type: row.get(9)?,
            body: row.get(10)?,
        };
        bytes += letter.body.len() + letter.error.len();
        page.push(letter);
    }
    Ok(page)
}

/// The numbers of the dead letters in a store that match the filter.
fn numbers(store: &Connection, filter: &Filter) -> rusqlite::Result<Vec<i64>> {
    let mut numbers = Vec::new();
    each_of(store, filter, false, &mut |letter| {
        numbers.push(letter.number);
        true
    })?;
    Ok(numbers)
}

/// Deletes the dead letters that the filter selects, if no host is running; returns their number.
///
/// # Errors
///
/// [`StateError::InUse`] if a host is running, which then has to be asked; or the state directory does
/// not exist, or a store cannot be written.
pub fn purge(state_dir: &Path, filter: &Filter) -> Result<u64, StateError> {
    let Some(_held) = hold(state_dir)? else {
        return Ok(0);
    };
    let mut purged = 0;
    for (file, _, numbers) in selected(state_dir, filter)? {
        purged += purge_file(&file, &numbers)?;
    }
    Ok(purged)
}

/// Deletes dead letters of one store that nobody else writes. Returns their number.
///
/// # Errors
///
/// The store cannot be read or written.
pub fn purge_file(file: &Path, numbers: &[i64]) -> Result<u64, StateError> {
    let mut store = schema::open_beside(file, true)?;
    let (purged, _) = delete(&mut store, numbers).map_err(in_store("write", file))?;
    // If this fails, the next host does it.
    let _ = super::shrink::give_all_back(&store);
    Ok(purged as u64)
}

/// Keeps all other processes from writing below a state directory; `None` if there are no stores in it.
fn hold(state_dir: &Path) -> Result<Option<StateDir>, StateError> {
    // A directory without stores is not changed, whatever it is.
    if store_files(state_dir)?.is_empty() {
        return Ok(None);
    }
    StateDir::open(state_dir, StateLimits::default()).map(Some)
}

/// Puts the dead letters that the filter selects back into their queues, if no host is running: the next
/// host delivers them. Returns their number.
///
/// # Errors
///
/// [`StateError::InUse`] if a host is running, which then has to be asked; or a store cannot be written.
pub fn replay(state_dir: &Path, filter: &Filter) -> Result<u64, StateError> {
    let Some(_held) = hold(state_dir)? else {
        return Ok(0);
    };
    let mut replayed = 0;
    for file in store_files(state_dir)? {
        replayed += replay_file(&file, filter)?;
    }
    Ok(replayed)
}

/// As [`replay`], for one store that nobody else writes.
///
/// # Errors
///
/// The store cannot be read or written.
pub fn replay_file(file: &Path, filter: &Filter) -> Result<u64, StateError> {
    let mut store = schema::open_beside(file, true)?;
    let requeued = numbers(&store, filter).and_then(|numbers| {
        let last: i64 = store.query_row("SELECT last_seq FROM counts", [], |row| row.get(0))?;
        let last = queue::last(&store)?.max(Some(last.cast_unsigned()));
        requeue(&mut store, &numbers, last.unwrap_or_default() + 1)
    });
    let requeued = requeued.map_err(in_store("write", file))?;
    Ok(requeued.moved as u64)
}

/// The stores below a state directory, with the dead letters in each that the filter selects.
///
/// # Errors
///
/// The state directory does not exist, or a store cannot be read.
pub fn selected(
    state_dir: &Path,
    filter: &Filter,
) -> Result<Vec<(PathBuf, StoreName, Vec<i64>)>, StateError> {
    let mut selected = Vec::new();
    for file in store_files(state_dir)? {
        let store = schema::open_beside(&file, false)?;
        let found =
            schema::destination(&store).and_then(|name| Ok((name, numbers(&store, filter)?)));
        let (name, numbers) = found.map_err(in_store("read", &file))?;
        if !numbers.is_empty() {
            selected.push((file, name, numbers));
        }
    }
    Ok(selected)
}

/// Dead letters that were moved to the queue.
pub(super) struct Requeued {
    pub(super) moved: usize,
    /// Their size in the queue.
    pub(super) bytes: u64,
    /// Their size among the dead letters.
    pub(super) letter_bytes: u64,
}

/// Moves dead letters to the queue, to `first_seq` and the positions after it. A dead letter whose record is damaged
/// stays.
pub(super) fn requeue(
    store: &mut Connection,
    numbers: &[i64],
    first_seq: u64,
) -> rusqlite::Result<Requeued> {
    // Waits for other processes that read or write.
    let transaction = store.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (mut moved, mut bytes, mut letter_bytes) = (0, 0, 0);
    {
        let mut select = transaction.prepare(&format!(
            "SELECT {COLUMNS}, {LETTER_SIZE} FROM dead_letters WHERE number = ?"
        ))?;
        let mut insert = transaction.prepare(&schema::insert_queued())?;
        let mut delete = transaction.prepare("DELETE FROM dead_letters WHERE number = ?")?;
        for (number, seq) in numbers.iter().zip(first_seq..) {
            let mut rows = select.query([number])?;
            let Some(row) = rows.next()? else { continue };
            let event = match record::read(row, 0, record::NO_POSITION) {
                Ok(event) => event,
                Err(RowFault::Damaged) => continue,
                Err(RowFault::Unreadable(error)) => return Err(error),
            };
            let size: u64 = row.get(COLUMNS.split(',').count())?;
            drop(rows);
            insert.raw_bind_parameter(1, seq.cast_signed())?;
            insert.raw_bind_parameter(2, 0)?;
            record::bind(&mut insert, 3, seq, &event)?;
            insert.raw_execute()?;
            moved += delete.execute([number])?;
            bytes += record_bytes(&event);
            letter_bytes += size;
        }
        let last = queue::last(&transaction)?.unwrap_or_default();
        transaction.execute(
            &format!(
                "UPDATE counts SET queued = queued + ?1, dead = dead - ?1, \
                 first_seq = coalesce({FIRST}, first_seq), last_seq = max(last_seq, ?2)"
            ),
            [moved as u64, last],
        )?;
    }
    transaction.commit()?;
    Ok(Requeued {
        moved,
        bytes,
        letter_bytes,
    })
}

/// Deletes dead letters; returns how many there were, and their size.
pub(super) fn delete(store: &mut Connection, numbers: &[i64]) -> rusqlite::Result<(usize, u64)> {
    /// Far less than a statement may have.
    const AT_ONCE: usize = 500;
    let transaction = store.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (mut deleted, mut bytes) = (0, 0);
    for some in numbers.chunks(AT_ONCE) {
        let marks = vec!["?"; some.len()].join(", ");
        bytes += transaction.query_row(
            &format!(
                "SELECT coalesce(sum({LETTER_SIZE}), 0) FROM dead_letters WHERE number IN ({marks})"
            ),
            params_from_iter(some),
            |row| row.get::<_, u64>(0),
        )?;
        deleted += transaction.execute(
            &format!("DELETE FROM dead_letters WHERE number IN ({marks})"),
            params_from_iter(some),
        )?;
    }
    transaction.execute("UPDATE counts SET dead = max(dead - ?, 0)", [deleted])?;
    transaction.commit()?;
    Ok((deleted, bytes))
}
