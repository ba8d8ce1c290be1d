//! Runs the commands of the README and of the first chapters in order, in one shell, and compares
//! their output with the pages.
//!
//! A block `sh` is run. The following block `text` is its output, on both streams, in which `…`
//! matches any text, and tokens and times are not compared. A block whose last line is `jeton
//! serve` is another terminal: it is ready when the server is, and a second such block stops the
//! first server. A page that does not begin with one assumes a running server.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::not_run;

/// A block of commands, and its output.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    /// The line of its first command.
    line: usize,
    commands: String,
    prints: Option<String>,
}

impl Block {
    fn is_server(&self) -> bool {
        let last = self.commands.lines().last().unwrap_or_default();
        last.starts_with("jeton serve") || last.starts_with("target/release/jeton serve")
    }
}

/// The blocks of a page, in their order.
fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((n, line)) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else { continue };
        let inner = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
        let inner = inner.collect::<Vec<_>>().join("\n");
        match (kind, blocks.last_mut()) {
            ("sh", _) => blocks.push(Block { line: n + 2, commands: inner, prints: None }),
            ("text", Some(block)) if block.prints.is_none() => block.prints = Some(inner),
            ("text", _) => panic!("line {}: output without commands", n + 1),
            _ => {}
        }
    }
    blocks
}

/// Stops the server, if one is running, and waits for its end.
const STOP: &str = "if [ -n \"${server:-}\" ]; then kill $server; wait $server; server=; fi\n";
/// Waits until the server has printed its line.
const AWAIT: &str = "for _ in $(seq 600); do grep -q ready \"$out\" && break; sleep 0.1; done\n";

/// One script of all blocks; the output of block `n` goes to the file `n`.
fn script(blocks: &[Block]) -> String {
    let mut script = "out=out-of-none; server=\ntrap 'kill $server 2>/dev/null' EXIT\n".to_owned();
    if !blocks.first().is_some_and(Block::is_server) {
        let start = "jeton serve >\"$out\" 2>/dev/null &\nserver=$!\n";
        script.extend(["touch $out\n", start, AWAIT]);
    }
    for (n, block) in blocks.iter().enumerate() {
        let Block { commands, .. } = block;
        if block.is_server() {
            script.push_str(STOP);
            let _ = writeln!(script, "out=out-{n}; : >$out");
            let _ = writeln!(script, "{commands} >$out 2>>server.log &\nserver=$!");
            script.push_str(AWAIT);
        } else {
            let _ = writeln!(script, "{{\n{commands}\n}} >out-{n} 2>&1");
        }
    }
    script.push_str(STOP);
    script
}

/// The text with tokens and times replaced by `TOKEN` and `TIME`.
fn plain(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-_:.".contains(c);
    let mut plain = String::new();
    let mut rest = text.trim_end();
    while let Some(start) = rest.find(is_word) {
        let len = rest[start..].find(|c| !is_word(c)).unwrap_or(rest.len() - start);
        // The punctuation at the end of a sentence is not part of a word.
        let whole = &rest[start..start + len];
        let word = whole.trim_end_matches(['.', ':']);
        let (word, len) = if word.is_empty() { (whole, len) } else { (word, word.len()) };
        let digits: String =
            word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        let is_token = word.len() == 32 && !word.contains([':', '.']);
        plain.push_str(&rest[..start]);
        plain.push_str(match &*digits {
            "0000-00-00T00:00:00.000Z" => "TIME",
            _ if is_token => "TOKEN",
            _ => word,
        });
        rest = &rest[start + len..];
    }
    plain + rest
}

/// Whether `printed` matches `shown`, in which `…` matches any text.
fn is_as_shown(shown: &str, printed: &str) -> bool {
    let (shown, printed) = (plain(shown), plain(&printed.replace('\r', "")));
    let Some((first, rest)) = shown.split_once('…') else { return shown == printed };
    let Some(mut printed) = printed.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = rest.split('…').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = printed.find(part) else { return false };
        printed = &printed[at + part.len()..];
    }
    printed.ends_with(last)
}

/// A port that was free just now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Runs all commands of a page, and compares their output.
fn run(page: &str) {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    if !["bash", "curl"].iter().all(|program| is_installed(program)) {
        return not_run(page, "bash or curl is missing");
    }
    let ports = [("7450", free_port()), ("7451", free_port())];
    let text = std::fs::read_to_string(top.join(page)).expect("the page");
    let mut blocks = blocks(&text);
    for (usual, own) in &ports {
        let move_port = |block: &mut Block| {
            block.commands = block.commands.replace(&format!(":{usual}"), &format!(":{own}"));
        };
        blocks.iter_mut().for_each(move_port);
    }
    assert!(!blocks.is_empty(), "{page} has no commands");
    let home = tempfile::tempdir().expect("a folder");
    let mut shell = shell(home.path(), ports.map(|(_, port)| format!("127.0.0.1:{port}")));
    let said = shell.args(["-c", &script(&blocks)]).output().expect("bash runs");
    let mut complaints = String::from_utf8_lossy(&said.stderr).into_owned();
    for (n, block) in blocks.iter().enumerate() {
        let printed = std::fs::read_to_string(home.path().join(format!("out-{n}")));
        let printed = printed.unwrap_or_else(|error| error.to_string());
        let printed = ports.iter().fold(printed, |printed, (usual, own)| {
            printed.replace(&format!(":{own}"), &format!(":{usual}"))
        });
        let shown = block.prints.as_deref().unwrap_or_default();
        if !is_as_shown(shown, &printed) {
            let Block { line, commands, .. } = block;
            let _ = writeln!(
                complaints,
                "{page}:{line}:\n{commands}\nthe page shows\n{shown}\nand it printed\n{printed}\n"
            );
        }
    }
    assert!(complaints.is_empty(), "{complaints}");
}

/// A shell in `home` with jeton on its path, and a stand-in for cargo. Servers listen on `data` and
/// `admin`.
fn shell(home: &Path, [data, admin]: [String; 2]) -> Command {
    let programs = home.join("target/release");
    std::fs::create_dir_all(&programs).expect("a folder");
    symlink(env!("CARGO_BIN_EXE_jeton"), programs.join("jeton")).expect("a link");
    symlink("/bin/true", programs.join("cargo")).expect("a link");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("bash");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("JETON_")) {
        shell.env_remove(name);
    }
    shell
        .current_dir(home)
        .env("PATH", format!("{}:{path}", programs.display()))
        .envs([("JETON_LISTEN", &data), ("JETON_ADMIN_LISTEN", &admin)])
        .env("JETON_SERVER", format!("http://{data}"))
        .envs([("JETON_SEGMENT_SIZE", "1MiB"), ("JETON_LOG_MIN_SIZE", "4MiB")])
        .stdin(Stdio::null());
    shell
}

fn is_installed(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[test]
fn the_session_of_the_readme_is_as_shown() {
    run("README.md");
}

#[test]
fn the_commands_of_the_start_are_as_shown() {
    run("docs/src/start.md");
}

#[test]
fn the_commands_of_the_tutorial_are_as_shown() {
    run("docs/src/tutorial.md");
}

#[test]
fn the_mistakes_of_the_flags_are_as_shown() {
    run("docs/src/operations/flags.md");
}

#[test]
fn a_backup_is_taken_and_restored_as_shown() {
    run("docs/src/operations/backup.md");
}

#[test]
fn blocks_are_commands_and_what_they_print() {
    let text = "a\n```sh\nx\ny\n```\n\nprints\n\n```text\n1\n```\n```console\n$ z\n```\n\
        ```sh\njeton serve\n```\n";
    let found = blocks(text);
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].line, &*found[0].commands), (3, "x\ny"));
    assert_eq!(found[0].prints.as_deref(), Some("1"));
    assert!(!found[0].is_server() && found[1].is_server());
}

#[test]
fn output_is_compared_but_for_tokens_times_and_dots() {
    let (token, other) = ("A".repeat(32), "b".repeat(32));
    let line =
        |token: &str, time: &str| format!("{{\"token\":\"{token}\",\"at\":\"{time}\"}} 201\n");
    let shown = line(&token, "2026-11-22T20:52:24.715Z");
    assert!(is_as_shown(&shown, &line(&other, "2027-01-01T00:00:00.000Z")));
    assert!(is_as_shown("at 2026-11-22T20:52:24.715Z.", "at 2027-01-01T00:00:00.000Z.\n"));
    assert!(!is_as_shown(&shown, &line("short", "2027-01-01T00:00:00.000Z")));
    assert!(!is_as_shown(&shown, &shown.replace("201", "200")));
    assert!(is_as_shown("a … c", "a b c\n") && is_as_shown("a …", "a b") && is_as_shown("", ""));
    assert!(!is_as_shown("a … c", "a b d") && !is_as_shown("", "a") && !is_as_shown("a", "a b"));
}
