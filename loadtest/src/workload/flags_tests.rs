//! Flags as they are typed, and what they make of a workload.

use clap::{CommandFactory, Parser};

use super::*;
use crate::workload::{file, named};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    flags: WorkloadFlags,
}

fn apply(name: &str, line: &str) -> std::result::Result<Workload, String> {
    let words = std::iter::once("loadtest").chain(line.split_whitespace());
    let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
    let mut workload = named::find(name).unwrap();
    line.flags.apply(&mut workload).map_err(|failure| failure.to_string())?;
    Ok(workload)
}

#[test]
fn every_field_has_its_flag_and_every_flag_its_field() {
    let command = Line::command();
    let flags: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    for field in schema::FIELDS {
        if let Some(flag) = field.flag {
            assert!(flags.contains(&flag), "--{flag} of {}", field.path);
        }
    }
    for flag in flags.iter().filter(|flag| **flag != "help") {
        let known = schema::FIELDS.iter().any(|field| field.flag == Some(flag));
        assert!(known, "--{flag} sets no field");
    }
    command.debug_assert();
}

/// What a message says must be is what the help says may be.
#[test]
fn the_help_of_a_flag_names_the_limits_of_its_field() {
    let command = Line::command();
    for argument in command.get_arguments().filter(|argument| argument.get_id() != "help") {
        let help = argument.get_help().unwrap().to_string();
        let of_flag = |field: &&schema::Field| field.flag == argument.get_long();
        let field = schema::FIELDS.iter().find(of_flag).unwrap();
        let limits = field.limits.split([';']).next().unwrap().split(", ").next().unwrap();
        if limits.starts_with(|first: char| first.is_ascii_digit()) && limits.contains(" to ") {
            let named = help.contains(limits) || field.path == "time.ramp";
            assert!(named, "{}: `{limits}` not in `{help}`", field.path);
        }
    }
}

#[test]
fn without_flags_nothing_changes() {
    for workload in named::all() {
        assert_eq!(apply(&workload.name, "").unwrap(), workload);
    }
}

/// The same workload from flags and from a file.
#[test]
fn each_flag_sets_its_field_alone() {
    for (flags, file) in [
        ("--seed 7", "seed = 7"),
        ("-c 10", "load.connections = 10"),
        ("--depth 3", "load.depth = 3"),
        ("-t 2", "load.threads = 2"),
        ("--http 2", "load.http = \"2\""),
        ("--http 1.1", ""),
        ("--rate 1500.5", "load.rate = 1500.5"),
        ("--rate none", ""),
        ("--arrivals uniform", "load.arrivals = \"uniform\""),
        ("--timeout 250ms", "load.timeout = \"250ms\""),
        ("--warm-up 1m30s", "time.warm_up = 90"),
        ("--duration 0.5", "time.duration = \"500ms\""),
        ("--ramp 1s", "time.ramp = 1"),
        ("--population 5", "keys.population = 5"),
        ("--popularity latest", "keys.popularity = \"latest\""),
        ("--exponent 2", "keys.exponent = 2"),
        ("--payload-size 2KiB", "payload.size = 2048"),
        ("--payload-file a.jsonl", "payload.file = \"a.jsonl\""),
        ("--ttl 1h", "ttl.fixed = \"1h\""),
        ("--ttl 1m..1h", "ttl.uniform = { min = \"1m\", max = \"1h\" }"),
        ("--ttl exponential:5", "ttl.exponential.mean = 5"),
        ("--mix issue=2,miss=0.5", "mix.issue = 2\nmix.miss = 0.5\nmix.resolve = 0"),
        ("--batch-size 9", "mix.batch_size = 9"),
        ("--rivals 9", "mix.rivals = 9"),
        ("--slo p50=1ms --slo max=1s", "objectives = [\"p50=1ms\", \"max=1s\"]"),
    ] {
        let words = std::iter::once("loadtest").chain(flags.split_whitespace());
        let given = Line::try_parse_from(words).unwrap().flags;
        let begin = "name = \"x\"\nmix.resolve = 1\n";
        let mut workload = file::parse("x.toml".as_ref(), begin).unwrap();
        given.apply(&mut workload).unwrap();
        let without_default = if file.contains("mix.resolve") { "name = \"x\"\n" } else { begin };
        let expected = file::parse("x.toml".as_ref(), &format!("{without_default}{file}")).unwrap();
        assert_eq!(workload, expected, "{flags}");
    }
}

#[test]
fn a_flag_takes_back_what_the_workload_says() {
    assert_eq!(apply("checkout", "--rate none").unwrap().load.rate, None);
    let mix = apply("checkout", "--mix resolve=1").unwrap().mix;
    assert!(Operation::ALL.iter().all(|&operation| {
        mix.weight(operation) == f64::from(u8::from(operation == Operation::Resolve))
    }));
    let mut workload = named::find("resolve").unwrap();
    workload.payload.file = Some("orders.jsonl".into());
    let flags = WorkloadFlags { payload_size: Some(ByteSize(64)), ..WorkloadFlags::default() };
    flags.apply(&mut workload).unwrap();
    assert_eq!((workload.payload.size, workload.payload.file), (ByteSize(64), None));
}

#[test]
fn what_makes_no_sense_names_its_flag_and_limits() {
    for (flags, expected) in [
        ("--connections 0", "--connections (load.connections): is 0, must be 1 to 100,000"),
        ("--rate 0", "--rate (load.rate): is 0, must be 0.1 to 10,000,000"),
        ("--rate NaN", "--rate (load.rate): is NaN, must be"),
        ("--ramp 1h", "--ramp (time.ramp): is 1h, must be 0s to time.warm_up, 2s"),
        ("--ttl 2h..1h", "--ttl (ttl.uniform.max): is 1h, must be at least ttl.uniform.min, 2h"),
        ("--mix issue=-1", "--mix (mix.issue): is -1, must be a weight, 0 to 1e12"),
        ("--mix issue=0", "--mix (mix): asks for nothing"),
        ("--mix replay=1", "--mix (mix.replay): needs mix.consume above 0"),
        ("--rivals 8 -c 4", "--rivals (mix.rivals): is 8, but only 4 requests are under way"),
        ("-c 100000 --depth 100", "--depth (load.depth): is 100, which makes 10000000"),
        ("--payload-size 31", "--payload-size (payload.size): is 31, must be 32 to 1MiB"),
        ("--exponent 0", "--exponent (keys.exponent): is 0, must be above 0, at most 5"),
        ("--slo p99=0s", "--slo (objectives[0]): is p99=0s, must be"),
    ] {
        let failure = apply("resolve", flags).unwrap_err();
        assert!(failure.starts_with(expected), "{flags}: {failure}");
    }
    let failure = apply("resolve", "--depth 0 --population 0").unwrap_err();
    assert_eq!(failure.lines().count(), 2, "{failure}");
}

#[test]
fn what_can_not_be_read_says_what_could() {
    for (flags, expected) in [
        ("--http 3", "`3` is unknown; there are 1.1, 2"),
        ("--popularity zpif", "did you mean `zipf`?"),
        ("--mix resolv=1", "did you mean `resolve`?"),
        ("--mix resolve", "`resolve` is not like resolve=90"),
        ("--mix resolve=x", "`x` is not a number"),
        ("--mix resolve=1,resolve=2", "`resolve` stands there twice"),
        ("--rate fast", "not a number of requests a second"),
        ("--ttl soon", "`soon` is not a duration"),
        ("--slo 2ms", "`2ms` is not like p99=2ms"),
        ("--payload-size 1 --payload-file a", "cannot be used with"),
    ] {
        let failure = apply("resolve", flags).unwrap_err();
        assert!(failure.contains(expected), "{flags}: {failure}");
    }
}
