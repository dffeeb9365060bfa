//! Opens a library with the dynamic linker and finds the one symbol of a plugin in it.

use std::error::Error as _;
use std::ffi::CString;
use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use evbus_abi::v1::PluginV1Ref;
use evbus_abi::{AbiHeaderRef, SYMBOL_V1, open_v1};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use parking_lot::Mutex;

use super::elf;
use super::image::Image;
use evbus_report::foreign_text;

/// The linker's message is truncated to this length.
const MAX_WORDS_BYTES: usize = 1024;

/// The descriptors of everything that was opened. The linker identifies a library by its path: if a descriptor was
/// closed, its number could name another file, and opening that would return the old library.
static OPENED: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// Whether a library's constructors are running.
static IS_OPENING: AtomicBool = AtomicBool::new(false);

/// Whether a library's constructors are running. Meanwhile the linker's lock is held, and glibc takes it when a thread
/// first uses a thread-local with a destructor, so the caller must not use one.
pub(crate) fn is_opening() -> bool {
    IS_OPENING.load(Ordering::SeqCst)
}

/// Opens a library that can no longer change, and checks its types. It is never unloaded. Runs its constructors, and
/// blocks until they return. Returns another descriptor of it: the one named by its path stays open.
pub(crate) fn open(image: Image) -> Result<(PluginV1Ref, File), String> {
    let another =
        (image.file.try_clone()).map_err(|error| format!("it cannot be opened: {error}"))?;
    IS_OPENING.store(true, Ordering::SeqCst);
    // SAFETY: opening runs the library's constructors. The file is a plugin by its symbol, written
    // by nobody but the host's user or root; trusting such files is what a plugin directory means.
    let opened = unsafe { Library::open(Some(&image.path), RTLD_NOW | RTLD_LOCAL) };
    IS_OPENING.store(false, Ordering::SeqCst);
    let library = opened.map_err(|error| refused(&error, &image.path))?;
    OPENED.lock().push(image.file);
    // Symbol names are constants without NUL bytes, so this cannot fail.
    let symbol = CString::new(SYMBOL_V1).unwrap_or_default();
    // SAFETY: a symbol of this name is a static `LibHeader` of abi_stable by the contract, whose
    // first field is what `AbiHeaderRef` points to; it checks a magic string before anything else.
    let header = unsafe { library.get::<AbiHeaderRef>(symbol.as_bytes_with_nul()) }
        .map(|symbol| *symbol)
        .map_err(|_| format!("the dynamic linker did not find {SYMBOL_V1} in it"));
    // Never unloaded: threads and function pointers of the plugin live on.
    std::mem::forget(library);
    let module = open_v1(header?).map_err(|error| {
        let detail = foreign_text::line(&error.detail, foreign_text::MAX_BYTES);
        tracing::debug!(%detail, "plugin header refused");
        foreign_text::line(&error.sentence, MAX_WORDS_BYTES).into_owned()
    })?;
    Ok((module, another))
}

/// The linker's message, which is the source of the error.
fn refused(error: &libloading::Error, path: &Path) -> String {
    let words = (error.source()).map_or_else(|| error.to_string(), ToString::to_string);
    let words = words.replace(&*path.to_string_lossy(), "it");
    let words = foreign_text::line(&words, MAX_WORDS_BYTES);
    let beside = fs::read(path).is_ok_and(|bytes| elf::looks_beside_itself(&bytes));
    let advice = if beside {
        "it searches for libraries beside itself ($ORIGIN), but a copy of it is loaded from another place; link them statically, or add their directory to LD_LIBRARY_PATH"
    } else if words.contains("static TLS block") {
        "build the libraries it links, such as its allocator, without initial-exec thread-local variables"
    } else {
        "link its libraries statically, or install them"
    };
    format!("the dynamic linker cannot load it ({words}); {advice}")
}
