//! The configuration file of a running server: settings that SIGHUP changes, and settings that it
//! only reports.

use rustix::process::{Signal, kill_process};

use crate::client::{Client, expect};
use crate::config_file::{Folder, run};
use crate::server::Server;
use crate::support::eventually;

fn hang_up(server: &Server) {
    kill_process(server.pid(), Signal::HUP).expect("it runs");
}

fn count(text: &str, what: &str) -> usize {
    text.matches(what).count()
}

#[test]
fn a_hang_up_and_nothing_else_changes_the_log_level() {
    for format in ["text", "json"] {
        let folder = Folder::with("log-level = \"info\"\n");
        let keys = folder.beside("keys.toml");
        let add = ["keys", "add", "--keys", &keys, "--namespace", "a", "--scope", "resolve"];
        assert_eq!(run(&add, &[]).code, Some(0));
        let launch = folder.launch().flag("--keys", &keys).flag("--log-format", format);
        let server = launch.start();
        // After each SIGHUP the keys are loaded, which is logged at any level here.
        let read = |server: &Server| count(&server.stderr(), "keys loaded");
        eventually("the keys are loaded once", || read(&server) == 1);
        // Now both files change; the server checks one of them without a signal.
        folder.write("queue = 9");
        assert_eq!(run(&add, &[]).code, Some(0));
        eventually("the keys are loaded again", || read(&server) == 2);
        assert_eq!(count(&server.stderr(), "queue: "), 0, "{}", server.stderr());
        let reload = |text: &str| {
            let before = read(&server);
            folder.write(text);
            hang_up(&server);
            eventually("the keys are read again", || read(&server) > before);
            server.stderr()
        };
        let quiet = "log-level = \"error,jeton::cli=info,jeton::cli::reload=error\"\n";
        reload(quiet);
        let said = reload(&format!("{quiet}queue = 9"));
        assert_eq!(count(&said, "queue: "), 0, "a warning at level error: {said}");
        let said = reload("queue = 9");
        let change = "log-level: error,jeton::cli=info,jeton::cli::reload=error -> info";
        assert_eq!((count(&said, change), count(&said, "queue: ")), (1, 1), "{said}");
        server.stop_well();
    }
}

#[test]
fn a_hang_up_names_what_needs_a_restart() {
    let folder = Folder::with("max-batch = 1\nmax-ttl = \"1h\"\n");
    let launch = folder.launch().flag("--queue", "5").env("JETON_SYNC", "never");
    let server = launch.start();
    let reload = |text: &str, read: usize| {
        folder.write(text);
        hang_up(&server);
        let line = "configuration loaded";
        eventually("it is read", || count(&server.stderr(), line) == read);
        server.stderr()
    };
    let text = "max-batch = 2\nmax-ttl = \"1h\"\nhuge-pages = true\nqueue = 6\nsync = \"1s\"\n\
                max-memory = \"1GiB\"";
    let said = reload(text, 1);
    for change in [
        "max-batch: 1 -> 2 needs a restart",
        "huge-pages: false -> true needs a restart",
        "max-memory: not set -> 1GiB needs a restart",
    ] {
        assert_eq!(count(&said, change), 1, "{change}: {said}");
    }
    assert_eq!(count(&said, "needs a restart"), 3, "flags and environment still win: {said}");
    assert!(said.lines().filter(|line| line.contains("restart")).all(|line| line.contains("WARN")));
    let batch = r#"{"tokens":[{"payload":1},{"payload":1}]}"#;
    expect(&Client::of(&server).post("/v1/tokens/batch", batch), 422);
    // The change is still pending, and is then undone.
    assert_eq!(count(&reload(text, 2), "needs a restart"), 6);
    assert_eq!(count(&reload("max-batch = 1\nmax-ttl = \"1h\"\n", 3), "needs a restart"), 6);
    server.stop_well();
    folder.write("max-batch = 2");
    let server = launch.start();
    expect(&Client::of(&server).post("/v1/tokens/batch", batch), 200);
}

#[test]
fn a_bad_file_changes_nothing_while_the_server_runs() {
    let folder = Folder::with("log-level = \"info\"\n");
    let server = folder.launch().start();
    let stays = "can't load the configuration";
    let failed = |times: usize| {
        hang_up(&server);
        eventually("it is refused", || count(&server.stderr(), stays) == times);
        server.stderr()
    };
    folder.write("log-level = \"off\"\nmax-batch = 2\nqueue = \"none\"\nkyes = 1\n");
    let said = failed(1);
    for wanted in ["3:9: queue: must be a whole number", "4:1: kyes: unknown key"] {
        assert!(said.contains(&format!("{}:{wanted}", folder.path())), "{wanted}: {said}");
    }
    assert_eq!(count(&said, "needs a restart"), 0, "{said}");
    // If the file's level were applied, nothing more would be logged.
    std::fs::remove_file(&folder.file).expect("removed");
    let said = failed(2);
    assert!(said.contains(&format!("{}: can't be read", folder.path())), "{said}");
    folder.write("");
    hang_up(&server);
    eventually("it is well again", || server.stderr().contains("configuration loaded"));
    Client::of(&server).issued(r#"{"payload":1}"#);
    server.stop_well();
}
