//! `cargo xtask bench`: the benchmarks, which start the brokers and peers they need themselves.

use xtask::system::{self, Need};

use crate::cargo;
use crate::failure::Failure;

/// A benchmark of the host.
#[derive(Debug, PartialEq)]
struct Bench {
    /// The name of its target.
    name: &'static str,
    /// System programs that it needs besides compilers.
    needs: &'static [&'static [Need]],
}

static BENCHES: [Bench; 4] = [
    Bench {
        name: "bus",
        needs: &[],
    },
    Bench {
        name: "store",
        needs: &[],
    },
    Bench {
        name: "templates",
        needs: &[],
    },
    Bench {
        name: "peers",
        needs: &[system::BROKERS, system::PYTHON],
    },
];

/// Runs the named benchmarks, or all, one after the other; what follows `--` goes to each.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let mut parts = args.splitn(2, |arg| arg == "--");
    let names = parts.next().unwrap_or_default();
    let passed_on = parts.next().unwrap_or_default();
    for bench in choose(names)? {
        let needs: Vec<Need> = [&[system::BUILD], bench.needs].concat().concat();
        system::ensure(&needs)?;
        let mut command = vec!["bench", "--workspace", "--bench", bench.name, "--"];
        command.extend(passed_on.iter().map(String::as_str));
        cargo::run(&command)?;
    }
    Ok(())
}

fn choose(names: &[String]) -> Result<Vec<&'static Bench>, Failure> {
    if names.is_empty() {
        return Ok(BENCHES.iter().collect());
    }
    names
        .iter()
        .map(|wanted| {
            BENCHES
                .iter()
                .find(|bench| bench.name == wanted)
                .ok_or_else(|| {
                    let known: Vec<_> = BENCHES.iter().map(|bench| bench.name).collect();
                    Failure::Usage(format!(
                        "there is no benchmark `{wanted}`; expected one of {}",
                        known.join(", ")
                    ))
                })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &[&str], expected: &[&str]) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let chosen = choose(&names).expect("all are known");
        let chosen: Vec<_> = chosen.iter().map(|bench| bench.name).collect();
        assert_eq!(chosen, expected);
    }

    #[test]
    fn without_a_name_all_benchmarks_run() {
        check(&[], &["bus", "store", "templates", "peers"]);
        check(&["peers"], &["peers"]);
    }

    #[test]
    fn an_unknown_benchmark_is_refused_with_the_known_ones() {
        let Err(Failure::Usage(why)) = choose(&["disk".to_owned()]) else {
            panic!("expected wrong use");
        };
        assert_eq!(
            why,
            "there is no benchmark `disk`; expected one of bus, store, templates, peers"
        );
    }
}
