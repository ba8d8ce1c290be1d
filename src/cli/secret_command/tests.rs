//! Programs that give the secret, and programs that do not.

use super::*;
use crate::clock::SystemClock;

const ZEROS: [u8; SECRET_LEN] = [b'0'; SECRET_LEN];

fn sh(script: &str, wait: Duration) -> SecretCommand {
    let words = ["sh", "-c", script].map(str::to_owned);
    SecretCommand::of(&words, wait).unwrap()
}

fn run(script: &str) -> Result<Secret, SecretCommandError> {
    sh(script, Duration::ZERO).run(&SystemClock::new(), &AtomicBool::new(false))
}

fn refused(script: &str) -> String {
    run(script).unwrap_err().to_string()
}

#[test]
fn the_secret_is_32_bytes_or_their_base64() {
    let zeros = "0".repeat(SECRET_LEN);
    for script in [
        format!("printf {zeros}"),
        format!("printf {zeros} | base64"),
        format!("printf '\\n '; printf {zeros} | base64; echo"),
        format!("printf {zeros} | base64 | tr -d ="),
    ] {
        assert!(run(&script).unwrap() == Secret::from_bytes(ZEROS), "{script}");
    }
    let high = Secret::from_bytes([0xfb; SECRET_LEN]);
    for (four, three) in [("+/v7", "+/s"), ("-_v7", "-_s")] {
        let text = format!("{}{three}", four.repeat(10));
        assert!(decoded(text.as_bytes()).unwrap() == high, "{text}");
    }
    for (script, said) in [
        ("true", "printed 0 bytes"),
        ("printf 0123456789012345678901234567890", "printed 31 bytes"),
        ("printf 012345678901234567890123456789012", "printed 33 bytes"),
        ("yes", "printed more than 128 bytes"),
    ] {
        let error = run(script).unwrap_err();
        assert!(error.is_mistake() && error.to_string().contains(said), "{script}: {error}");
    }
}

#[test]
fn p9_no_message_shows_the_output_or_an_argument() {
    let words = ["sh", "-c", "printf '%s' \"$0\"", "kept-from-logs"].map(str::to_owned);
    let command = SecretCommand::of(&words, Duration::ZERO).unwrap();
    let error = command.run(&SystemClock::new(), &AtomicBool::new(false)).unwrap_err();
    for text in [error.to_string(), format!("{error:?}"), command.to_string()] {
        assert!(!text.contains("kept-from-logs"), "{text}");
    }
}

#[test]
fn a_program_that_is_missing_fails_or_is_killed_is_told() {
    let missing = SecretCommand::of(&["no-such-program".to_owned()], Duration::ZERO).unwrap();
    let error = missing.run(&SystemClock::new(), &AtomicBool::new(false)).unwrap_err();
    assert!(error.is_mistake(), "{error}");
    assert!(error.to_string().contains("--secret-command no-such-program: can't be started"));
    assert!(refused("exit 7").contains("it failed: exit status: 7"));
    assert!(refused("kill -9 $$").contains("signal: 9"));
    // What it has printed does not count then.
    assert!(refused("printf 01234567890123456789012345678901; exit 1").contains("status: 1"));
    let error = run("head -c 300 /dev/zero; exit 1").unwrap_err();
    assert!(!error.is_mistake() && error.to_string().contains("status: 1"), "{error}");
    assert!(refused("head -c 300 /dev/zero").contains("printed more than 128 bytes"));
}

/// A shortage of the system passes; a program that is missing or none does not come.
#[test]
fn a_shortage_at_the_start_is_no_mistake() {
    let of = |error: Errno| is_no_program(&error.into());
    assert!(of(Errno::NOENT) && of(Errno::ACCESS) && of(Errno::PERM) && of(Errno::NOEXEC));
    assert!(of(Errno::NOTDIR) && of(Errno::NAMETOOLONG) && of(Errno::TOOBIG));
    assert!(!of(Errno::AGAIN) && !of(Errno::NOMEM) && !of(Errno::MFILE) && !of(Errno::NFILE));
}

/// The second try would find no program.
#[test]
fn p8_a_stop_in_the_pause_starts_no_further_program() {
    let dir = tempfile::tempdir().unwrap();
    let shell = dir.path().join("shell");
    std::os::unix::fs::symlink("/bin/sh", &shell).unwrap();
    let link = shell.to_str().unwrap().to_owned();
    let words =
        [link, "-c".to_owned(), "rm \"$0\"; exit 1".to_owned(), shell.display().to_string()];
    let command = SecretCommand::of(&words, Duration::from_secs(60)).unwrap();
    let is_stopped = Arc::new(AtomicBool::new(false));
    let stop = is_stopped.clone();
    let stopping = std::thread::spawn(move || {
        while shell.is_symlink() {
            std::thread::sleep(LOOK);
        }
        // The try ends at once, and the pause has a second.
        std::thread::sleep(AGAIN_AFTER / 3);
        stop.store(true, Ordering::Relaxed);
    });
    let error = command.run(&SystemClock::new(), &is_stopped).unwrap_err();
    stopping.join().unwrap();
    assert!(matches!(error, SecretCommandError::Stopped), "{error}");
}

#[test]
fn a_program_is_tried_again_until_the_wait_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("tried");
    let script = format!(
        "test -e {0} && printf {1} || {{ touch {0}; exit 1; }}",
        mark.display(),
        "0".repeat(SECRET_LEN)
    );
    let secret = sh(&script, Duration::from_secs(30))
        .run(&SystemClock::new(), &AtomicBool::new(false))
        .unwrap();
    assert!(secret == Secret::from_bytes(ZEROS));
}

/// Neither the program nor what it has started in the background is left.
#[test]
fn p8_nothing_of_the_program_outlives_the_try() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    let zeros = "0".repeat(SECRET_LEN);
    for end in [format!("printf {zeros}"), "exit 1".to_owned(), "yes".to_owned()] {
        // The background job has closed its output, as a daemon does.
        let script = format!("sleep 600 >&- 2>&- & echo $! $$ > {}; {end}", pids.display());
        let _ = run(&script);
        let text = std::fs::read_to_string(&pids).unwrap();
        for pid in text.split_whitespace() {
            let is_gone = || {
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
                stat.map_or(true, |stat| stat.contains(") Z "))
            };
            let mut looks = 0;
            while !is_gone() && looks < 500 {
                std::thread::sleep(LOOK);
                looks += 1;
            }
            assert!(is_gone(), "{end}: {pid} still runs");
        }
    }
}

#[test]
fn a_single_word_is_split_at_white_space() {
    let of = |words: &[&str]| {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        SecretCommand::of(&words, Duration::ZERO)
            .map(|command| [vec![command.program], command.args].concat())
    };
    assert_eq!(of(&[" bao  read\tx "]), Some(vec!["bao".into(), "read".into(), "x".into()]));
    assert_eq!(of(&["bao", "a b"]), Some(vec!["bao".into(), "a b".into()]));
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[" "]), None);
}

#[test]
fn its_standard_input_is_empty() {
    let script = "test -z \"$(cat)\" && printf 01234567890123456789012345678901";
    run(script).unwrap();
}
