//! Several generators on one server: they begin together, and their reports add up.

use loadtest::report::model::Latency;

use crate::fake::{Fake, HONEST};
use crate::harness::{BRIEF, Out, Running, command, run};

fn begin(fake: &Fake, at: jiff::Timestamp, seed: u64, out: &Out) -> Running {
    let words = format!(
        "run resolve --target http://{} --rate 100 --arrivals uniform -c 4 --seed {seed} \
         --slo p50=10s --start-at {at}",
        fake.address
    );
    Running::start(command(&words).args(BRIEF).arg("--out").arg(out.path()))
}

#[test]
fn generators_that_begin_together_make_one_report() {
    let fake = Fake::start(HONEST);
    let (first, second, both) = (Out::new(), Out::new(), Out::new());
    #[expect(clippy::disallowed_methods, reason = "a real clock says when to begin")]
    let now = jiff::Timestamp::try_from(std::time::SystemTime::now()).expect("our time");
    // A report has milliseconds.
    let at = jiff::Timestamp::from_second(now.as_second() + 4).expect("our time");
    let running = [begin(&fake, at, 1, &first), begin(&fake, at, 2, &second)];
    for running in running {
        let ended = running.end();
        assert_eq!(ended.code, Some(0), "{}", ended.said());
    }
    let parts = [first.report(), second.report()];
    for part in &parts {
        let began: jiff::Timestamp = part.started_at.parse().expect("a time");
        assert!(began >= at, "{began} is before {at}");
    }
    let mut merge = command("merge");
    merge.arg(first.path()).arg(second.path()).arg("--out").arg(both.path());
    let ended = run(&mut merge);
    assert_eq!(ended.code, Some(0), "{}", ended.said());
    let merged = both.report();
    let count = |latency: &Latency| latency.to_histogram().expect("a histogram").len();
    assert_eq!(count(&merged.latency), parts.iter().map(|part| count(&part.latency)).sum::<u64>());
    assert_eq!((merged.totals.requests, merged.totals.rate), (100, Some(200.0)));
    assert_eq!(merged.parts.len(), 2);
    assert!(ended.stdout.contains("2 generators") && both.page().contains("2 generators"));
    // The same one twice is no second generator.
    let mut twice = command("merge");
    let twice = twice.arg(first.path()).arg(first.path()).arg("--out").arg(both.path());
    run(twice).refused(&["cannot be merged", "seeds are the same"]);
}

#[test]
fn a_generator_that_is_late_does_not_begin() {
    let fake = Fake::start(HONEST);
    let words = format!("run resolve -c 4 --target http://{}", fake.address);
    let mut late = command(&words);
    run(late.args(BRIEF).args(["--start-at", "2020-01-01T00:00:00Z"]))
        .refused(&["has passed before the tokens were issued"]);
    let mut wrong = command(&words);
    run(wrong.args(["--start-at", "soon"])).refused(&["--start-at"]);
}
