//! `tracing` and `log` lines of the plugin, on their way to the host's log.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use evbus_abi::v1::{HostV1, LevelV1};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span;
use tracing::{Level, Metadata, Subscriber};

thread_local! {
    /// The host of the instance that this thread works for.
    static CURRENT: RefCell<Option<Arc<HostV1>>> = const { RefCell::new(None) };
}

/// The hosts of the library's instances; those that have ended may still be among them.
static INSTANCES: Mutex<Vec<Weak<HostV1>>> = Mutex::new(Vec::new());

/// Receives lines of calls and threads without an instance.
static LIBRARY: OnceLock<Arc<HostV1>> = OnceLock::new();

/// The most verbose level that any host asked for. `tracing` checks it first, so a client library's trace lines cost
/// almost nothing.
static MOST_VERBOSE: AtomicU8 = AtomicU8::new(0);

/// The provider's [`LOG_CEILINGS`](crate::Provider::LOG_CEILINGS).
static CEILINGS: OnceLock<&[(&str, LevelFilter)]> = OnceLock::new();

/// Sets the ceilings of this library's provider, once.
pub(crate) fn limit(ceilings: &'static [(&'static str, LevelFilter)]) {
    // A second provider in one program occurs only in tests; it gets no bridge.
    let _ = CEILINGS.set(ceilings);
}

/// Sends this library's `tracing` and `log` lines to the host. Does nothing if the plugin is linked into a program
/// that has its own subscriber.
pub(crate) fn install() {
    if tracing::subscriber::set_global_default(Bridge).is_ok() {
        let _ = tracing_log::LogTracer::init();
    }
}

/// Sets the library's own host object; only the first call counts, because a library is attached once.
pub(crate) extern "C" fn attach(host: HostV1) {
    listens_to(host.max_level);
    let _ = LIBRARY.set(Arc::new(host));
}

/// Until the guard is dropped, lines of this thread go to the library's own host object, if there is one.
pub(crate) fn enter_library() -> Option<LogScope> {
    LIBRARY.get().map(|host| scope(Arc::clone(host)))
}

/// Makes the host of a new instance known.
pub(crate) fn add(host: &Arc<HostV1>) {
    let mut instances = INSTANCES.lock().unwrap_or_else(PoisonError::into_inner);
    instances.retain(|host| host.strong_count() > 0);
    instances.push(Arc::downgrade(host));
    drop(instances);
    listens_to(host.max_level);
}

/// The host of lines from threads and tasks without an instance, such as those of client libraries: the only instance,
/// or the library itself, because nobody knows which of several the line is about.
fn host_of_others() -> Option<Arc<HostV1>> {
    let instances = INSTANCES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut living = instances.iter().rev().filter_map(Weak::upgrade);
    let last = living.next();
    let is_only = living.next().is_none();
    drop(living);
    // A program that links its plugins has no host of the library.
    last.filter(|_| is_only || LIBRARY.get().is_none())
        .or_else(|| LIBRARY.get().cloned())
}

/// Records that somebody wants lines of this level.
fn listens_to(level: LevelV1) {
    if MOST_VERBOSE.fetch_max(level.0, Ordering::Relaxed) < level.0 {
        tracing::callsite::rebuild_interest_cache();
    }
}

/// Lines of this thread go to `host` until the guard is dropped.
pub(crate) fn scope(host: Arc<HostV1>) -> LogScope {
    LogScope {
        before: CURRENT.with_borrow_mut(|current| current.replace(host)),
        _stays: PhantomData,
    }
}

/// While this guard lives, log lines of its thread belong to one instance; see
/// [`Context::enter`](crate::Context::enter).
#[derive(Debug)]
pub struct LogScope {
    before: Option<Arc<HostV1>>,
    /// It must be dropped on the thread that created it.
    _stays: PhantomData<*const ()>,
}

impl Drop for LogScope {
    fn drop(&mut self) {
        // The thread-locals may be destroyed already.
        let _ = CURRENT.try_with(|current| *current.borrow_mut() = self.before.take());
    }
}

/// Writes one line to the host of this thread.
pub(crate) fn write(level: LevelV1, target: &str, text: &str) {
    with_host(|host| host.log(level, target, text));
}

fn with_host<R>(call: impl FnOnce(&HostV1) -> R) -> Option<R> {
    let current = CURRENT
        .try_with(|current| current.try_borrow().ok().and_then(|host| host.clone()))
        .ok()
        .flatten();
    Some(call(&*current.or_else(host_of_others)?))
}

fn level(level: Level) -> LevelV1 {
    match level {
        Level::ERROR => LevelV1::ERROR,
        Level::WARN => LevelV1::WARN,
        Level::INFO => LevelV1::INFO,
        Level::DEBUG => LevelV1::DEBUG,
        Level::TRACE => LevelV1::TRACE,
    }
}

/// Whether lines with this target and level may leave the library at all.
fn below_ceiling(metadata: &Metadata<'_>) -> bool {
    let ceilings = CEILINGS.get().copied().unwrap_or_default();
    ceilings
        .iter()
        .filter(|(module, _)| is_within(metadata.target(), module))
        .max_by_key(|(target, _)| target.len())
        .is_none_or(|(_, ceiling)| metadata.level() <= ceiling)
}

/// Whether a target is a module or is inside of it; `a::bc` is not inside of `a::b`.
fn is_within(target: &str, module: &str) -> bool {
    target
        .strip_prefix(module)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Whether it is a line, or a query whether one would be written: that of `tracing::enabled!` is neither an event nor
/// a span.
fn may_be_a_line(metadata: &Metadata<'_>) -> bool {
    !metadata.is_span()
}

/// A subscriber that forwards events and ignores spans.
struct Bridge;

impl Subscriber for Bridge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        may_be_a_line(metadata)
            && below_ceiling(metadata)
            && with_host(|host| level(*metadata.level()) <= host.max_level).unwrap_or(false)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match LevelV1(MOST_VERBOSE.load(Ordering::Relaxed)) {
            LevelV1(0) => LevelFilter::OFF,
            LevelV1::ERROR => LevelFilter::ERROR,
            LevelV1::WARN => LevelFilter::WARN,
            LevelV1::INFO => LevelFilter::INFO,
            LevelV1::DEBUG => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        })
    }

    fn register_callsite(
        &self,
        metadata: &'static Metadata<'static>,
    ) -> tracing::subscriber::Interest {
        // What is enabled depends on the thread's host, so it is checked for every event.
        if may_be_a_line(metadata) {
            tracing::subscriber::Interest::sometimes()
        } else {
            tracing::subscriber::Interest::never()
        }
    }

    fn event(&self, event: &tracing::Event<'_>) {
        use tracing_log::NormalizeEvent as _;

        let mut line = Line::default();
        event.record(&mut line);
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        write(level(*metadata.level()), metadata.target(), &line.finish());
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// The message, then the other fields as `name=value`.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn finish(mut self) -> String {
        self.message.push_str(&self.fields);
        self.message
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            // Copies of the metadata, added by the bridge from the `log` crate.
            name if name.starts_with("log.") => Ok(()),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use evbus_abi::v1::{HostObjectV1, LinkV1};
    use tracing::{enabled, event_enabled, span_enabled};

    use super::*;

    struct Silent;

    impl HostObjectV1 for Silent {
        fn log(&self, _: LevelV1, _: &str, _: &str) {}
        fn link(&self, _: LinkV1, _: &str) {}
    }

    #[test]
    fn what_a_plugin_asks_before_it_makes_a_line_follows_the_level_of_the_thread_s_host() {
        let host = |level| {
            let host = Arc::new(HostV1::new(Silent, level));
            add(&host);
            host
        };
        let answers = || {
            (
                enabled!(target: "librdkafka", Level::WARN),
                enabled!(target: "librdkafka", Level::DEBUG),
                event_enabled!(target: "librdkafka", Level::DEBUG),
            )
        };
        tracing::subscriber::with_default(Bridge, || {
            let _quiet = scope(host(LevelV1::WARN));
            assert_eq!(answers(), (true, false, false));
            {
                let _verbose = scope(host(LevelV1::DEBUG));
                assert_eq!(answers(), (true, true, true));
                assert!(!span_enabled!(Level::ERROR), "no host takes spans");
            }
            assert_eq!(answers(), (true, false, false));
            let _mute = scope(host(LevelV1(0)));
            assert_eq!(answers(), (false, false, false));
        });
    }

    #[test]
    fn a_ceiling_holds_for_its_module_and_what_lies_inside_of_it() {
        for (target, module, expected) in [
            ("lapin", "lapin", true),
            ("lapin::channel", "lapin", true),
            ("lapin::channel", "lapin::channel", true),
            ("lapin::channel::inner", "lapin::channel", true),
            ("lapin::channels", "lapin::channel", false),
            ("lapin_pool", "lapin", false),
        ] {
            assert_eq!(is_within(target, module), expected, "{target} in {module}");
        }
    }
}
