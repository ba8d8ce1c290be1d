//! A real Redis whose password changes while load is on it: every connection that is made after that
//! is refused by AUTH, and the report says so.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use loadtest::report::verdict::Verdict;
use loadtest::target::{self, Kind, Options, missing};

use crate::harness::{Out, Running, command, not_checked, secret_file, wait_for};

/// A connection of the test's own, which stays.
struct Admin(BufReader<TcpStream>);

impl Admin {
    fn of(address: SocketAddr, password: &str) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        let mut admin = Self(BufReader::new(stream));
        assert_eq!(admin.ask(&["AUTH", password]), "+OK");
        admin
    }

    /// The first line of the answer, or the text of a bulk string.
    fn ask(&mut self, words: &[&str]) -> String {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.0.get_mut().write_all(request.as_bytes()).expect("it takes bytes");
        let line = self.line();
        let Some(length) = line.strip_prefix('$') else { return line };
        let mut text = vec![0; length.parse::<usize>().expect("a length") + 2];
        self.0.read_exact(&mut text).expect("it answers");
        String::from_utf8(text).expect("UTF-8")
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("it answers");
        line.trim_end().to_owned()
    }

    /// How many commands of a kind were answered.
    fn calls(&mut self, command: &str) -> u64 {
        let info = self.ask(&["INFO", "commandstats"]);
        let name = format!("cmdstat_{command}:calls=");
        let line = info.lines().find_map(|line| line.strip_prefix(&name));
        let count = line.and_then(|line| line.split(',').next());
        count.map_or(0, |count| count.parse().expect("a count"))
    }
}

#[test]
fn p9_a_password_that_changes_in_mid_run_is_reported_as_a_refusal_of_auth_and_never_shown() {
    let kind = Kind::Redis;
    if let Some(why) = missing(kind) {
        return not_checked("a password that changes in mid-run", &why);
    }
    let options = Options { with_key: true, durable: false, ..Options::default() };
    let server = target::start(kind, &options).expect("it starts");
    let password = server.access().credentials.as_ref().expect("a password").password.text();
    let other = format!("{password}-changed");
    let (folder, out) = (Out::new(), Out::new());
    let file = folder.path().join("auth");
    secret_file(&file, password);
    let mut admin = Admin::of(server.address(), password);
    let mut command = command(&format!(
        "run resolve --target redis://{} --population 200 --warm-up 0s --duration 2s -c 4",
        server.address()
    ));
    command.arg("--auth-file").arg(&file).arg("--out").arg(out.path());
    let running = Running::start(&mut command);
    wait_for("the load to begin", || admin.calls("get") > 100);
    assert_eq!(admin.ask(&["CONFIG", "SET", "requirepass", &other]), "+OK");
    let killed = admin.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
    assert_eq!(killed, ":4", "the connections of the load, and not this one");
    let ended = running.end();
    let report = out.report();
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    assert_eq!(report.verdict(), Verdict::Errors, "{}", ended.said());
    let refused = report.errors.iter().find(|error| error.kind == "refused");
    let refused = refused.unwrap_or_else(|| panic!("no refusal in {}", ended.said()));
    assert!(refused.count > 0 && !refused.wrong && refused.while_issuing == 0, "{refused:?}");
    assert!(refused.example.contains("WRONGPASS"), "the refusal of AUTH: {}", refused.example);
    assert!(ended.stdout.contains("WRONGPASS") && out.page().contains("WRONGPASS"));
    let json = std::fs::read_to_string(out.path().join("report.json")).expect("a report");
    for text in [&json, &out.page(), &ended.stdout, &ended.stderr] {
        assert!(!text.contains(password), "P9: the password is shown");
    }
    server.stop().expect("it ends in order");
}
