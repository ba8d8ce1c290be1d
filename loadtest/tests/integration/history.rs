//! `run --history` and `loadtest history`: a line a run, a page, and files for other tools.

use crate::fake::{Fake, Lie, Manner, Speed};
use crate::harness::{BRIEF, Ended, Out, command, loadtest, run};
use std::time::Duration;

#[test]
fn runs_add_lines_and_the_history_is_drawn_and_passed_on() {
    let speed = Speed::Delay(Duration::from_millis(2));
    let fake = Fake::start(Manner { speed, lie: Lie::None, every: 5 });
    let out = Out::new();
    let file = out.path().join("history.jsonl");
    let measure = |flags: &[&str]| -> Ended {
        let mut command = command(&format!("run resolve --target http://{}", fake.address));
        run(command.args(BRIEF).arg("--history").arg(&file).args(flags))
    };
    // Whose revision a server that is there has, the harness cannot know.
    measure(&[]).refused(&["--commit"]);
    for commit in ["abc", "def"] {
        let ended = measure(&["--commit", commit]);
        assert!(file.exists(), "{}", ended.said());
    }
    let lines = std::fs::read_to_string(&file).expect("a history");
    assert_eq!(lines.lines().count(), 2, "{lines}");
    let path = |name: &str| out.path().join(name);
    let mut history = command("history");
    history.arg(&file).arg("--html").arg(path("page.html")).arg("--bmf").arg(path("bmf.json"));
    let ended = run(history.arg("--smaller-is-better").arg(path("smaller.json")));
    assert_eq!(ended.code, Some(0), "{}", ended.said());
    assert!(ended.stdout.starts_with("2 commits"), "{}", ended.said());
    let read = |name: &str| std::fs::read_to_string(path(name)).expect("it is written");
    assert!(read("page.html").contains("resolve: p50 latency"));
    assert!(read("bmf.json").contains("\"p50-latency\":{\"value\":"), "{}", read("bmf.json"));
    assert!(read("smaller.json").contains("\"extra\":\"def\""), "{}", read("smaller.json"));
    loadtest("history no/such/file").refused(&["no/such/file"]);
}
