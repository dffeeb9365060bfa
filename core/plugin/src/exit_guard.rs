//! A plugin that calls `exit` does not decide how the process ends.
//!
//! Foreign code can end the process with any exit code, even 0, which would mean that events were
//! delivered. The C library runs the function registered here when `exit` or `quick_exit` is called: if
//! foreign code called it, the function reports that and ends the process with [`EXIT_CODE`]. It cannot
//! catch `_exit`, which runs no functions.
//!
//! A process in which the constructor of a plugin hangs ends here, too: it holds a lock of the dynamic
//! linker that threads need as they go on, and that the C library takes when a process ends.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Once, OnceLock};

use evbus_report::foreign_text;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::loader;

/// The exit code of a process that a plugin ends: an internal error in the terms of sysexits.h.
pub const EXIT_CODE: u8 = 70;

/// Whether the whole process is guarded, not only calls into plugins.
static GUARDED: AtomicBool = AtomicBool::new(false);

/// See [`ExitGuard::before_end`].
static LAST: OnceLock<fn()> = OnceLock::new();

/// Whether this process probes a plugin, so that its exit code is the plugin's.
static PROBING: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// What this thread is doing with which plugin, while it runs foreign code. Has no destructor, so it still exists
    /// when `exit` runs.
    static CALLED: Cell<Option<(&'static str, *const str)>> = const { Cell::new(None) };
}

unsafe extern "C" {
    safe fn on_exit(callback: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
    safe fn at_quick_exit(callback: extern "C" fn()) -> c_int;
    safe fn _exit(code: c_int) -> !;
}

/// Guards the whole process while it exists: no thread may call `exit`. For a program that drops it and
/// then ends by returning from `main`.
#[derive(Debug)]
#[must_use = "the process is guarded as long as this is there"]
pub struct ExitGuard(());

impl ExitGuard {
    /// Begins to guard the process.
    pub fn arm() -> Self {
        register();
        GUARDED.store(true, Ordering::SeqCst);
        Self(())
    }

    /// Calls `last` once before a process that a plugin ends; `last` must return quickly.
    pub fn before_end(last: fn()) {
        // A second caller has nothing of its own to write.
        let _ = LAST.set(last);
    }

    /// Writes a line straight to standard error, if that takes it at once: the thread that writes the log may
    /// hang.
    pub fn say(line: &str) {
        say(line);
    }

    /// Ends the process at once, whatever its threads are doing, without running functions registered
    /// for its end.
    pub fn end_at_once(code: u8) -> ! {
        _exit(c_int::from(code));
    }
}

impl Drop for ExitGuard {
    fn drop(&mut self) {
        GUARDED.store(false, Ordering::SeqCst);
    }
}

/// Runs foreign code on this thread: `doing` what with `plugin`, as in "loading".
pub fn call<T>(doing: &'static str, plugin: &str, code: impl FnOnce() -> T) -> T {
    /// Restores the previous value, however the call ends.
    struct Back(Option<(&'static str, *const str)>);
    impl Drop for Back {
        fn drop(&mut self) {
            CALLED.set(self.0);
        }
    }
    register();
    let _back = Back(CALLED.replace(Some((doing, std::ptr::from_ref(plugin)))));
    code()
}

fn register() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        if on_exit(exiting, std::ptr::null_mut()) != 0 || at_quick_exit(exiting_quickly) != 0 {
            tracing::warn!("a plugin that calls exit can end this process with any exit code");
        }
    });
}

/// From now on, a plugin that calls `exit` ends this process with its own exit code.
pub(crate) fn probing() {
    register();
    PROBING.store(true, Ordering::SeqCst);
}

/// Ends the process because the constructor of `plugin` hangs: it holds a lock of the dynamic linker that every thread
/// needs sooner or later, so that nothing here can continue, not even signal handling.
pub(crate) fn end_hanging(plugin: &str, seconds: u64) -> ! {
    say(&format!(
        "error: plugin {plugin}: its constructor did not return within {seconds} s and blocks the whole process: exiting with status {EXIT_CODE}; remove or fix that plugin"
    ));
    _exit(c_int::from(EXIT_CODE));
}

/// Writes directly to the descriptor, because another thread may hold the lock of standard error forever. If nobody
/// reads it, the line is lost.
pub(crate) fn say(line: &str) {
    const AT_ONCE: usize = 4096;
    let stderr = rustix::stdio::stderr();
    // A plugin's path may contain any character.
    let line = foreign_text::shown(line) + "\n";
    let bytes = line.as_bytes();
    let mut ready = [PollFd::new(&stderr, PollFlags::OUT)];
    // A pipe that is ready accepts this much without blocking.
    if poll(&mut ready, Some(&Timespec::default())).is_ok_and(|ready| ready > 0) {
        let _ = rustix::io::write(stderr, &bytes[..bytes.len().min(AT_ONCE)]);
    }
}

extern "C" fn exiting(code: c_int, _: *mut c_void) {
    if PROBING.load(Ordering::SeqCst) {
        _exit(code);
    }
    refuse_foreign();
    if loader::is_at_work() {
        _exit(code);
    }
}

extern "C" fn exiting_quickly() {
    refuse_foreign();
}

/// Ends the process with this program's exit code if foreign code called `exit`.
fn refuse_foreign() {
    let called = CALLED.get();
    if called.is_none() && !GUARDED.load(Ordering::SeqCst) {
        return;
    }
    let who = match called {
        Some((doing, plugin)) => {
            // SAFETY: `call` borrows the text until it removes the pointer, and `exit` was called
            // by what runs inside of it, on this thread.
            let plugin = unsafe { &*plugin };
            format!("plugin {plugin} called exit while {doing}")
        }
        None => "a plugin called exit".to_owned(),
    };
    let line = format!("error: {who}: exiting with status {EXIT_CODE}; remove or fix that plugin");
    if let Some(last) = LAST.get() {
        last();
    }
    say(&line);
    _exit(c_int::from(EXIT_CODE));
}
