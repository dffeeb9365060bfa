//! Takes batches and answers for them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use evbus_sdk::{
    Batch, ConfigFault, ConnectError, Context, Limits, Outcome, Outcomes, Provider, tokio, tracing,
};

use crate::base::Base;
use crate::files::Files;
use crate::lines::{Appended, Lines};
use crate::outcome::Failure;
use crate::target::Target;
use crate::{Config, Format};

/// The most bytes of bodies in a batch.
const MAX_BATCH_BYTES: u64 = 4 * 1024 * 1024;
/// Many events share the cost of one sync.
const MAX_BATCH_EVENTS: u32 = 8192;

/// How long a batch may take until what remains of it is tried again: the host gives up an instance that does not answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// The provider `file`.
pub struct FileProvider {
    format: Format,
    limits: Limits,
    context: Context,
    destination: Destination,
    /// Whether nothing could be written last.
    down: AtomicBool,
}

/// Where the lines go.
#[derive(Clone)]
enum Destination {
    One(Arc<Mutex<Target>>),
    /// Each event chooses its file.
    Files(Arc<Files>),
}

/// The events of a batch that go to one file.
#[derive(Default)]
struct Part {
    lines: Lines,
    /// Their positions in the batch, one for each line.
    events: Vec<usize>,
}

thread_local! {
    /// Memory for the lines of a batch. It belongs to a thread and not to an instance, because there are fewer of them.
    static LINES: RefCell<Lines> = RefCell::default();
}

impl Provider for FileProvider {
    const NAMES: &'static [&'static str] = &["file"];
    type Config = Config;

    fn check(config: &Config) -> Result<(), Vec<ConfigFault>> {
        let faults = config.faults();
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    async fn connect(config: Config, context: Context) -> Result<Self, ConnectError> {
        let destination = if config.path.constant().is_some() {
            Target::open(&config).map(|target| Destination::One(Arc::new(Mutex::new(target))))
        } else {
            let files = |base| Files::new(base, config.clone());
            Base::open(&config).map(|base| Destination::Files(Arc::new(files(base))))
        };
        let destination = destination.map_err(Failure::into_connect_error)?;
        if let Some(interval) = config.fsync.interval() {
            context.spawn(sync_regularly(destination.downgrade(), interval));
        }
        context.link_up();
        // A batch must not be larger than a rotated file.
        let file_bytes = config.rotate.map_or(u64::MAX, |rotate| rotate.max_bytes);
        Ok(Self {
            format: config.format,
            limits: Limits {
                max_batch_events: MAX_BATCH_EVENTS,
                max_batch_bytes: MAX_BATCH_BYTES.min(file_bytes),
                max_in_flight: 1,
            },
            context,
            destination,
            down: AtomicBool::new(false),
        })
    }

    async fn publish(&self, batch: Batch) -> Outcomes {
        match &self.destination {
            Destination::One(target) => {
                LINES.with_borrow_mut(|lines| self.append(target, &batch, lines))
            }
            Destination::Files(files) => self.append_to_files(files, &batch),
        }
    }

    async fn close(&self) {
        self.destination.sync();
    }
}

impl FileProvider {
    /// Blocks as long as the file does.
    fn append(&self, target: &Mutex<Target>, batch: &Batch, lines: &mut Lines) -> Outcomes {
        let mut target = lock(target);
        lines.clear();
        let mut rejected = Vec::new();
        for (index, event) in batch.iter().enumerate() {
            if let Err(reason) = lines.push(self.format, event) {
                rejected.push((index, reason));
            }
        }
        let appended = target.append(lines);
        lines.clear();
        let mut outcomes = match appended.failure {
            None => {
                self.up();
                Outcomes::accepted()
            }
            Some(failure) => {
                self.down(&failure);
                // Lines are in the order of their events; rejected events have no line.
                let mut outcomes = Outcomes::all(failure.into_outcome());
                let mut without_line = rejected.iter().map(|(index, _)| *index).peekable();
                let with_line =
                    (0..batch.len()).filter(|index| without_line.next_if_eq(index).is_none());
                for index in with_line.take(appended.lines) {
                    outcomes.set(index, Outcome::Accepted);
                }
                outcomes
            }
        };
        for (index, reason) in rejected {
            outcomes.set(index, Outcome::rejected(reason));
        }
        outcomes
    }

    /// Blocks as long as the files do, one after the other.
    fn append_to_files(&self, files: &Files, batch: &Batch) -> Outcomes {
        let mut outcomes = Outcomes::accepted();
        let mut parts: Vec<(String, Part)> = Vec::new();
        let mut positions: HashMap<String, usize> = HashMap::new();
        for (index, event) in batch.iter().enumerate() {
            let name = match files.base.name(event) {
                Ok(name) => name,
                Err(outcome) => {
                    outcomes.set(index, outcome);
                    continue;
                }
            };
            let position = *positions.entry(name).or_insert_with_key(|name| {
                parts.push((name.clone(), Part::default()));
                parts.len() - 1
            });
            let (_, part) = &mut parts[position];
            match part.lines.push(self.format, event) {
                Ok(()) => part.events.push(index),
                Err(reason) => outcomes.set(index, Outcome::rejected(reason)),
            }
        }
        let began = Instant::now();
        let (mut written, mut down) = (false, None);
        for (name, part) in parts.iter().filter(|(_, part)| !part.events.is_empty()) {
            let appended = if began.elapsed() < PATIENCE {
                files.append(name, &part.lines)
            } else {
                Appended::failed(Failure::late(&files.base.path(name)))
            };
            written |= appended.lines > 0;
            let Some(failure) = appended.failure else {
                continue;
            };
            if down.is_none() && files.is_down(&failure) {
                down = Some(failure.to_string());
            }
            let outcome = files.outcome(failure);
            for index in part.events.iter().skip(appended.lines) {
                outcomes.set(*index, outcome.clone());
            }
        }
        match down {
            _ if written => self.up(),
            Some(reason) => self.down(&reason),
            None => {}
        }
        outcomes
    }

    fn up(&self) {
        if self.down.swap(false, Ordering::Relaxed) {
            self.context.link_up();
        }
    }

    fn down(&self, why: &impl ToString) {
        if !self.down.swap(true, Ordering::Relaxed) {
            self.context.link_down(&why.to_string());
        }
    }
}

impl Destination {
    fn sync(&self) {
        match self {
            Self::One(target) => {
                if let Err(failure) = lock(target).sync() {
                    tracing::error!("accepted events may be lost in a power failure: {failure}");
                }
            }
            Self::Files(files) => files.sync(),
        }
    }

    /// Leads to it as long as it is in use.
    fn downgrade(&self) -> impl Fn() -> Option<Self> + Send + use<> {
        let (one, files) = match self {
            Self::One(target) => (Arc::downgrade(target), Weak::new()),
            Self::Files(files) => (Weak::new(), Arc::downgrade(files)),
        };
        move || {
            let one = one.upgrade().map(Self::One);
            one.or_else(|| files.upgrade().map(Self::Files))
        }
    }
}

/// Syncs until the provider is dropped.
async fn sync_regularly(destination: impl Fn() -> Option<Destination>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let Some(destination) = destination() else {
            return;
        };
        destination.sync();
    }
}

/// After a panic the instance is replaced; until then its file is as good as after its last write.
fn lock(target: &Mutex<Target>) -> MutexGuard<'_, Target> {
    target.lock().unwrap_or_else(PoisonError::into_inner)
}
