//! Files as they are in use, with Idem's result for each.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::AcctSource;

#[test]
fn what_idem_reads_is_read_the_same_and_what_it_refuses_is_refused() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/acct_yaml");
    let mut files = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "yml") {
            continue;
        }
        files += 1;
        let expected = fs::read(file.with_extension("expected.json")).unwrap();
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        let found = AcctSource::new(&file).document();
        if expected.get("refuses").is_some() {
            assert!(found.is_err(), "{}", file.display());
            continue;
        }
        let found = found.unwrap();
        let found: Value = serde_json::from_slice(&found.to_json().unwrap()).unwrap();
        assert_eq!(found, expected["reads"], "{}", file.display());
    }
    assert_eq!(files, 16);
}
