//! Revisions and their worktrees.

use std::fs::{File, FileTimes};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::process::{git, output, remove_dir, run};
use crate::failure::{Failure, Result, at};

/// The repository that the gate was called in.
#[derive(Clone, Debug)]
pub struct Repository {
    root: PathBuf,
}

/// A commit, and what it was called.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Revision {
    /// As it was given.
    pub name: String,
    /// 40 hex digits.
    pub commit: String,
    /// The first line of its message.
    pub subject: String,
}

impl Repository {
    /// Where this process stands.
    ///
    /// # Errors
    /// That is no git repository, or there is no git.
    pub fn here() -> Result<Self> {
        let here = std::env::current_dir().map_err(at(Path::new(".")))?;
        Self::at(&here)
    }

    /// The repository that a folder belongs to.
    ///
    /// # Errors
    /// It belongs to none, or there is no git.
    pub fn at(folder: &Path) -> Result<Self> {
        let root =
            output(git(folder).args(["rev-parse", "--show-toplevel"])).map_err(
                |error| match error {
                    Failure::Input(_) => Failure::Input(format!(
                        "{} is not in a git repository: the gate builds revisions of one",
                        folder.display()
                    )),
                    other => other,
                },
            )?;
        Ok(Self { root: PathBuf::from(root) })
    }

    /// Where cargo puts what it builds here.
    ///
    /// # Errors
    /// The current folder is not known.
    pub fn target_dir(&self) -> Result<PathBuf> {
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let target = target.unwrap_or_else(|| self.root.join("target"));
        std::path::absolute(&target).map_err(at(&target))
    }

    /// The commit that a name stands for.
    ///
    /// # Errors
    /// There is none.
    pub fn resolve(&self, name: &str) -> Result<Revision> {
        let commit = format!("{name}^{{commit}}");
        // A name that begins with a dash must not be taken for an option.
        let args = ["rev-parse", "--verify", "--quiet", "--end-of-options", &commit];
        let commit = self.git(&args).map_err(|_| {
            Failure::Input(format!(
                "`{name}` is not a revision of {}; in a shallow clone, fetch its history first \
                 (fetch-depth: 0)",
                self.root.display()
            ))
        })?;
        let subject = self.git(&["log", "-1", "--format=%s", &commit])?;
        Ok(Revision { name: name.to_owned(), commit, subject })
    }

    /// Whether files that git knows were changed and not committed.
    ///
    /// # Errors
    /// What git said.
    pub fn is_dirty(&self) -> Result<bool> {
        let changed = self.git(&["status", "--porcelain", "--untracked-files=no"])?;
        Ok(!changed.is_empty())
    }

    /// Makes a worktree of a commit at `path`, in place of one that was left there.
    ///
    /// # Errors
    /// What git or the system said.
    pub fn add_worktree(&self, revision: &Revision, path: &Path) -> Result<()> {
        self.remove_worktree(path)?;
        let mut command = self.command(&["worktree", "add", "--quiet", "--force", "--detach"]);
        run(command.arg(path).arg(&revision.commit))?;
        self.date_back(revision, path)
    }

    /// Gives all files the time of their commit: cargo builds again what is younger than the last
    /// build, and a worktree that was made anew would be.
    fn date_back(&self, revision: &Revision, path: &Path) -> Result<()> {
        let time = self.git(&["log", "-1", "--format=%ct", &revision.commit])?;
        let seconds = time.parse().unwrap_or(0);
        let times =
            FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        for name in
            output(git(path).args(["ls-files", "-z"]))?.split('\0').filter(|name| !name.is_empty())
        {
            let file = path.join(name);
            // A link may lead out of the worktree: what lies behind it is not the gate's.
            if file.symlink_metadata().is_ok_and(|found| found.is_file()) {
                let opened = File::options().append(true).open(&file).map_err(at(&file))?;
                opened.set_times(times).map_err(at(&file))?;
            }
        }
        Ok(())
    }

    /// Removes a worktree; does nothing if it does not exist.
    ///
    /// # Errors
    /// What git or the system said.
    pub fn remove_worktree(&self, path: &Path) -> Result<()> {
        if path.join(".git").exists() {
            let mut command = self.command(&["worktree", "remove", "--force", "--force"]);
            // A worktree that git has forgotten is a mere folder.
            let _ = output(command.arg(path));
        }
        remove_dir(path)?;
        self.git(&["worktree", "prune"]).map(|_| ())
    }

    /// Removes all worktrees of earlier gates.
    ///
    /// # Errors
    /// What git or the system said.
    pub fn remove_worktrees(&self, folder: &Path) -> Result<()> {
        let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
        for entry in entries {
            let source = entry.map_err(at(folder))?.path().join("source");
            if source.exists() {
                self.remove_worktree(&source)?;
            }
        }
        Ok(())
    }

    fn git(&self, args: &[&str]) -> Result<String> {
        output(&mut self.command(args))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = git(&self.root);
        command.args(args);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(folder: &Path) -> Repository {
        for args in [
            &["init", "--quiet"][..],
            &[
                "-c",
                "user.name=a",
                "-c",
                "user.email=a@b.c",
                "commit",
                "--quiet",
                "--allow-empty",
                "-m",
                "first",
            ],
        ] {
            output(git(folder).args(args)).unwrap();
        }
        Repository::at(folder).unwrap()
    }

    fn commit(repository: &Repository, file: &str, text: &str) {
        std::fs::write(repository.root.join(file), text).unwrap();
        repository.git(&["add", file]).unwrap();
        let args = ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "-m", "next"];
        repository.git(&args).unwrap();
    }

    #[test]
    fn outside_of_a_repository_it_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let error = Repository::at(folder.path()).unwrap_err().to_string();
        assert!(error.contains("not in a git repository"), "{error}");
    }

    #[test]
    fn an_unknown_revision_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let repository = repository(folder.path());
        for name in ["nowhere", "--help", "-1", ""] {
            let error = repository.resolve(name).unwrap_err().to_string();
            assert!(error.contains(&format!("`{name}` is not a revision")), "{error}");
        }
        assert_eq!(repository.resolve("HEAD").unwrap().subject, "first");
    }

    #[test]
    fn what_a_tracked_link_leads_to_keeps_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        let time = || outside.path().metadata().unwrap().modified().unwrap();
        let repository = repository(folder.path());
        std::os::unix::fs::symlink(outside.path(), folder.path().join("link")).unwrap();
        commit(&repository, "link", "");
        let before = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        outside.as_file().set_times(FileTimes::new().set_modified(before)).unwrap();
        let head = repository.resolve("HEAD").unwrap();
        repository.add_worktree(&head, &folder.path().join("target/gate/x/source")).unwrap();
        assert_eq!(time(), before);
    }

    #[test]
    fn a_worktree_has_the_commit_and_its_time_and_goes_again() {
        let folder = tempfile::tempdir().unwrap();
        let repository = repository(folder.path());
        commit(&repository, "a file", "one");
        let old = repository.resolve("HEAD").unwrap();
        commit(&repository, "a file", "two");
        std::fs::write(repository.root.join("a file"), "three").unwrap();
        assert!(repository.is_dirty().unwrap());
        let path = folder.path().join("target/gate/x/source");
        for _ in 0..2 {
            repository.add_worktree(&old, &path).unwrap();
            assert_eq!(std::fs::read_to_string(path.join("a file")).unwrap(), "one");
            let modified = path.join("a file").metadata().unwrap().modified().unwrap();
            let since = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            let wanted = repository.git(&["log", "-1", "--format=%ct", &old.commit]).unwrap();
            assert_eq!(since.to_string(), wanted);
        }
        repository.remove_worktrees(&folder.path().join("target/gate")).unwrap();
        assert!(!path.exists());
        let left = repository.git(&["worktree", "list"]).unwrap();
        assert_eq!(left.lines().count(), 1, "{left}");
    }
}
