//! A copy of the sources, to which one mutant after the other is applied.
//!
//! The copy stays from run to run, and only files that differ are written, so that builds in it are
//! incremental. It contains the files that git tracks and those that it does not ignore, with their
//! content on the disk.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::list::Mutant;
use crate::failure::{Failure, Result, io};

/// The copy.
pub struct Tree {
    copy: PathBuf,
}

impl Tree {
    /// Updates `copy` from `top`.
    pub fn copy(top: &Path, copy: PathBuf) -> Result<Self> {
        let files = tracked(top)?;
        for file in &files {
            update(&top.join(file), &copy.join(file))?;
        }
        let wanted: HashSet<PathBuf> = files.iter().map(|file| copy.join(file)).collect();
        for old in files_under(&copy)? {
            if !wanted.contains(&old) {
                fs::remove_file(&old).map_err(io(old.display()))?;
            }
        }
        Ok(Self { copy })
    }

    /// Path of the copy.
    pub fn path(&self) -> &Path {
        &self.copy
    }

    /// Applies one mutant. The returned value restores the file.
    pub fn mutate(&self, mutant: &Mutant) -> Result<Mutated> {
        let path = self.copy.join(&mutant.file);
        let original = fs::read_to_string(&path).map_err(io(path.display()))?;
        let broken = mutant.apply(&original)?;
        fs::write(&path, broken).map_err(io(path.display()))?;
        Ok(Mutated { path, original })
    }
}

/// A file with a mutant.
#[must_use]
pub struct Mutated {
    path: PathBuf,
    original: String,
}

impl Mutated {
    /// Restores the file.
    pub fn restore(self) -> Result<()> {
        fs::write(&self.path, &self.original).map_err(io(self.path.display()))
    }
}

/// The files that belong to the project, from its top.
fn tracked(top: &Path) -> Result<Vec<PathBuf>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(top);
    let listed = git.output().map_err(io("git ls-files"))?;
    if !listed.status.success() {
        let said = String::from_utf8_lossy(&listed.stderr).trim().to_owned();
        return Err(Failure::Input(format!("git ls-files: {said}")));
    }
    let names = String::from_utf8_lossy(&listed.stdout).into_owned();
    let files = names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from);
    // Deleted files are still listed.
    Ok(files.filter(|file| top.join(file).is_file()).collect())
}

fn update(from: &Path, to: &Path) -> Result<()> {
    let wanted = fs::read(from).map_err(io(from.display()))?;
    if fs::read(to).is_ok_and(|present| present == wanted) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(io(folder.display()))?;
    }
    // With its permissions: some are programs.
    fs::copy(from, to).map(drop).map_err(io(to.display()))
}

fn files_under(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(io(folder.display()))? {
            let path = entry.map_err(io(folder.display()))?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    Ok(files)
}
