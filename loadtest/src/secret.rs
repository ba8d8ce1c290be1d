//! Keys, passwords and private keys: read from files that others can't read, and never printed.

use std::fmt;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::failure::{Failure, Result};

/// The longest that is taken, in bytes; jeton's keys have 47.
pub const LEN_MAX: usize = 1 << 10;
/// The largest file that is read: a private key or a secret is far smaller.
const FILE_MAX: u64 = 1 << 20;
/// Bits of a mode that let others than the owner and the group do something.
const OTHERS: u32 = 0o007;

/// Words of a command line, some of which may be secrets: their `Debug` is that of [`hidden`].
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Words(pub Vec<String>);

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hidden(self.0.clone()).fmt(f)
    }
}

impl std::ops::Deref for Words {
    type Target = Vec<String>;

    fn deref(&self) -> &Vec<String> {
        &self.0
    }
}

impl std::ops::DerefMut for Words {
    fn deref_mut(&mut self) -> &mut Vec<String> {
        &mut self.0
    }
}

impl From<Vec<String>> for Words {
    fn from(words: Vec<String>) -> Self {
        Self(words)
    }
}

/// From now on this process, and what it starts, leaves no image of its memory behind where it
/// crashes: a secret is in it.
pub fn forbid_core_dumps() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Core).maximum;
    // A limit can always be lowered.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum });
}

/// A text that is shown to the server alone. `Debug` does not print it.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The secrets that this process has read or made.
static KNOWN: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// A shorter text is no secret that could be found again in another text.
const KNOWN_LEN_MIN: usize = 4;

impl From<String> for Secret {
    fn from(text: String) -> Self {
        forbid_core_dumps();
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if text.len() >= KNOWN_LEN_MIN && !known.contains(&text) {
            known.push(text.clone());
        }
        Self(text)
    }
}

/// A server's text without the secrets that this process knows: an error may repeat what was sent.
pub fn without_secrets(text: String) -> String {
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.iter().fold(text, |text, secret| match text.contains(secret) {
        true => text.replace(secret, HIDDEN),
        false => text,
    })
}

impl Secret {
    /// The text itself.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// With what a Redis or Valkey is asked for its data (`AUTH`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Credentials {
    /// None for the user `default`.
    pub user: Option<String>,
    /// Its password.
    pub password: Secret,
}

/// The API key in a file that holds nothing else.
///
/// # Errors
/// [`Failure::Input`]: the file is missing, is readable by other users, or holds something else.
pub fn key(flag: &str, file: &Path) -> Result<Secret> {
    match &words(flag, file)?[..] {
        [key] => Ok(Secret::from(key.clone())),
        [] => Err(refuse(flag, file, "is empty: it must hold one key")),
        _ => Err(refuse(flag, file, "must hold one key and nothing else")),
    }
}

/// The password in a file, or the user in its first line and the password in its second.
///
/// # Errors
/// As for [`key`].
pub fn credentials(flag: &str, file: &Path) -> Result<Credentials> {
    const SHAPE: &str = "must hold a password, or a user and a password in two lines";
    match &words(flag, file)?[..] {
        [password] => Ok(Credentials { user: None, password: password.clone().into() }),
        [user, password] => {
            Ok(Credentials { user: Some(user.clone()), password: password.clone().into() })
        }
        [] => Err(refuse(flag, file, &format!("is empty: it {SHAPE}"))),
        _ => Err(refuse(flag, file, SHAPE)),
    }
}

/// The lines of a file, each a word; none where the file is empty.
fn words(flag: &str, file: &Path) -> Result<Vec<String>> {
    let bytes = read_bytes(flag, file)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| refuse(flag, file, "is not text: is it another file?"))?;
    let lines: Vec<String> = text.trim().lines().map(|line| line.trim().to_owned()).collect();
    let is_word =
        |line: &String| line.len() <= LEN_MAX && line.bytes().all(|byte| byte.is_ascii_graphic());
    if !lines.iter().all(is_word) {
        let problem = "a line has blanks, more than 1,024 bytes, or characters other than ASCII";
        return Err(refuse(flag, file, problem));
    }
    Ok(lines)
}

/// What is in a file that others may not read.
///
/// # Errors
/// [`Failure::Input`]: the file is missing, or readable by other users.
pub fn read_bytes(flag: &str, file: &Path) -> Result<Vec<u8>> {
    let found = std::fs::metadata(file);
    let found = found.map_err(|error| refuse(flag, file, &error.to_string()))?;
    let mode = found.permissions().mode() & 0o777;
    // A pipe has no mode that says anything.
    if found.is_file() && mode & OTHERS != 0 {
        let problem = format!(
            "other users can read or write it (mode {mode:03o}): restrict it to its owner with \
             `chmod 600`"
        );
        return Err(refuse(flag, file, &problem));
    }
    read_limited(flag, file)
}

/// What is in a file, 1 MiB at most: also of what has no end.
///
/// # Errors
/// [`Failure::Input`]: it can't be read, or is longer.
pub fn read_limited(flag: &str, file: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(file)
        .and_then(|open| open.take(FILE_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| refuse(flag, file, &error.to_string()))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(refuse(flag, file, "has more than 1 MiB: is it another file?"));
    }
    Ok(bytes)
}

fn refuse(flag: &str, file: &Path, problem: &str) -> Failure {
    Failure::Input(format!("{flag} {}: {problem}", file.display()))
}

/// Flags of servers whose value is a secret, in lower case.
const SECRET_FLAGS: [&str; 8] = [
    "--auth",
    "--masterauth",
    "--masteruser",
    "--primaryauth",
    "--requirepass",
    "--tls-client-key-file-pass",
    "--tls-key-file-pass",
    "--user",
];
/// Parts of names of variables whose value is a secret, in upper case.
const SECRET_NAMES: [&str; 5] = ["AUTH", "PASS", "SECRET", "TOKEN", "KEY"];
/// The harness's flag in front of an argument of the server.
const SERVER_ARG: &str = "--server-arg";
/// What stands in place of one.
const HIDDEN: &str = "…";

/// A command line without the secrets that are known by their place: passwords behind flags of
/// Redis, Valkey and pogocache, and variables (`NAME=VALUE`) that are named after one.
pub fn hidden(words: Vec<String>) -> Vec<String> {
    let mut is_next = false;
    let mut hide = |word: String| {
        // Between a flag and its value the harness wants its own flag.
        if word == SERVER_ARG {
            return word;
        }
        let prefix = word.strip_prefix(SERVER_ARG).and_then(|rest| rest.strip_prefix('='));
        let own = prefix.unwrap_or(&word);
        let shown = match std::mem::take(&mut is_next) {
            true => Some(HIDDEN.to_owned()),
            false => hidden_argument(own),
        };
        is_next = shown.is_none() && is_secret_flag(own);
        let Some(shown) = shown else { return word };
        match prefix {
            Some(_) => format!("{SERVER_ARG}={shown}"),
            None => shown,
        }
    };
    words.into_iter().map(&mut hide).collect()
}

fn is_secret_flag(word: &str) -> bool {
    SECRET_FLAGS.contains(&word.to_ascii_lowercase().as_str())
}

/// `NAME=VALUE` or `--flag value` without the value, where it is a secret; also behind another `=`.
fn hidden_argument(word: &str) -> Option<String> {
    if let Some((flag, _)) = word.split_once(' ').filter(|(flag, _)| is_secret_flag(flag)) {
        return Some(format!("{flag} {HIDDEN}"));
    }
    let mut begin = 0;
    for (at, _) in word.match_indices('=') {
        let (name, value) = (&word[begin..at], &word[at + 1..]);
        if is_secret_flag(name) || is_secret_variable(name, value) {
            return Some(format!("{}={HIDDEN}", &word[..at]));
        }
        begin = at + 1;
    }
    None
}

fn is_secret_variable(name: &str, value: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let is_name =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    // A variable that names a file holds no secret.
    let names_file = value.starts_with('/') && (upper.ends_with("_FILE") || upper == "JETON_KEYS");
    is_name && !names_file && SECRET_NAMES.iter().any(|part| upper.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str, mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).expect("mode");
        file
    }

    #[test]
    fn a_key_is_all_that_is_in_its_file() {
        for (text, expected) in [
            ("jeton_1\n", Some("jeton_1")),
            ("", None),
            ("\n \n", None),
            ("two words", None),
            ("a\r\nHost: b", None),
            ("a\nb", None),
            (&*"x".repeat(LEN_MAX + 1), None),
        ] {
            let file = file(text, 0o600);
            let read = key("--key-file", file.path());
            assert_eq!(read.as_ref().ok().map(Secret::text), expected, "{text:?}");
            let said = read.err().map(|failure| failure.to_string());
            assert!(said.is_none_or(|said| said.starts_with("--key-file /")), "{text:?}");
        }
        assert!(key("--key-file", Path::new("/no/such/file")).is_err());
    }

    #[test]
    fn credentials_are_a_password_or_a_user_and_a_password() {
        let read = |text: &str| credentials("--auth-file", file(text, 0o640).path());
        let password = Secret("p:w".to_owned());
        assert_eq!(
            read("p:w\n").expect("one line"),
            Credentials { user: None, password: password.clone() }
        );
        let user = Some("me".to_owned());
        assert_eq!(read("me\np:w\n").expect("two"), Credentials { user, password });
        for text in ["", "a\nb\nc", "a b"] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_file_that_everybody_can_read_is_refused_with_the_remedy() {
        for (mode, refused) in [(0o600, false), (0o640, false), (0o644, true), (0o602, true)] {
            let file = file("jeton_1", mode);
            let said = key("--key-file", file.path()).err().map(|failure| failure.to_string());
            assert_eq!(said.is_some(), refused, "{mode:o}");
            assert!(said.is_none_or(|said| said.contains("chmod 600")));
        }
    }

    #[test]
    fn p9_debug_prints_no_secret_among_words() {
        let words = ["redis-server", "--requirepass", "hunter2", "A_PASS=hunter2"];
        let shown = format!("{:?}", Words(words.map(str::to_owned).into()));
        assert!(!shown.contains("hunter2") && shown.contains("--requirepass"), "{shown}");
    }

    #[test]
    fn p9_debug_prints_no_secret() {
        let password = Secret("hunter2hunter2".to_owned());
        let credentials = Credentials { user: None, password };
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }

    #[test]
    fn p9_a_command_line_shows_no_password() {
        for (given, shown) in [
            (
                "redis-server --requirepass hunter2 --port 1",
                "redis-server --requirepass … --port 1",
            ),
            (
                "--server-arg --requirepass --server-arg hunter2 --out x",
                "--server-arg --requirepass --server-arg … --out x",
            ),
            ("--server-arg=--masterauth=hunter2", "--server-arg=--masterauth=…"),
            (
                "--server-arg=--requirepass --server-arg=hunter2 --out x",
                "--server-arg=--requirepass --server-arg=… --out x",
            ),
            ("redis-server --RequirePass hunter2", "redis-server --RequirePass …"),
            ("pogocache --auth hunter2 -p 1", "pogocache --auth … -p 1"),
            ("--server-env REDISCLI_AUTH=/hunter2", "--server-env REDISCLI_AUTH=…"),
            ("--server-env redis_password=hunter2", "--server-env redis_password=…"),
            ("--server-env REDIS_PASSWORD=hunter2", "--server-env REDIS_PASSWORD=…"),
            ("--server-env=API_KEY=hunter2=", "--server-env=API_KEY=…"),
            ("MALLOC_CONF=a:b JETON_KEYS=/k", "MALLOC_CONF=a:b JETON_KEYS=/k"),
            ("--key-file key --mix resolve=1", "--key-file key --mix resolve=1"),
        ] {
            let words = given.split(' ').map(str::to_owned).collect();
            assert_eq!(hidden(words).join(" "), shown);
        }
    }
}
