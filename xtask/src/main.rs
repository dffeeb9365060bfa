//! `cargo xtask`: the one front door to building, trying and checking the project.

mod bench;
mod cargo;
mod demo;
mod failure;
mod fuzz;
mod interrupt;
mod setup;
mod stage;
mod test;
mod tidy;
mod torture;
mod workspace;

use std::io::{self, Write as _};
use std::process::ExitCode;

use failure::Failure;

const HELP: &str = "\
The one front door to building, trying and checking evbus.

Usage: cargo xtask COMMAND

Commands:
  demo                        build the host and three plugins, fire recorded Idem events at five
                              destinations, show what arrives, and compare
  test [ARGS...]              install what the tests need, build the plugins, fuzz for some seconds,
                              run every test; ARGS go to cargo test, and with any nothing is fuzzed
  stage [--release] [PLUGIN...]
                              build plugins (all, or those named) and put them into target/plugins
  bench [NAME...] [-- ARGS...]
                              run benchmarks: bus, store, templates, peers (all without a name);
                              peers runs rsyslog, syslog-ng, NATS, real Salt publishers and bare loops
                              beside the host, and takes --quick and names of workloads
  brokers up|down             start or end a RabbitMQ and a Kafka for trying things by hand
  torture [--runs N] [--seed N]
                              kill, damage and reload hosts under load, and look for lost events;
                              200 runs if N is not given
  check-delivery [--seeds N] [--seed N] [--events N]
                              fire events from 8 processes at destinations of every policy through
                              kills, ends and reloads, and compare what each was told with what
                              arrived; 50 seeds of 100000 events if not given
  fuzz [TARGET...] [--seconds N] [--keep]
                              give what reads from the sockets inputs that libFuzzer makes; TARGET is
                              frames or pull, both if none is given, 300 seconds each if N is not;
                              --keep adds what reached more to core/fuzz/corpus
  setup                       install what builds and tests need from the system, and fetch Kafka,
                              Salt, Idem and what the benchmarks run beside the host
  tidy [--bless-abi]          check the rules that no compiler checks; --bless-abi notes in
                              docs/ABI.md that it describes the contract as it is now
  help                        this text

Exit codes: 0 done; 1 something failed; 2 wrong use; 130 interrupted.
";

fn main() -> ExitCode {
    let args: Vec<String> = match std::env::args_os()
        .skip(1)
        .map(std::ffi::OsString::into_string)
        .collect()
    {
        Ok(args) => args,
        Err(odd) => {
            let odd = odd.display();
            let why = format!("the argument {odd} is not UTF-8; expected text");
            return Failure::Usage(why).report();
        }
    };
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn dispatch(args: &[String]) -> Result<(), Failure> {
    let Some((command, rest)) = args.split_first() else {
        return Err(Failure::Usage(
            "no command was given; `cargo xtask help` lists them".to_owned(),
        ));
    };
    let asks_for_help = rest.first().is_some_and(|arg| is_help(arg));
    if is_help(command) || asks_for_help {
        return io::stdout()
            .write_all(HELP.as_bytes())
            .map_err(Failure::io("write to standard output"));
    }
    match command.as_str() {
        "demo" => none_left(command, rest).and_then(|()| demo::run()),
        "test" => test::run(rest),
        "stage" => stage::run(rest),
        "bench" => bench::run(rest),
        "brokers" => setup::brokers(rest),
        "torture" => torture::torture(rest),
        "check-delivery" => torture::check_delivery(rest),
        "fuzz" => fuzz::run(rest),
        "setup" => none_left(command, rest).and_then(|()| setup::run()),
        "tidy" => tidy::run(rest),
        other => Err(Failure::Usage(format!(
            "there is no command `{other}`; `cargo xtask help` lists them"
        ))),
    }
}

fn is_help(arg: &str) -> bool {
    matches!(arg, "help" | "--help" | "-h")
}

fn none_left(command: &str, rest: &[String]) -> Result<(), Failure> {
    match rest.first() {
        None => Ok(()),
        Some(arg) => Err(Failure::Usage(format!(
            "`{command}` takes no arguments, but was given `{arg}`"
        ))),
    }
}
