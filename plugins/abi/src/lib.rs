//! The frozen contract between the evbus host and its plugins.
//!
//! A plugin is a shared library that exports one symbol, [`SYMBOL_V1`], says in a section of its own who
//! it is ([`Manifest`]), and depends on nothing of the host. This crate holds every type that crosses, nothing else, and depends on `abi_stable`
//! alone, which describes each type's layout so that the host can compare it before it calls
//! anything. `docs/ABI.md` is the contract in words: owners, threads, what may block, and how a v2
//! will come beside v1.
//!
//! Plugin authors use `evbus-sdk`, which wraps all of this in safe traits; the host uses it through
//! its plugin module. Everything named `…V1` is frozen from release 0.1.0 on: no field, variant or
//! function is ever added to it, removed from it or moved in it.
//!
//! This is one of the three places of the workspace where unsafe code is allowed: the glue between
//! a Rust value and its `extern "C"` function table is written here once, so that neither side
//! needs to write it again.
#![allow(unsafe_code)]
// The derive macros of abi_stable generate items and lifetimes that these lints report.
#![allow(
    elided_lifetimes_in_paths,
    clippy::used_underscore_binding,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::borrow_as_ptr,
    clippy::expl_impl_clone_on_copy,
    clippy::needless_lifetimes
)]

mod header;
mod manifest;
pub mod v1;

pub use abi_stable::library::AbiHeaderRef;
pub use abi_stable::prefix_type::PrefixTypeTrait;
pub use abi_stable::std_types::{
    RErr, RNone, ROk, ROption, RResult, RSlice, RSome, RStr, RString, RVec,
};
pub use header::{ABI_VERSION, OpenError, SYMBOL_PREFIX, SYMBOL_V1, open_v1};
pub use manifest::{MANIFEST_ABI, MANIFEST_FORMAT, MANIFEST_MAX_BYTES, MANIFEST_SECTION, Manifest};

/// What the export macros of the SDK expand to needs these; not part of the contract.
#[doc(hidden)]
pub mod __private {
    pub use abi_stable::library::{
        __call_root_module_loader, CheckTypeLayout, LibHeader, RootModuleResult,
    };
}
