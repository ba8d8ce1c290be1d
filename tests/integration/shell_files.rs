//! `jeton completions` and `jeton man`: the files work in a shell and in `man`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::server::{jeton, output};
use crate::support::not_run;

/// Standard output of a command that must succeed.
#[track_caller]
fn succeeds(command: &mut Command) -> String {
    // Completions are larger than a pipe: they are read while the command writes.
    let output = command.stdin(Stdio::null()).output().expect("the program is installed");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The commands that the help of `command` names.
fn commands(command: &[&str]) -> Vec<String> {
    let help = succeeds(jeton().args(command).arg("--help"));
    let Some((_, rest)) = help.split_once("\nCommands:\n") else { return Vec::new() };
    let lines = rest.lines().take_while(|line| !line.is_empty());
    // A description that goes on in the next line stands further right.
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split([' ']).next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

/// What bash offers for the last of `words`.
fn completed(script: &Path, words: &[&str]) -> Vec<String> {
    let last = words.last().expect("a word");
    let call = format!(
        "source {}; COMP_WORDS=({}); COMP_CWORD={}; _jeton jeton '{last}' x; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display(),
        words.join(" "),
        words.len() - 1,
    );
    let offered = succeeds(Command::new("bash").args(["--norc", "--noprofile", "-c", &call]));
    offered.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_flags() {
    let dir = tempfile::tempdir().expect("a folder");
    let script = dir.path().join("jeton");
    std::fs::write(&script, succeeds(jeton().args(["completions", "bash"]))).expect("written");
    assert_eq!(completed(&script, &["jeton", "ser"]), ["serve"]);
    assert_eq!(completed(&script, &["jeton", "keys", "li"]), ["list"]);
    assert_eq!(completed(&script, &["jeton", "serve", "--drain"]), ["--drain-delay"]);
    assert_eq!(completed(&script, &["jeton", "completions", "fi"]), ["fish"]);
}

#[test]
fn each_shell_has_completions_of_each_command() {
    let all = commands(&[]);
    assert!(all.len() > 15, "{all:?}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = succeeds(jeton().args(["completions", shell]));
        for command in &all {
            assert!(script.contains(&**command), "{shell}: {command}");
        }
    }
}

#[test]
fn each_command_has_a_manual_page() {
    let dir = tempfile::tempdir().expect("a folder");
    let pages = dir.path().join("share/man1");
    // A page that is there is overwritten, and a value of the environment stands in none.
    for _ in 0..2 {
        let written =
            succeeds(jeton().arg("man").arg(&pages).env("JETON_CONFIG", "/of-this-machine"));
        assert_eq!(written, "");
    }
    let mut expected = vec!["jeton.1".to_owned()];
    for command in commands(&[]) {
        expected.push(format!("jeton-{command}.1"));
        let below = commands(&[&command]);
        expected.extend(below.iter().map(|below| format!("jeton-{command}-{below}.1")));
    }
    expected.sort();
    let found = crate::support::files_under(&pages);
    let name = |path: &PathBuf| path.file_name().expect("a name").to_string_lossy().into_owned();
    let mut names: Vec<_> = found.iter().map(name).collect();
    names.sort();
    assert_eq!(names, expected);
    for path in &found {
        let text = std::fs::read_to_string(path).expect("a page");
        assert!(text.contains(".SH NAME") && !text.contains("of-this-machine"), "{path:?}");
    }
    let serve = std::fs::read_to_string(pages.join("jeton-serve.1")).expect("a page");
    assert!(serve.contains("JETON_DRAIN_DELAY"), "flags are shown with their variables");
    assert_formatted(&found);
}

/// groff formats each page without a warning.
fn assert_formatted(pages: &[PathBuf]) {
    let mut groff = Command::new("groff");
    groff.args(["-Kutf8", "-man", "-Tutf8", "-ww", "-Z"]).args(pages);
    match groff.output() {
        Err(error) => not_run("manual pages", &format!("groff: {error}")),
        Ok(formatted) => {
            let warnings = String::from_utf8_lossy(&formatted.stderr);
            assert!(formatted.status.success() && warnings.is_empty(), "{warnings}");
        }
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("file");
    std::fs::write(&file, "").expect("written");
    let refused = output(jeton().arg("man").arg(&file));
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains(&*file.to_string_lossy()), "{stderr}");
    // A page is a folder.
    std::fs::create_dir(dir.path().join("jeton.1")).expect("a folder");
    let refused = output(jeton().arg("man").arg(dir.path()));
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("jeton.1 can't be written"), "{stderr}");
}
