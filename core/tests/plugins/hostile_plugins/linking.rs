//! Plugin files that the dynamic linker refuses: the message says how to build them.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::refused;
use crate::support::stderr;

/// Compiles a C library with a function that identifies it, this further source, and these linker flags.
fn c_library(dir: &Path, name: &str, more: &str, flags: &[&str]) {
    let source = dir.join("library.c");
    let manifest = r#"{"manifest":1,"abi":"1.0","id":"c","version":"1.0.0","providers":["c"]}"#;
    fs::write(
        &source,
        format!(
            "const char evbus_plugin_v1[512];\n__attribute__((section(\".evbus_plugin\"), used)) const char evbus_plugin_manifest[] = {manifest:?};\n{more}\n"
        ),
    )
    .unwrap();
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(dir.join(name))
        .arg(&source)
        .args(flags)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn a_plugin_that_looks_for_libraries_beside_itself_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    c_library(dir.path(), "libbeside.so", "", &[]);
    let directory = format!("-L{}", dir.path().display());
    let flags = [
        &*directory,
        "-Wl,--no-as-needed",
        "-lbeside",
        "-Wl,-rpath,$ORIGIN",
    ];
    c_library(dir.path(), "needs.so", "", &flags);
    let said = refused(&dir.path().join("needs.so"));
    for sentence in [
        "libbeside.so: cannot open shared object file",
        "it searches for libraries beside itself ($ORIGIN), but a copy of it is loaded",
    ] {
        assert!(said.contains(sentence), "{sentence}: {said}");
    }
}

#[test]
fn a_plugin_that_needs_room_in_the_static_block_for_thread_locals_is_refused_in_the_linkers_words()
{
    let dir = tempfile::tempdir().unwrap();
    // As allocators have them, and larger than the linker's reserve for files opened later.
    let locals = "__thread char heap[65536] __attribute__((tls_model(\"initial-exec\")));
        char *of_this_thread(void) { return heap; }";
    c_library(dir.path(), "static.so", locals, &[]);
    let said = refused(&dir.path().join("static.so"));
    let sentence = "cannot allocate memory in static TLS block); build the libraries it links, such as its allocator, without initial-exec thread-local variables";
    assert!(said.contains(sentence), "{said}");
}
