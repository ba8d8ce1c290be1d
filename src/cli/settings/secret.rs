//! The flags that say where the secret comes from. Every command that needs the secret has them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command};

use super::values::Reader;
use crate::cli::secret_command::{SecretCommand, SecretCommandError};
use crate::clock::Clock;
use crate::engine::{SECRET_FILE_NAME, SecretError, read_secret};
use crate::model::setting::SettingError;
use crate::model::text::{DURATION_FORM, duration_text, parse_duration};
use crate::model::token::Secret;

/// Default of `--secret-wait`.
const WAIT: Duration = Duration::from_secs(60);
/// Maximum of `--secret-wait`.
const WAIT_MAX: Duration = Duration::from_secs(3_600);

/// Where the secret comes from.
#[derive(Args, Clone, Debug)]
pub struct SecretArgs {
    /// File of the secret, instead of secret.key in the data directory; it must exist
    #[arg(long, env = "JETON_SECRET_FILE", value_name = "FILE")]
    secret_file: Option<PathBuf>,

    /// Program that prints the secret, with its arguments up to the end or to a ;, instead of a
    /// file: 32 bytes or their base64. A single value is split at spaces
    #[arg(
        long,
        env = "JETON_SECRET_COMMAND",
        value_name = "PROGRAM ARG…",
        num_args = 1..,
        allow_hyphen_values = true,
        value_terminator = ";"
    )]
    secret_command: Vec<String>,

    /// Time for which --secret-command is tried again if it fails
    #[arg(
        long,
        env = "JETON_SECRET_WAIT",
        default_value_t = duration_text(WAIT),
        value_name = "DURATION"
    )]
    secret_wait: String,
}

/// Where the secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file that must exist.
    File(PathBuf),
    /// A program.
    Command(SecretCommand),
}

/// Why a secret could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretSourceError {
    /// That of a file.
    #[error(transparent)]
    File(#[from] SecretError),
    /// That of a program.
    #[error(transparent)]
    Command(#[from] SecretCommandError),
}

impl SecretSource {
    /// Reads the file, or runs the program.
    ///
    /// # Errors
    /// The file cannot be read or is no secret; the program does not give one.
    pub fn read(&self, clock: &dyn Clock) -> Result<Secret, SecretSourceError> {
        match self {
            Self::File(file) => Ok(read_secret(file)?),
            Self::Command(command) => Ok(command.run_until_signal(clock)?),
        }
    }

    /// The flag that names it.
    pub(in crate::cli) fn flag(&self) -> String {
        match self {
            Self::File(file) => format!("--secret-file {}", file.display()),
            Self::Command(_) => self.to_string(),
        }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => file.display().fmt(f),
            Self::Command(command) => write!(f, "--secret-command {command}"),
        }
    }
}

/// The command and all below it, without the variables of these flags.
fn without_variables(command: Command, ids: &[&str]) -> Command {
    let bare = |arg: Arg| match ids.contains(&arg.get_id().as_str()) {
        true => arg.env(Resettable::Reset),
        false => arg,
    };
    command.mut_args(bare).mut_subcommands(|command| without_variables(command, ids))
}

impl SecretArgs {
    /// What is wrong if a flag of the called command is among the arguments of `--secret-command`, which
    /// takes all that follows it: the command would silently do without that flag, a server without its
    /// keys or its TLS.
    pub(in crate::cli) fn swallowed_flag(
        command: &Command,
        matches: &ArgMatches,
    ) -> Option<String> {
        if let Some((name, matches)) = matches.subcommand() {
            return Self::swallowed_flag(command.find_subcommand(name)?, matches);
        }
        let words = matches.try_get_many::<String>("secret_command").ok().flatten()?;
        if matches.value_source("secret_command") != Some(ValueSource::CommandLine) {
            return None;
        }
        let has_name = |arg: &Arg, name: &str| {
            arg.get_long() == Some(name)
                || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
        };
        let is_flag = |name: &&str| command.get_opts().any(|arg| has_name(arg, name));
        let mut names = words.skip(1).filter_map(|word| {
            let (name, _) = word.split_once('=').unwrap_or((word, ""));
            name.strip_prefix("--")
        });
        let name = names.find(is_flag)?;
        Some(format!(
            "--secret-command has --{name} among its arguments, which is a flag of jeton: put a ; \
             before it, or give the whole command as one value if it is the program's"
        ))
    }

    /// The command without the variables that its flags overrule; `None` if there are none. A server
    /// refuses two sources of its secret instead.
    pub(in crate::cli) fn without_overruled(
        command: Command,
        matches: &ArgMatches,
    ) -> Option<Command> {
        let (mut called, mut name) = (matches, "");
        while let Some((below, matches)) = called.subcommand() {
            (called, name) = (matches, below);
        }
        let overruled = if name == "serve" { Vec::new() } else { Self::overruled(called) };
        (!overruled.is_empty()).then(|| without_variables(command, &overruled))
    }

    /// The variables of the source of the secret that a flag overrules, or that say nothing here.
    fn overruled(matches: &ArgMatches) -> Vec<&'static str> {
        let source = |id| matches.try_contains_id(id).ok().and_then(|_| matches.value_source(id));
        let is_given = |id| source(id) == Some(ValueSource::CommandLine);
        let mut overruled = Vec::new();
        if is_given("secret_file") {
            overruled.push("secret_command");
        }
        if is_given("secret_command") {
            overruled.push("secret_file");
        }
        let has_command =
            source("secret_command").is_some() && !overruled.contains(&"secret_command");
        if !has_command && source("secret_wait") == Some(ValueSource::EnvVariable) {
            overruled.push("secret_wait");
        }
        overruled
    }

    /// The file, if it is one.
    pub(super) fn file(&self) -> Option<PathBuf> {
        self.secret_file.clone()
    }

    /// The program, if there is one.
    pub(super) fn command(&self, reader: &mut Reader) -> Option<SecretCommand> {
        let wait = reader.duration("secret-wait", &self.secret_wait);
        SecretCommand::of(&self.secret_command, wait)
    }

    /// All mistakes in them but those of their form.
    pub(super) fn mistakes(&self, command: Option<&SecretCommand>) -> Vec<SettingError> {
        let mut mistakes = Vec::new();
        if self.secret_file.is_some() && command.is_some() {
            let mistake = SettingError::new("secret-command", "cannot be used with ");
            mistakes.push(mistake.name("secret-file"));
        }
        if command.is_none() && !self.secret_command.is_empty() {
            mistakes.push(SettingError::new("secret-command", "must name a program"));
        }
        if self.is_wait_lonely() {
            mistakes.push(SettingError::new("secret-wait", "needs ").name("secret-command"));
        }
        if command.is_some_and(|command| command.wait > WAIT_MAX) {
            let text = format!("must be 0s to {}", duration_text(WAIT_MAX));
            mistakes.push(SettingError::new("secret-wait", text));
        }
        mistakes
    }

    /// Whether `--secret-wait` means nothing here.
    fn is_wait_lonely(&self) -> bool {
        self.secret_command.is_empty() && self.secret_wait != duration_text(WAIT)
    }

    /// The source, for a command that takes no configuration file; `None` if neither flag is given.
    ///
    /// # Errors
    /// A mistake in the flags, as a sentence.
    pub(in crate::cli) fn source(&self) -> Result<Option<SecretSource>, String> {
        let wait = parse_duration(&self.secret_wait).ok().filter(|wait| *wait <= WAIT_MAX);
        let wait = wait.ok_or_else(|| {
            let max = duration_text(WAIT_MAX);
            format!("--secret-wait must be {DURATION_FORM}, at most {max}")
        })?;
        if self.is_wait_lonely() {
            return Err("--secret-wait needs --secret-command".to_owned());
        }
        let command = SecretCommand::of(&self.secret_command, wait);
        match (&self.secret_file, command) {
            (Some(_), Some(_)) => {
                Err("--secret-command (JETON_SECRET_COMMAND) cannot be used with \
                                       --secret-file (JETON_SECRET_FILE)"
                    .to_owned())
            }
            (None, None) if !self.secret_command.is_empty() => {
                Err("--secret-command must name a program".to_owned())
            }
            (Some(file), None) => Ok(Some(SecretSource::File(file.clone()))),
            (None, command) => Ok(command.map(SecretSource::Command)),
        }
    }

    /// The same; without flags the file beside the data.
    ///
    /// # Errors
    /// A mistake in the flags, as a sentence.
    pub(in crate::cli) fn source_or_in(&self, data: &Path) -> Result<SecretSource, String> {
        let beside = || SecretSource::File(data.join(SECRET_FILE_NAME));
        Ok(self.source()?.unwrap_or_else(beside))
    }
}
