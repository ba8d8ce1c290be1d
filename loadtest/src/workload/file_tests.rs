//! Workload files, good ones and all kinds of bad ones.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::quantity::{ByteSize, Span};
use crate::workload::{Arrivals, Http, Popularity, Ttl};

fn read(text: &str) -> Result<Workload> {
    parse(Path::new("w.toml"), text)
}

/// The lines of the message about a bad file.
fn mistakes(text: &str) -> Vec<String> {
    read(text).unwrap_err().to_string().lines().map(str::to_owned).collect()
}

fn assert_mistakes(text: &str, expected: &[&str]) {
    let mistakes = mistakes(text);
    let matched = mistakes.len() == expected.len()
        && mistakes.iter().zip(expected).all(|(mistake, start)| mistake.starts_with(start));
    assert!(matched, "{mistakes:#?}\n{expected:#?}");
}

#[test]
fn a_whole_file_is_read() {
    let text = r#"
        name = "mine"
        description = "all of it"
        seed = 18446744073709551615
        objectives = ["p99=2ms", "max=1s"]
        ttl = { uniform = { min = "1m", max = "1h 30m" } }
        [load]
        connections = 8
        depth = 2
        threads = 2
        http = "2"
        rate = 5000
        arrivals = "uniform"
        timeout = 1.5
        [time]
        warm_up = "1s"
        duration = 90
        ramp = "500ms"
        [keys]
        population = 1000
        popularity = "zipf"
        exponent = 1.2
        [payload]
        size = "1KiB"
        file = "orders.jsonl"
        [mix]
        resolve = 90
        issue = 5.5
        batch_size = 10
        rivals = 4
    "#;
    let workload = read(text).unwrap();
    assert_eq!(workload.name, "mine");
    assert_eq!(workload.seed, u64::MAX);
    assert_eq!(workload.objectives.len(), 2);
    assert_eq!((workload.load.http, workload.load.rate), (Http::Two, Some(5000.0)));
    assert_eq!(workload.load.arrivals, Arrivals::Uniform);
    assert_eq!(workload.load.timeout, Span(Duration::from_millis(1500)));
    assert_eq!(workload.time.duration, Span(Duration::from_secs(90)));
    assert_eq!(workload.keys.popularity, Popularity::Zipf);
    assert_eq!(workload.payload.size, ByteSize(1024));
    let (min, max) = (Span(Duration::from_secs(60)), Span(Duration::from_secs(5400)));
    assert_eq!(workload.ttl, Ttl::Uniform { min, max });
    assert_eq!((workload.mix.resolve, workload.mix.issue), (90.0, 5.5));
}

#[test]
fn what_is_left_out_has_its_default_and_the_file_gives_the_name() {
    let workload = read("mix.resolve = 1").unwrap();
    let mut expected = Workload { name: "w".to_owned(), ..Workload::default() };
    expected.mix.resolve = 1.0;
    assert_eq!(workload, expected);
}

#[test]
fn what_is_written_is_read_again() {
    for workload in crate::workload::named::all() {
        let text = toml::to_string(&workload).unwrap();
        assert_eq!(read(&text).unwrap(), workload);
        let json = serde_json::to_string(&workload).unwrap();
        assert_eq!(serde_json::from_str::<Workload>(&json).unwrap(), workload);
    }
}

#[test]
fn syntax_is_shown_where_it_breaks() {
    assert_mistakes("seed = 1\n[load\n", &["w.toml:2:6: syntax: "]);
    assert_mistakes("mix.resolve = 1\nseed = \n", &["w.toml:2:8: syntax: "]);
    assert_mistakes("seed = 1\nseed = 2\n", &["w.toml:2:1: syntax: "]);
}

#[test]
fn a_wrong_type_names_field_and_limits() {
    assert_mistakes(
        "mix.resolve = 1\n[load]\nconnections = \"many\"\n",
        &[
            "w.toml:3:15: load.connections: invalid type: string \"many\", expected a whole number; \
           must be 1 to 100,000",
        ],
    );
    assert_mistakes("mix.resolve = 1\nload = 3", &["w.toml:2:8: load: "]);
    assert_mistakes("mix.resolve = 1\nload.http = 1.1", &["w.toml:2:13: load.http: "]);
    assert_mistakes("mix.resolve = 1\nload.depth = -1", &["w.toml:2:14: load.depth: "]);
    assert_mistakes("mix.resolve = 1\nload.arrivals = \"now\"", &["w.toml:2:17: load.arrivals: "]);
    assert_mistakes(
        "mix.resolve = 1\ntime.ramp = \"soon\"",
        &["w.toml:2:13: time.ramp: `soon` is"],
    );
    assert_mistakes("mix.resolve = 1\ntime.ramp = -1", &["w.toml:2:13: time.ramp: "]);
    assert_mistakes("mix.resolve = 1\npayload.size = 1.5", &["w.toml:2:16: payload.size: "]);
    assert_mistakes("mix.resolve = 1\nttl = \"15m\"", &["w.toml:2:7: ttl: "]);
    assert_mistakes(
        "mix.resolve = 1\nttl = { uniform = { min = \"1s\" } }",
        &["w.toml:2:19: ttl.uniform: missing field `max`"],
    );
    assert_mistakes(
        "objectives = [\"p99=2ms\", \"p200=1s\"]\nmix.resolve = 1",
        &["w.toml:1:26: objectives: `p200` is neither"],
    );
}

#[test]
fn an_unknown_field_is_guessed() {
    assert_mistakes(
        "mix.resolve = 1\n[load]\nconections = 5",
        &["w.toml:3:1: load.conections: no such field; did you mean `connections`?"],
    );
    assert_mistakes(
        "rate = 5\nmix.resolve = 1",
        &["w.toml:1:1: rate: no such field; did you mean `load.rate`?"],
    );
    assert_mistakes(
        "mix.resolve = 1\ntime.colour = 5",
        &["w.toml:2:6: time.colour: no such field; there are warm_up, duration, ramp"],
    );
    assert_mistakes(
        "mix.resolve = 1\nttl.uniform.mix = 5",
        &["w.toml:2:13: ttl.uniform.mix: no such field; did you mean `min`?"],
    );
}

#[test]
fn limits_are_shown_where_they_are_broken() {
    assert_mistakes(
        "[load]\nthreads = 2\nconnections = 0\n[mix]\nresolve = -1\nbatch_size = 1001\n",
        &[
            "w.toml:3:15: load.connections: is 0, must be 1 to 100,000",
            "w.toml:5:11: mix.resolve: is -1, must be a weight, 0 to 1e12",
            "w.toml:6:14: mix.batch_size: is 1001, must be 1 to 1,000",
        ],
    );
    // What is not written at all is shown at its section or the begin.
    assert_mistakes("seed = 1\n[mix]\nbatch_size = 2", &["w.toml:2:1: mix: asks for nothing"]);
    assert_mistakes("", &["w.toml:1:1: mix: asks for nothing"]);
    assert_mistakes(
        "mix.resolve = 1\nobjectives = [\"p9=1s\", \"p9=0s\"]",
        &["w.toml:2:24: objectives[1]: is p9=0s, must be"],
    );
}

#[test]
fn all_mistakes_are_said_at_once_but_none_that_follows_from_another() {
    assert_mistakes(
        "sed = 1\n[load]\nthreads = 65\nconnections = \"x\"\n[mix]\nresolv = 5\nrivals = 9\n",
        &[
            "w.toml:1:1: sed: no such field; did you mean `seed`?",
            "w.toml:3:11: load.threads: is 65, must be 1 to 64",
            "w.toml:4:15: load.connections: invalid type",
            "w.toml:6:1: mix.resolv: no such field; did you mean `resolve`?",
        ],
    );
}

#[test]
fn columns_are_characters() {
    assert_eq!(line_and_column("a\näöx", 6), (2, 3));
    assert_eq!(line_and_column("a", 99), (1, 2));
    assert_eq!(line_and_column("", 0), (1, 1));
}

#[test]
fn a_file_that_is_not_there_or_not_text_is_named() {
    let failure = load(Path::new("no/such.toml")).unwrap_err().to_string();
    assert!(failure.starts_with("no/such.toml: "), "{failure}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.toml");
    std::fs::write(&path, b"name = \"\xff\"").unwrap();
    assert!(load(&path).unwrap_err().to_string().contains("w.toml: "));
    std::fs::write(&path, vec![b'\n'; (1 << 20) + 1]).unwrap();
    assert!(load(&path).unwrap_err().to_string().ends_with("greater than 1MiB"));
}

#[test]
fn a_file_of_orders_is_looked_for_beside_the_workload() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.toml");
    std::fs::write(&path, "mix.resolve = 1\npayload.file = \"orders.jsonl\"").unwrap();
    let orders = load(&path).unwrap().payload.file.unwrap();
    assert_eq!(orders, folder.path().join("orders.jsonl"));
}

proptest::proptest! {
    /// Any text gives a workload or mistakes, in time and without a panic.
    #[test]
    fn any_text_is_read_or_refused(
        parts in proptest::collection::vec(
            proptest::sample::select(vec![
                "[load]", "load", ".", "=", "\n", "{", "}", "[", "]", "\"", "rate", "1", "-2.5",
                "mix", "resolve", "ttl", "fixed", "uniform", ",", "\"p99=1s\"", "objectives", "ä",
                "#", "time.ramp = 1\n", "mix.issue = 1\n", "[ttl.uniform]\nmin = 1\n",
            ]),
            0..30,
        ),
    ) {
        let text = parts.concat();
        if let Err(failure) = read(&text) {
            proptest::prop_assert!(failure.to_string().starts_with("w.toml:"));
        }
    }
}
