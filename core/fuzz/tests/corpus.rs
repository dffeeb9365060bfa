//! Replays every stored input with an ordinary build.

use std::fs;
use std::path::Path;

use evbus_fuzz::pull::Bench;
use evbus_fuzz::{expressions, frames};

/// Passes every stored input of a target to a check, on a thread with enough stack for the deepest: unlike the host,
/// the model reads recursively.
fn replay(target: &str, check: impl FnMut(&[u8]) + Send) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let listing = fs::read_dir(&dir).expect("the corpus is in the checkout");
    let inputs: Vec<Vec<u8>> = listing
        .map(|entry| fs::read(entry.expect("it is listed").path()).expect("it can be read"))
        .collect();
    assert!(inputs.len() > 20, "only {} inputs are kept", inputs.len());
    std::thread::scope(|scope| {
        let replayed = std::thread::Builder::new()
            .stack_size(32 * 1024 * 1024)
            .spawn_scoped(scope, || inputs.iter().map(Vec::as_slice).for_each(check))
            .expect("there is room for a thread")
            .join();
        if let Err(panic) = replayed {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn expressions_keep_their_promises_for_the_kept_inputs() {
    replay("expressions", expressions::check);
}

#[test]
fn the_decoder_keeps_its_promises_for_the_kept_inputs() {
    replay("frames", frames::check);
}

#[test]
fn a_host_keeps_its_promises_for_the_kept_inputs() {
    let mut bench = Bench::start();
    replay("pull", |input| bench.check(input));
}
