//! Both sides: their worktrees, and what is built in them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::pairs::{Binaries, Fault};
use super::process::{output, run, say};
use super::revision::{Repository, Revision};
use crate::failure::{Failure, Result, at};
use crate::target::environment;

/// The server's package and program.
const SERVER: &str = "jeton";
/// The bench that counts instructions.
pub const BENCH: &str = "instructions";

/// One revision, checked out.
#[derive(Clone, Debug)]
pub struct Side {
    revision: Revision,
    /// `source`, a worktree, and `target`, which stays for the next gate on the same commit. One
    /// `target` for both would be a trap: cargo tells packages apart by their place in their
    /// workspace, and takes what one commit built for the other's, where no file is younger.
    folder: PathBuf,
}

/// Both revisions, checked out.
#[derive(Debug)]
pub struct Sides {
    repository: Repository,
    /// What is compared with.
    pub base: Side,
    /// What is judged.
    pub head: Side,
}

impl Sides {
    /// Finds both revisions and checks them out below `folder`.
    ///
    /// # Errors
    /// A revision is not known, or git refused.
    pub fn checkout(
        repository: &Repository,
        folder: &Path,
        base: &str,
        head: &str,
    ) -> Result<Self> {
        let side = |name: &str| -> Result<Side> {
            let revision = repository.resolve(name)?;
            let folder = folder.join(&revision.commit);
            Ok(Side { revision, folder })
        };
        let (base, head) = (side(base)?, side(head)?);
        if repository.is_dirty()? {
            say("the working tree has changes that are not committed: they are not measured");
        }
        if base.revision.commit == head.revision.commit {
            say("base and head are the same commit: one build serves both");
        }
        let sides = Self { repository: repository.clone(), base, head };
        for side in sides.each() {
            std::fs::create_dir_all(&side.folder).map_err(at(&side.folder))?;
            repository.add_worktree(&side.revision, &side.source())?;
        }
        Ok(sides)
    }

    /// Both, or the one where they are the same.
    pub fn each(&self) -> impl Iterator<Item = &Side> {
        let head = (self.head.folder != self.base.folder).then_some(&self.head);
        std::iter::once(&self.base).chain(head)
    }

    /// Builds both servers: the base first, so that what is wrong with the machine is not taken for
    /// the head's.
    ///
    /// # Errors
    /// A build failed, or the two would be built by different compilers; says whose fault it is.
    pub fn build_servers(&self) -> std::result::Result<Binaries, Fault> {
        self.check_compilers().map_err(Fault::Base)?;
        self.base.build_server().map_err(Fault::Base)?;
        self.head.build_server().map_err(Fault::Head)?;
        let binary = |side: &Side| side.target().join("release").join(SERVER);
        Ok(Binaries { base: binary(&self.base), head: binary(&self.head) })
    }

    /// A compiler's regression would be taken for the code's.
    ///
    /// # Errors
    /// The two differ.
    pub fn check_compilers(&self) -> Result<()> {
        let version = |side: &Side| {
            let mut command = Command::new("rustc");
            output(command.arg("--version").current_dir(side.source()))
        };
        let (base, head) = (version(&self.base)?, version(&self.head)?);
        if base == head {
            return Ok(());
        }
        Err(Failure::Input(format!(
            "base is built by {base} and head by {head}: set RUSTUP_TOOLCHAIN, so that one builds both"
        )))
    }

    /// Removes the worktrees; what was built stays.
    ///
    /// # Errors
    /// What git or the system said.
    pub fn remove(&self) -> Result<()> {
        self.each().try_for_each(|side| self.repository.remove_worktree(&side.source()))
    }
}

impl Side {
    /// Which one.
    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    /// Its worktree.
    pub fn source(&self) -> PathBuf {
        self.folder.join("source")
    }

    /// Where its counts are written.
    pub fn counts(&self) -> PathBuf {
        self.folder.join("counts")
    }

    fn build_server(&self) -> Result<()> {
        let args = ["build", "--release", "--locked", "-p", SERVER, "--bin", SERVER];
        run(self.cargo().args(args))
    }

    fn target(&self) -> PathBuf {
        self.folder.join("target")
    }

    /// Whether it has a bench that counts instructions.
    ///
    /// # Errors
    /// Its manifest cannot be read.
    pub fn has_bench(&self) -> Result<bool> {
        let manifest = self.toml("Cargo.toml")?;
        let benches = manifest.get("bench").and_then(toml::Value::as_array);
        let is_it =
            |bench: &toml::Value| bench.get("name").and_then(toml::Value::as_str) == Some(BENCH);
        Ok(benches.is_some_and(|benches| benches.iter().any(is_it)))
    }

    /// The version of a package in its lock file.
    ///
    /// # Errors
    /// The lock file cannot be read.
    pub fn locked_version(&self, package: &str) -> Result<Option<String>> {
        let lock = self.toml("Cargo.lock")?;
        let field = |entry: &toml::Value, name: &str| {
            entry.get(name).and_then(toml::Value::as_str).map(str::to_owned)
        };
        let packages = lock.get("package").and_then(toml::Value::as_array);
        let found = packages.and_then(|packages| {
            packages.iter().find(|entry| field(entry, "name").as_deref() == Some(package))
        });
        Ok(found.and_then(|entry| field(entry, "version")))
    }

    fn toml(&self, name: &str) -> Result<toml::Table> {
        let path = self.source().join(name);
        let text = std::fs::read_to_string(&path).map_err(at(&path))?;
        text.parse().map_err(|error| Failure::Input(format!("{}: {error}", path.display())))
    }

    /// cargo, in its worktree.
    pub fn cargo(&self) -> Command {
        let mut command = Command::new("cargo");
        environment::for_tool(&mut command);
        command.current_dir(self.source()).env("CARGO_TARGET_DIR", self.target());
        // With it the programs would lie in another folder.
        command.env_remove("CARGO_BUILD_TARGET");
        command
    }
}
