//! What was found, and its sentences.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::audit::chain::LogKind;

/// Maximum findings of a log that are kept; more are counted.
pub(super) const FINDINGS_MAX: usize = 1_000;

/// A line of a file, or a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The number of the line, from 1; 0: the file as a whole.
    pub line: u64,
}

impl Place {
    pub(super) fn new(file: &Path, line: u64) -> Self {
        Self { file: file.to_owned(), line }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file.display()),
            line => write!(f, "{}:{line}", self.file.display()),
        }
    }
}

/// What is wrong at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The mark does not fit, though the number does.
    Changed,
    /// Lines before this one are missing.
    Missing {
        /// Number of the first.
        first: u64,
        /// Number of the last.
        last: u64,
    },
    /// The number comes again or too late.
    OutOfOrder {
        /// The line's number.
        seq: u64,
        /// The number before it.
        after: u64,
    },
    /// The line has no mark, so no server with this chain wrote it.
    Unmarked,
    /// A line says that it is a checkpoint, and the key has not signed it.
    Forged,
    /// A checkpoint of another log.
    Foreign {
        /// That log.
        log: LogKind,
        /// Id of its chain.
        id: String,
    },
    /// A checkpoint of this chain that stands in another place.
    Misplaced {
        /// Its number.
        seq: u64,
    },
    /// A checkpoint before this one is missing.
    CheckpointMissing,
    /// The marks fit each other, and the signed hash does not fit them.
    Recomputed {
        /// Number at the checkpoint before.
        after: u64,
        /// Number at this checkpoint.
        until: u64,
    },
    /// Whole files are missing before this one.
    FilesMissing {
        /// Number of the first.
        first: u64,
        /// Number of the last.
        last: u64,
    },
    /// Files before the first one have checkpoints that were kept elsewhere.
    FirstFilesMissing {
        /// Number of the first.
        first: u64,
        /// Number of the last.
        last: u64,
        /// Number at the newest of these checkpoints.
        seq: u64,
        /// Its time.
        time: String,
    },
    /// A start has found lines without a signature.
    Unsigned {
        /// How many.
        lines: u64,
        /// Number of the last.
        last: u64,
    },
    /// Lines before the first checkpoint of the first file.
    Headless {
        /// How many.
        lines: u64,
    },
    /// The first file begins with a checkpoint that no file begins with.
    BeginMissing {
        /// The last number before it.
        seq: u64,
    },
    /// A line at the end of a file has no line break, though it is complete, or other files follow.
    NoLineBreak,
    /// The file has no checkpoint of this key.
    NoChain,
    /// No line of a log was given that has checkpoints kept elsewhere.
    LogMissing {
        /// The log.
        log: LogKind,
        /// Number at the newest of its checkpoints.
        seq: u64,
    },
    /// Files of two chains of one log.
    SecondChain {
        /// The log.
        log: LogKind,
        /// Ids of the chains.
        ids: [String; 2],
    },
    /// The log ends before a checkpoint that was kept elsewhere.
    RolledBack {
        /// Number at that checkpoint.
        seq: u64,
        /// Its time.
        time: String,
        /// The last number in the log.
        end: u64,
    },
    /// A checkpoint that was kept elsewhere is not among the lines.
    NotInChain {
        /// Number at that checkpoint.
        seq: u64,
        /// Its time.
        time: String,
    },
    /// No line was given of a chain that has checkpoints kept elsewhere.
    OtherChain {
        /// Id of that chain.
        id: String,
        /// Number at the newest of these checkpoints.
        seq: u64,
        /// Its time.
        time: String,
    },
}

impl What {
    /// The sentences of what is missing as a whole.
    fn of_a_whole(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeginMissing { seq } => write!(
                f,
                "the beginning of this file is missing: its lines up to seq {seq} were removed"
            ),
            Self::NoLineBreak => f.write_str(
                "the line has no line break, which the server writes with each: it was added, or \
                 its end was removed",
            ),
            Self::LogMissing { log, seq } => write!(
                f,
                "the {log} have checkpoints that were kept elsewhere, up to seq {seq}, and no line of \
                 that log was given: it was emptied or removed"
            ),
            Self::OtherChain { id, seq, time } => write!(
                f,
                "given checkpoints are of another chain ({id}, up to seq {seq}, {time}), of which no \
                 line was given: the log was removed, replaced or begun anew, or they are another server's"
            ),
            Self::FirstFilesMissing { first, last, seq, time } => {
                let (files, were, they) = match first == last {
                    true => (format!("file number {first}"), "was", "it was"),
                    false => (format!("files number {first} to {last}"), "were", "they were"),
                };
                write!(
                    f,
                    "{files} of the log {were} not given, with lines up to seq {seq} ({time}): {they} \
                     removed or emptied (--retained accepts that of old files)"
                )
            }
            Self::NoChain => {
                f.write_str("the file has no checkpoint of this key: no line of it can be checked")
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed => {
                f.write_str("this line was changed or added, or one since the last checkpoint was")
            }
            Self::Missing { first, last } if first == last => {
                write!(f, "the line with seq {first} is missing before this one")
            }
            Self::Missing { first, last } => {
                write!(f, "lines with seq {first} to {last} are missing before this one")
            }
            Self::OutOfOrder { seq, after } => {
                write!(f, "seq {seq} follows seq {after}: a line was added, moved or repeated")
            }
            Self::Unmarked => f.write_str("the line has no chain: the server did not write it so"),
            Self::Forged => f.write_str("this checkpoint is not signed by this key"),
            Self::Foreign { log, id } => {
                write!(f, "this checkpoint is of another log ({log}, id {id})")
            }
            Self::Misplaced { seq } => {
                write!(f, "the checkpoint of seq {seq} does not belong in this place")
            }
            Self::CheckpointMissing => f.write_str("a checkpoint is missing before this one"),
            Self::Recomputed { after, until } => write!(
                f,
                "lines between seq {after} and {until} were changed and their chain was \
                 recomputed, or a checkpoint among them was removed: their hash is not what this \
                 checkpoint signs"
            ),
            Self::FilesMissing { first, last } if first == last => {
                write!(f, "file number {first} of the log is missing before this one")
            }
            Self::FilesMissing { first, last } => {
                write!(f, "files number {first} to {last} of the log are missing before this one")
            }
            Self::Unsigned { lines, last } => write!(
                f,
                "the server found {lines} unsigned lines, up to seq {last}, when it started after a \
                 crash: nobody can say whether they were changed before that"
            ),
            Self::Headless { lines } => {
                write!(f, "the {lines} lines before this first checkpoint cannot be checked")
            }
            Self::SecondChain { log, ids: [first, second] } => write!(
                f,
                "the files have two chains of the {log} ({first} and {second}): the log was begun \
                 anew, or a file is of another server"
            ),
            Self::RolledBack { seq, time, end } => write!(
                f,
                "the log ends at seq {end}, before the given checkpoint of seq {seq} ({time}): its \
                 end was removed, or the log was replaced by an older one"
            ),
            Self::NotInChain { seq, time } => write!(
                f,
                "the given checkpoint of seq {seq} ({time}) is not in the log: its lines were \
                 replaced by somebody with the secret, or removed"
            ),
            _ => self.of_a_whole(f),
        }
    }
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// What.
    pub what: What,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// What is known of one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogReport {
    /// The log.
    pub log: LogKind,
    /// Id of its chain: 16 hexadecimal digits.
    pub id: String,
    /// The node of a cluster that wrote it.
    pub node: Option<String>,
    /// Its first line.
    pub begin: Place,
    /// Number of files.
    pub files: u64,
    /// Number of lines, checkpoints included.
    pub lines: u64,
    /// Number of checkpoints.
    pub checkpoints: u64,
    /// Number of the last event.
    pub seq: u64,
    /// Time of the last checkpoint.
    pub signed_until: String,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Findings that were left out, because there were too many.
    pub more_findings: u64,
    /// What the files cannot show.
    pub notes: Vec<String>,
}

/// What is known of all files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The logs.
    pub logs: Vec<LogReport>,
    /// What belongs to no single log.
    pub findings: Vec<Finding>,
    /// What the files cannot show.
    pub notes: Vec<String>,
}

impl Report {
    /// All findings, those of the logs first.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.logs.iter().flat_map(|log| &log.findings).chain(&self.findings)
    }
}
