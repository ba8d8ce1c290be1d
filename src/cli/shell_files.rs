//! `jeton completions SHELL` and `jeton man DIR`: files for a shell and for `man`, made from the
//! command line's own definition. Packages install them.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::exit::UNANSWERED;
use super::out;
use crate::build_info::VERSION;

/// Name of the program in the completions and at the head of the manual pages.
const PROGRAM: &str = "jeton";

/// `jeton completions`
#[derive(Args, Clone, Debug)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// `jeton man`
#[derive(Args, Clone, Debug)]
pub(super) struct ManArgs {
    /// The directory for the pages. It is created if it does not exist; pages of the same name are
    /// overwritten
    dir: PathBuf,
}

pub(super) fn run_completions(args: &CompletionsArgs, mut command: Command) -> ExitCode {
    let mut script = Vec::new();
    // Writing to memory cannot fail; to a closed pipe it can, and this function would panic.
    clap_complete::generate(args.shell, &mut command, PROGRAM, &mut script);
    match out::print(script) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => out::unprinted(&error, ""),
    }
}

pub(super) fn run_man(args: &ManArgs, command: Command) -> ExitCode {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    if let Err(error) = std::fs::create_dir_all(&args.dir) {
        let dir = args.dir.display();
        return out::failed(
            &format_args!("the directory {dir} can't be made: {error}"),
            UNANSWERED,
        );
    }
    match write_pages(&command, &args.dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err((path, error)) => {
            let path = path.display();
            out::failed(&format_args!("{path} can't be written: {error}"), UNANSWERED)
        }
    }
}

/// Writes the page of `command`, and those of the commands below it.
fn write_pages(command: &Command, dir: &Path) -> Result<(), (PathBuf, io::Error)> {
    let visible = command.get_subcommands().filter(|below| !below.is_hide_set());
    visible.into_iter().try_for_each(|below| write_pages(below, dir))?;
    // No date and no commit: the same version has the same pages.
    let page = Man::new(command.clone()).source(format!("{PROGRAM} {VERSION}")).manual(PROGRAM);
    let path = dir.join(page.get_filename());
    let mut text = Vec::new();
    let rendered = page.render(&mut text).and_then(|()| std::fs::write(&path, text));
    rendered.map_err(|error| (path, error))
}
