//! One-shot answers.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use abi_stable::StableAbi;

/// A one-shot answer to a call that returned before its work was done.
///
/// Made by the side that asks, used by the side that answers: exactly once, from any thread, never
/// blocking. Dropping it unanswered is an answer too (the asker learns that none will come; for a
/// batch that means retry).
#[repr(C)]
#[derive(StableAbi)]
pub struct CompletionV1<T> {
    state: *mut c_void,
    complete: unsafe extern "C" fn(*mut c_void, T),
    abandon: unsafe extern "C" fn(*mut c_void),
}

// SAFETY: the closure inside is `Send` (bound of `new`) and is used by one holder only.
unsafe impl<T> Send for CompletionV1<T> {}
// SAFETY: a shared reference allows no operation at all.
unsafe impl<T> Sync for CompletionV1<T> {}

impl<T> CompletionV1<T> {
    /// Wraps a closure, which gets the answer, or `None` when the completion was dropped.
    ///
    /// The closure runs on the answering side's thread, must not block, and is contained if it
    /// panics.
    pub fn new<F>(answer: F) -> Self
    where
        F: FnOnce(Option<T>) + Send + 'static,
    {
        unsafe extern "C" fn complete<T, F: FnOnce(Option<T>)>(state: *mut c_void, value: T) {
            // SAFETY: `state` came from `Box::into_raw` in `new` for this very `F`; `complete` and
            // `abandon` are called once between them.
            let answer = unsafe { Box::from_raw(state.cast::<F>()) };
            // A panic must not unwind across the border; only the answer is lost.
            let _ = catch_unwind(AssertUnwindSafe(move || answer(Some(value))));
        }
        unsafe extern "C" fn abandon<T, F: FnOnce(Option<T>)>(state: *mut c_void) {
            // SAFETY: as in `complete`.
            let answer = unsafe { Box::from_raw(state.cast::<F>()) };
            let _ = catch_unwind(AssertUnwindSafe(move || answer(None)));
        }

        Self {
            state: Box::into_raw(Box::new(answer)).cast(),
            complete: complete::<T, F>,
            abandon: abandon::<T, F>,
        }
    }

    /// Gives the answer.
    pub fn complete(self, value: T) {
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `complete` belongs to `state`; `self` is consumed and its drop suppressed, so
        // this is the only call.
        unsafe { (this.complete)(this.state, value) }
    }
}

impl<T> Drop for CompletionV1<T> {
    fn drop(&mut self) {
        // SAFETY: `abandon` belongs to `state`; `complete` suppresses this drop, so this is the
        // only call.
        unsafe { (self.abandon)(self.state) }
    }
}

impl<T> std::fmt::Debug for CompletionV1<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CompletionV1")
    }
}
