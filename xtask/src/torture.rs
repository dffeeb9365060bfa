//! `cargo xtask torture` and `cargo xtask check-delivery`: the tests of delivery that go by a seed,
//! for as long as one likes.

use crate::cargo;
use crate::failure::Failure;

/// A test with settings in its environment.
struct Seeded {
    command: &'static str,
    /// The test program.
    test: &'static str,
    /// Flags, the variables in which the test finds their values, and the default values.
    flags: &'static [(&'static str, &'static str, u64)],
}

const TORTURE: Seeded = Seeded {
    command: "torture",
    test: "torture",
    flags: &[
        ("--runs", "EVBUS_TORTURE_RUNS", 200),
        ("--seed", "EVBUS_TORTURE_SEED", 1),
    ],
};

const CHECK_DELIVERY: Seeded = Seeded {
    command: "check-delivery",
    test: "delivery_check",
    flags: &[
        ("--seeds", "EVBUS_CHECK_SEEDS", 50),
        ("--seed", "EVBUS_CHECK_SEED", 1),
        ("--events", "EVBUS_CHECK_EVENTS", 100_000),
    ],
};

/// Tortures hosts, beginning with a seed.
pub(crate) fn torture(args: &[String]) -> Result<(), Failure> {
    TORTURE.run(args)
}

/// Compares what programs are told with what arrives, beginning with a seed.
pub(crate) fn check_delivery(args: &[String]) -> Result<(), Failure> {
    CHECK_DELIVERY.run(args)
}

impl Seeded {
    fn run(&self, args: &[String]) -> Result<(), Failure> {
        let values = self.read(args)?;
        let mut environment: Vec<(&str, String)> = (self.flags.iter().zip(values))
            .map(|((_, variable, _), value)| (*variable, value.to_string()))
            .collect();
        // The release build is what must hold, and it is faster.
        let program = cargo::release_program("evbus")?;
        environment.push(("EVBUS_PROGRAM", program.display().to_string()));
        cargo::run_with(
            &[
                "test",
                "--workspace",
                "--test",
                self.test,
                "--",
                "--nocapture",
            ],
            &environment,
        )
    }

    /// The flags' values, in the order of `flags`.
    fn read(&self, args: &[String]) -> Result<Vec<u64>, Failure> {
        let mut values: Vec<u64> = self.flags.iter().map(|(_, _, default)| *default).collect();
        let mut args = args.iter();
        while let Some(given) = args.next() {
            let Some(at) = self.flags.iter().position(|(flag, _, _)| flag == given) else {
                let known: Vec<String> = (self.flags.iter())
                    .map(|(flag, _, _)| format!("{flag} N"))
                    .collect();
                return Err(Failure::Usage(format!(
                    "`{}` takes {}, but was given `{given}`",
                    self.command,
                    known.join(", ")
                )));
            };
            let text = args.next();
            values[at] = text.and_then(|text| text.parse().ok()).ok_or_else(|| {
                Failure::Usage(format!(
                    "{given} takes a whole number; expected `{given} 50`"
                ))
            })?;
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> Result<Vec<u64>, Failure> {
        let args: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        TORTURE.read(&args)
    }

    #[test]
    fn runs_and_seed_are_read_and_nothing_else_is() {
        assert!(matches!(given("").as_deref(), Ok([200, 1])));
        assert!(matches!(given("--seed 7 --runs 3").as_deref(), Ok([3, 7])));
        for wrong in ["--runs", "--runs many", "--seeds 1", "5"] {
            assert!(matches!(given(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }
}
