//! Takes batches and answers for them.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use evbus_sdk::{
    Batch, ConfigFault, ConnectError, Context, Limits, Outcome, Outcomes, Provider, tokio, tracing,
};

use crate::lines::Lines;
use crate::outcome::Failure;
use crate::target::Target;
use crate::{Config, Format};

/// The most bytes of bodies in a batch.
const MAX_BATCH_BYTES: u64 = 4 * 1024 * 1024;
/// Many events share the cost of one sync.
const MAX_BATCH_EVENTS: u32 = 8192;

/// The provider `file`.
pub struct FileProvider {
    format: Format,
    limits: Limits,
    context: Context,
    writer: Arc<Mutex<Writer>>,
}

struct Writer {
    target: Target,
    /// Whether the last write failed.
    down: bool,
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
        let target = Target::open(&config).map_err(Failure::into_connect_error)?;
        let writer = Arc::new(Mutex::new(Writer {
            target,
            down: false,
        }));
        if let Some(interval) = config.fsync.interval() {
            context.spawn(sync_regularly(Arc::downgrade(&writer), interval));
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
            writer,
        })
    }

    async fn publish(&self, batch: Batch) -> Outcomes {
        LINES.with_borrow_mut(|lines| self.append(&batch, lines))
    }

    async fn close(&self) {
        if let Err(failure) = lock(&self.writer).target.sync() {
            tracing::error!("accepted events may be lost in a power failure: {failure}");
        }
    }
}

impl FileProvider {
    /// Blocks as long as the file does.
    fn append(&self, batch: &Batch, lines: &mut Lines) -> Outcomes {
        let mut writer = lock(&self.writer);
        let Writer { target, down } = &mut *writer;
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
                if std::mem::take(down) {
                    self.context.link_up();
                }
                Outcomes::accepted()
            }
            Some(failure) => {
                if !std::mem::replace(down, true) {
                    self.context.link_down(&failure.to_string());
                }
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
}

/// Syncs until the provider is dropped.
async fn sync_regularly(writer: Weak<Mutex<Writer>>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let Some(writer) = writer.upgrade() else {
            return;
        };
        if let Err(failure) = lock(&writer).target.sync() {
            tracing::error!("accepted events may be lost in a power failure: {failure}");
        }
    }
}

/// After a panic the instance is replaced; until then its file is as good as after its last write.
fn lock(writer: &Mutex<Writer>) -> MutexGuard<'_, Writer> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}
