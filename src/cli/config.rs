//! `jeton config`: checks a configuration file, and shows the values in force.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use toml_edit::{Array, Value as Toml};

use super::exit::MISTAKEN;
use super::out::{self, OutputError, tell};
use super::settings::{self, Given, Settings};
use crate::clock::{Clock, SystemClock};
use crate::config::file::{ConfigFile, Mistake, Value};
use crate::config::flags::Kind;
use crate::config::merge::{Setting, Source};
use crate::keys::{self, KeysError};
use crate::permissions::Strictness;
use crate::tls::{Tls, TlsFiles};

/// The subcommands of `jeton config`.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Report every mistake in a configuration file, with line and column; ignores flags and
    /// environment
    Check {
        /// The file
        file: PathBuf,
    },
    /// Print the values that `serve` would use with the same flags and environment, as a
    /// configuration file with the source of each value
    Show(Given),
}

pub(super) fn run(command: &ConfigCommand) -> ExitCode {
    let done = match command {
        ConfigCommand::Check { file } => check(file),
        ConfigCommand::Show(given) => show(given),
    };
    done.unwrap_or_else(|error| out::unprinted(&error, ""))
}

fn check(path: &Path) -> Result<ExitCode, OutputError> {
    let file = match ConfigFile::open(path, settings::flags()) {
        Ok(file) => file,
        Err(mistake) => {
            tell!("{mistake}");
            return Ok(ExitCode::from(MISTAKEN));
        }
    };
    let name = file.name.clone();
    let settings = Settings::merge(&Given::nothing(), Some(file));
    let mut mistakes = settings.check().err().unwrap_or_default();
    let (wrong, missing) = named_files(&settings);
    mistakes.extend(wrong);
    mistakes.sort_by_key(|mistake| mistake.place);
    for warning in missing {
        tell!("{warning}");
    }
    for mistake in &mistakes {
        tell!("{mistake}");
    }
    if mistakes.is_empty() {
        out::print_line(format!("{name}: ok"))?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::from(MISTAKEN))
}

/// Why a file that the configuration names cannot be used.
enum Unfit {
    /// It is missing here; it may exist on the machine that runs the server.
    Missing(PathBuf),
    /// It exists and is wrong.
    Wrong(String),
}

/// Checks the keys file as the server does. The error names the configuration key and the problem.
type Look = fn(&Settings) -> Result<(), (&'static str, Unfit)>;

const LOOKS: [Look; 3] = [look_at_keys, look_at_secret, look_at_tls];

fn look_at_keys(settings: &Settings) -> Result<(), (&'static str, Unfit)> {
    let Some(path) = settings.path("keys") else { return Ok(()) };
    match keys::file::load(path) {
        Ok(_) => Ok(()),
        Err(KeysError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Err(("keys", Unfit::Missing(path.to_owned())))
        }
        Err(error) => Err(("keys", Unfit::Wrong(error.to_string()))),
    }
}

/// The secret itself is not read: a check of a file does not need it.
fn look_at_secret(settings: &Settings) -> Result<(), (&'static str, Unfit)> {
    let Some(path) = settings.path("secret-file") else { return Ok(()) };
    let unfit = match path.metadata() {
        Ok(found) if found.is_file() => return Ok(()),
        Ok(_) => Unfit::Wrong("is not a regular file".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Unfit::Missing(path.to_owned()),
        Err(error) => Unfit::Wrong(format!("can't be read: {error}")),
    };
    Err(("secret-file", unfit))
}

fn look_at_tls(settings: &Settings) -> Result<(), (&'static str, Unfit)> {
    const KEYS: [&str; 3] = ["tls-cert", "tls-key", "tls-client-ca"];
    let files = KEYS.map(|key| settings.path(key).map(Path::to_owned));
    for (key, file) in KEYS.into_iter().zip(&files) {
        // The files belong together: one alone cannot be checked.
        if let Some(file) = file.as_ref().filter(|file| !file.exists()) {
            return Err((key, Unfit::Missing(file.clone())));
        }
    }
    // A missing flag among them is reported with the values.
    let [Some(cert), Some(key), client_ca] = files else { return Ok(()) };
    let permissions = Strictness::Warn;
    match Tls::open(TlsFiles { cert, key, client_ca, permissions }, SystemClock::new().wall()) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err((error.setting().unwrap_or(KEYS[0]), Unfit::Wrong(error.without_setting())))
        }
    }
}

/// The mistakes in the files that the configuration names, and a warning for each missing file.
fn named_files(settings: &Settings) -> (Vec<Mistake>, Vec<Mistake>) {
    let (mut wrong, mut missing) = (Vec::new(), Vec::new());
    let Some(file) = settings.file() else { return (wrong, missing) };
    for (key, unfit) in LOOKS.into_iter().filter_map(|look| look(settings).err()) {
        let told = |text: String| {
            let text = format!("{key}: {text}");
            Mistake { file: Some(file.name.clone()), place: file.place(key), text }
        };
        match unfit {
            Unfit::Wrong(text) => wrong.push(told(text)),
            Unfit::Missing(path) => {
                let path = path.to_string_lossy();
                missing.push(told(format!("warning: the file {path:?} does not exist here")));
            }
        }
    }
    (wrong, missing)
}

fn show(given: &Given) -> Result<ExitCode, OutputError> {
    let settings = match Settings::read(given).map_err(|mistake| vec![mistake]) {
        Ok(settings) => settings,
        Err(mistakes) => return Ok(mistaken(&mistakes)),
    };
    if let Err(mistakes) = settings.check() {
        return Ok(mistaken(&mistakes));
    }
    out::print(shown(&settings))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes `settings` as a configuration file.
fn shown(settings: &Settings) -> String {
    let mut text = String::from(
        "# The configuration in force, and the source of each value.\n\
         # It contains no secret: flags name files, never their content.\n",
    );
    if let Some(file) = settings.file() {
        text.push_str(&format!("# The file: {}\n", file.name));
    }
    text.push('\n');
    // A configuration file cannot name another one.
    for setting in settings.iter().filter(|setting| setting.flag.key != "config") {
        let origin = settings.origin(setting);
        let key = &setting.flag.key;
        // Writing to a string cannot fail.
        let _ = match written(setting) {
            Written::Value(value) => {
                writeln!(text, "{:40} # {origin}", format!("{key} = {value}"))
            }
            Written::NotSet => writeln!(text, "{:40} # not set", format!("# {key} =")),
            Written::NotText => writeln!(
                text,
                "# {key} = {}  # {origin}; not UTF-8, so no file can have it",
                setting.shown()
            ),
        };
    }
    text
}

/// Reports every mistake as `serve` does.
pub(super) fn mistaken(mistakes: &[Mistake]) -> ExitCode {
    for mistake in mistakes {
        tell!("error: {mistake}");
    }
    ExitCode::from(MISTAKEN)
}

/// A value as it is written in a configuration file.
enum Written {
    Value(Toml),
    NotSet,
    NotText,
}

fn written(setting: &Setting) -> Written {
    let texts = match &setting.value {
        Value::Switch(on) => return Written::Value(Toml::from(*on)),
        Value::Texts(texts) if texts.is_empty() && !matches!(setting.source, Source::File(_)) => {
            return Written::NotSet;
        }
        Value::Texts(texts) => texts,
    };
    let Some(texts) = texts.iter().map(|text| text.to_str()).collect::<Option<Vec<_>>>() else {
        return Written::NotText;
    };
    if setting.flag.kind == Kind::Many {
        return Written::Value(Toml::from(texts.into_iter().collect::<Array>()));
    }
    let text = texts.concat();
    let number = text.parse::<i64>().ok().filter(|number| number.to_string() == text);
    match number.filter(|_| !setting.flag.is_path) {
        Some(number) => Written::Value(Toml::from(number)),
        None => Written::Value(Toml::from(text)),
    }
}
