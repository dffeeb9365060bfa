//! `cargo xtask torture`: the torture test of delivery, for as long as one likes.

use crate::cargo;
use crate::failure::Failure;

/// How many runs without `--runs`.
const RUNS: u64 = 200;

/// Runs it, from a seed on.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let (runs, seed) = read(args)?;
    cargo::run_with(
        &[
            "test",
            "--package",
            "evbus",
            "--test",
            "torture",
            "--",
            "--nocapture",
        ],
        &[
            ("EVBUS_TORTURE_RUNS", runs.to_string()),
            ("EVBUS_TORTURE_SEED", seed.to_string()),
        ],
    )
}

/// How many runs, and the first seed.
fn read(args: &[String]) -> Result<(u64, u64), Failure> {
    let (mut runs, mut seed) = (RUNS, 1);
    let mut args = args.iter();
    while let Some(flag) = args.next() {
        let value = match flag.as_str() {
            "--runs" => &mut runs,
            "--seed" => &mut seed,
            other => {
                return Err(Failure::Usage(format!(
                    "`torture` takes --runs N and --seed N, but was given `{other}`"
                )));
            }
        };
        let text = args.next();
        *value = text.and_then(|text| text.parse().ok()).ok_or_else(|| {
            Failure::Usage(format!("{flag} takes a whole number; expected `{flag} 50`"))
        })?;
    }
    Ok((runs, seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> Result<(u64, u64), Failure> {
        let args: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        read(&args)
    }

    #[test]
    fn runs_and_seed_are_read_and_nothing_else_is() {
        assert!(matches!(given(""), Ok((RUNS, 1))));
        assert!(matches!(given("--seed 7 --runs 3"), Ok((3, 7))));
        for wrong in ["--runs", "--runs many", "--seeds 1", "5"] {
            assert!(matches!(given(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }
}
