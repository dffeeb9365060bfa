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

/// The linker's words are cut after so much.
const MAX_WORDS_BYTES: usize = 1024;

/// The descriptors of all that was opened. The linker knows a library by its path: were one closed, its
/// number would name another file, and whoever opened that would get the old library.
static OPENED: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A library's constructors run.
static IS_OPENING: AtomicBool = AtomicBool::new(false);

/// Whether a library's constructors run now. Meanwhile the linker's lock is held, and glibc takes it
/// wherever a thread uses a thread-local with a destructor for the first time: whoever looks must use
/// none.
pub(crate) fn is_opening() -> bool {
    IS_OPENING.load(Ordering::SeqCst)
}

/// Opens a library that nobody changes any more, and checks its types. It is never unloaded. Runs its
/// constructors, and blocks for that. Gives another descriptor of it: the one that its path names stays open.
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

/// What the linker says, which is behind what the error itself says.
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
