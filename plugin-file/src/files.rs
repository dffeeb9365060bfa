//! The files of a destination whose path is another one for each event.
//!
//! A bounded number of them is open, each behind a lock of its own; the one that was not used for the longest time is closed
//! for another. A file that fails does not concern the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evbus_sdk::{Outcome, tracing};

use crate::Config;
use crate::base::Base;
use crate::lines::{Appended, Lines};
use crate::outcome::Failure;
use crate::regular::RegularFile;

/// `None` once it is closed.
type Shared = Arc<Mutex<Option<RegularFile>>>;

/// Open files by their names.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) base: Base,
    config: Config,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    files: HashMap<String, Used>,
    /// Counts the uses.
    now: u64,
}

#[derive(Debug)]
struct Used {
    file: Shared,
    last: u64,
}

impl Files {
    pub(crate) fn new(base: Base, config: Config) -> Self {
        Self {
            base,
            config,
            open: Mutex::default(),
        }
    }

    /// Appends whole lines to the file of a name, as many as fit. Blocks.
    pub(crate) fn append(&self, name: &str, lines: &Lines) -> Appended {
        loop {
            let file = match self.file(name) {
                Ok(file) => file,
                Err(failure) => return Appended::failed(failure),
            };
            // If it was closed for another one meanwhile, it is opened again.
            if let Some(file) = lock(&file).as_mut() {
                return file.append(lines);
            }
        }
    }

    /// Whether no file can be written for the same reason.
    pub(crate) fn is_down(&self, failure: &Failure) -> bool {
        failure.is_of_disk() || !self.base.directory().is_dir()
    }

    /// The outcome of events whose lines were not written. If their name is to blame, they are rejected.
    pub(crate) fn outcome(&self, failure: Failure) -> Outcome {
        if failure.is_of_name() && self.base.directory().is_dir() {
            return Outcome::rejected(failure.to_string());
        }
        failure.into_outcome()
    }

    /// Syncs what is not on the disk yet. Blocks, one file at a time.
    pub(crate) fn sync(&self) {
        let files: Vec<Shared> = {
            let open = lock(&self.open);
            open.files
                .values()
                .map(|used| Arc::clone(&used.file))
                .collect()
        };
        for file in files {
            sync(lock(&file).as_mut());
        }
    }

    /// The open file of a name. Opens it if necessary, and closes others for it.
    fn file(&self, name: &str) -> Result<Shared, Failure> {
        let mut open = lock(&self.open);
        open.now += 1;
        let now = open.now;
        if let Some(used) = open.files.get_mut(name) {
            used.last = now;
            return Ok(Arc::clone(&used.file));
        }
        let mut closing = Vec::new();
        while open.files.len() >= self.config.max_open {
            let oldest = open.files.iter().min_by_key(|(_, used)| used.last);
            let Some(name) = oldest.map(|(name, _)| name.clone()) else {
                break;
            };
            closing.extend(open.files.remove(&name));
        }
        // The others can be synced meanwhile.
        drop(open);
        for used in closing {
            // Taken out, so that it is closed even while somebody else is about to look at it.
            let mut file = lock(&used.file).take();
            sync(file.as_mut());
        }
        let path = self.base.path(name);
        let file = RegularFile::open_below(self.base.directory(), path, &self.config)?;
        let file = Arc::new(Mutex::new(Some(file)));
        let used = Used {
            file: Arc::clone(&file),
            last: now,
        };
        lock(&self.open).files.insert(name.to_owned(), used);
        Ok(file)
    }
}

fn sync(file: Option<&mut RegularFile>) {
    if let Some(Err(failure)) = file.map(RegularFile::sync) {
        tracing::error!("accepted events may be lost in a power failure: {failure}");
    }
}

/// After a panic the instance is replaced; until then a file is as good as after its last write.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
