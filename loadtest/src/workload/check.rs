//! The limits of a workload: the same whether it came from a file, a name or flags.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Connect, Load, Mix, Objective, Operation, TTL_MAX, Time, Ttl, Workload, schema};
use crate::quantity::{ByteSize, Span};

/// One thing about a workload that makes no sense.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Dotted, such as `keys.population`.
    pub field: String,
    /// Other fields that it hangs on; where one of them is itself wrong, this may be no problem.
    pub hangs_on: &'static [&'static str],
    /// What is wrong, with the limits.
    pub problem: String,
}

const MS: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(86_400);
/// A tenth of a request to more than a machine can make.
pub(super) const RATE: RangeInclusive<f64> = 0.1..=10_000_000.0;
/// The most requests under way over all connections: each takes memory in the harness.
const OUTSTANDING_MAX: usize = 1_000_000;

impl Workload {
    /// Everything that makes no sense about it, in the order of a file; empty where all is well.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Problems(Vec::new());
        problems.names(self);
        problems.load(&self.load);
        problems.time(&self.time);
        problems.within("keys.population", self.keys.population, 1..=100_000_000);
        let exponent = self.keys.exponent;
        problems.unless(exponent > 0.0 && exponent <= 5.0, "keys.exponent", exponent);
        problems.within("payload.size", self.payload.size, ByteSize(32)..=ByteSize(1 << 20));
        let file = self.payload.file.as_deref();
        problems.unless(file.is_none_or(|path| path != ""), "payload.file", "an empty path");
        problems.ttl(&self.ttl);
        problems.mix(&self.mix, &self.load);
        problems.objectives(&self.objectives);
        problems.0
    }
}

struct Problems(Vec<Problem>);

impl Problems {
    /// Notes that a field is not what the schema says it may be.
    fn unless(&mut self, holds: bool, field: &str, value: impl Display) {
        if !holds {
            let limits = schema::find(field).map_or("", |field| field.limits);
            self.note(field, &[], format!("is {value}, must be {limits}"));
        }
    }

    fn within<T: Display + PartialOrd>(
        &mut self,
        field: &str,
        value: T,
        limits: RangeInclusive<T>,
    ) {
        self.unless(limits.contains(&value), field, value);
    }

    fn span(&mut self, field: &str, value: Span, limits: RangeInclusive<Duration>) {
        self.unless(limits.contains(&value.0), field, value);
    }

    /// But not where what it hangs on is wrong itself.
    fn note(&mut self, field: &str, hangs_on: &'static [&'static str], problem: String) {
        let is_cause = |cause: &Problem| {
            cause.field == field || hangs_on.iter().any(|&field| cause.field == field)
        };
        if !hangs_on.is_empty() && self.0.iter().any(is_cause) {
            return;
        }
        self.0.push(Problem { field: field.to_owned(), hangs_on, problem });
    }

    fn names(&mut self, workload: &Workload) {
        let fits = |text: &str, least, most| {
            (least..=most).contains(&text.chars().count()) && !text.contains(char::is_control)
        };
        let quoted = |text: &str| format!("{text:?}");
        self.unless(fits(&workload.name, 1, 64), "name", quoted(&workload.name));
        let description = &workload.description;
        self.unless(fits(description, 0, 200), "description", quoted(description));
    }

    fn load(&mut self, load: &Load) {
        self.within("load.connections", load.connections, 1..=100_000);
        self.within("load.depth", load.depth, 1..=1_000);
        self.within("load.threads", load.threads, 1..=64);
        if load.connections < load.threads {
            let problem = format!(
                "is {}, must be at least load.threads, {}: each thread has its own",
                load.connections, load.threads
            );
            self.note("load.connections", &["load.threads"], problem);
        }
        let outstanding = load.connections.saturating_mul(load.depth);
        if outstanding > OUTSTANDING_MAX {
            let problem = format!(
                "is {}, which makes {outstanding} requests under way over {} connections; \
                 at most 1,000,000",
                load.depth, load.connections
            );
            self.note("load.depth", &["load.connections"], problem);
        }
        if let Some(rate) = load.rate {
            self.within("load.rate", rate, RATE);
        }
        if load.connect != Connect::Once {
            if load.depth != 1 {
                let problem =
                    "makes a connection for each request, so load.depth must be 1".to_owned();
                self.note("load.connect", &["load.depth"], problem);
            }
            if load.rate.is_some() {
                let problem = "makes a connection for each request as soon as the one before is \
                     answered, so load.rate must be left out (--rate none)";
                self.note("load.connect", &["load.rate"], problem.to_owned());
            }
        }
        self.span("load.timeout", load.timeout, MS..=Duration::from_secs(600));
    }

    fn time(&mut self, time: &Time) {
        self.span("time.warm_up", time.warm_up, Duration::ZERO..=DAY);
        self.span("time.duration", time.duration, MS..=30 * DAY);
        if time.ramp > time.warm_up {
            let problem = format!(
                "is {}, must be 0s to time.warm_up, {}: it is part of it",
                time.ramp, time.warm_up
            );
            self.note("time.ramp", &["time.warm_up"], problem);
        }
    }

    fn ttl(&mut self, ttl: &Ttl) {
        match *ttl {
            Ttl::Fixed(span) => self.span("ttl.fixed", span, MS..=TTL_MAX),
            Ttl::Exponential { mean } => self.span("ttl.exponential.mean", mean, MS..=TTL_MAX),
            Ttl::Uniform { min, max } => {
                self.span("ttl.uniform.min", min, MS..=TTL_MAX);
                self.span("ttl.uniform.max", max, MS..=TTL_MAX);
                if max < min {
                    let problem = format!("is {max}, must be at least ttl.uniform.min, {min}");
                    self.note("ttl.uniform.max", &["ttl.uniform.min"], problem);
                }
            }
        }
    }

    fn mix(&mut self, mix: &Mix, load: &Load) {
        let weights = Operation::ALL.map(|operation| (operation, mix.weight(operation)));
        for (operation, weight) in weights {
            let field = format!("mix.{}", operation.name());
            self.unless((0.0..=1e12).contains(&weight), &field, weight);
        }
        if weights.iter().all(|&(_, weight)| weight == 0.0) {
            let problem = "asks for nothing: give at least one operation a weight above 0";
            self.note("mix", &[], problem.to_owned());
        }
        if mix.replay > 0.0 && mix.consume == 0.0 {
            let problem = "needs mix.consume above 0: only what was consumed can be replayed";
            self.note("mix.replay", &["mix.consume"], problem.to_owned());
        }
        self.within("mix.batch_size", mix.batch_size, 1..=1_000);
        self.within("mix.rivals", mix.rivals, 1..=64);
        let outstanding = load.connections.saturating_mul(load.depth);
        if mix.rivals > 1 && outstanding < mix.rivals {
            let problem = format!(
                "is {}, but only {outstanding} requests are under way at once: at most \
                 load.connections times load.depth",
                mix.rivals
            );
            self.note("mix.rivals", &["load.connections", "load.depth"], problem);
        }
    }

    fn objectives(&mut self, objectives: &[Objective]) {
        for (index, objective) in objectives.iter().enumerate() {
            let limits = Duration::from_micros(1)..=Duration::from_secs(3_600);
            let fits = (0.0..=100.0).contains(&objective.percentile);
            let field = format!("objectives[{index}]");
            self.unless(fits && limits.contains(&objective.limit.0), &field, objective);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::workload::{Workload, file, schema};

    /// What `validate` says of a file with these lines beside what makes it sound.
    fn fields(lines: &str) -> Vec<String> {
        let resolve = if lines.contains("mix.") { "" } else { "mix.resolve = 1\n" };
        match file::parse(Path::new("w.toml"), &format!("{resolve}{lines}")) {
            Ok(_) => Vec::new(),
            Err(failure) => failure.to_string().lines().map(str::to_owned).collect(),
        }
    }

    /// Both ends of every range, and what lies just beyond them.
    #[test]
    fn limits_are_where_they_are_said_to_be() {
        for (field, inside, outside) in [
            ("name", r#""a" "ä23""#, r#""" "a\u0007""#),
            ("description", r#""" "one""#, r#""a\nb""#),
            ("load.connections", "1 100_000", "0 100_001"),
            ("load.depth", "1 1_000", "0 1_001"),
            ("load.threads", "1 64", "0 65"),
            ("load.rate", "0.1 10_000_000", "0 0.09 10_000_001 -1 nan inf"),
            ("load.timeout", r#""1ms" "10m""#, r#"0 "999us" "601s""#),
            ("time.warm_up", r#"0 "1d""#, r#""86401s""#),
            ("time.duration", r#""1ms" "30d""#, r#"0 "999us" "2592001s""#),
            ("time.ramp", r#"0 "2s""#, r#""2001ms""#),
            ("keys.population", "1 100_000_000", "0 100_000_001"),
            ("keys.exponent", "0.001 5", "0 -1 5.001 nan"),
            ("payload.size", r#"32 "1MiB""#, "31 1_048_577"),
            ("payload.file", r#""orders.jsonl""#, r#""""#),
            ("ttl.fixed", r#""1ms" "30d""#, r#"0 "999us" "2592001s""#),
            ("ttl.exponential.mean", r#""1ms" "30d""#, r#"0 "999us" "2592001s""#),
            ("mix.issue", "0.001 1e12", "-0.001 nan inf 1e13"),
        ] {
            assert!(schema::find(field).is_some(), "{field}");
            for value in inside.split(' ') {
                assert_eq!(fields(&format!("{field} = {value}")), [""; 0], "{field} {value}");
            }
            for value in outside.split(' ') {
                let said = fields(&format!("{field} = {value}"));
                let named = said.iter().any(|line| line.contains(&format!(": {field}: is ")));
                assert!(named, "{field} {value}: {said:?}");
            }
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused_and_just_that() {
        for (lines, refused) in [
            ("load.connections = 4\nload.threads = 4", ""),
            ("load.connections = 3\nload.threads = 4", "load.connections"),
            ("load.connections = 10_000\nload.depth = 100", ""),
            ("load.connections = 10_001\nload.depth = 100", "load.depth"),
            ("load.connect = \"both\"\nload.depth = 1", ""),
            ("load.connect = \"both\"\nload.depth = 2", "load.connect"),
            ("load.connect = \"full\"\nload.rate = 5", "load.connect"),
            ("time.warm_up = 1\ntime.ramp = 1", ""),
            ("time.warm_up = 1\ntime.ramp = 1.001", "time.ramp"),
            ("ttl.uniform = { min = 5, max = 5 }", ""),
            ("ttl.uniform = { min = 5, max = 4.999 }", "ttl.uniform.max"),
            ("ttl.uniform = { min = 0, max = 5 }", "ttl.uniform.min"),
            ("ttl.uniform = { min = 5, max = \"31d\" }", "ttl.uniform.max"),
            ("mix.issue = 0\nmix.batch_size = 1", "mix"),
            ("mix.replay = 1\nmix.consume = 0.1", ""),
            ("mix.replay = 1", "mix.replay"),
            ("mix.consume = 1\nmix.batch_size = 1_000\nmix.rivals = 64", ""),
            ("mix.consume = 1\nmix.batch_size = 0", "mix.batch_size"),
            ("mix.consume = 1\nmix.rivals = 65\nload.depth = 2", "mix.rivals"),
            ("mix.consume = 1\nmix.rivals = 0", "mix.rivals"),
            ("mix.consume = 1\nmix.rivals = 6\nload = { depth = 2, connections = 3 }", ""),
            (
                "mix.consume = 1\nmix.rivals = 7\nload = { depth = 2, connections = 3 }",
                "mix.rivals",
            ),
            ("objectives = [\"p0=1us\", \"max=1h\"]", ""),
            ("objectives = [\"p0=999ns\"]", "objectives[0]"),
            ("objectives = [\"p9=1s\", \"max=3601s\"]", "objectives[1]"),
        ] {
            let said = fields(lines);
            match refused {
                "" => assert_eq!(said, [""; 0], "{lines}"),
                field => assert!(
                    said.len() == 1 && said[0].contains(&format!(": {field}: ")),
                    "{lines}: {said:?}"
                ),
            }
        }
    }

    #[test]
    fn the_default_lacks_nothing_but_a_mix() {
        let mut workload = Workload::default();
        let fields: Vec<String> =
            workload.validate().into_iter().map(|problem| problem.field).collect();
        assert_eq!(fields, ["mix"]);
        workload.mix.issue = 1.0;
        assert_eq!(workload.validate(), []);
    }
}
