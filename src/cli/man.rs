//! `pipe man`.

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use clap_mangen::Man;

use super::app::App;
use crate::{Error, Result};

/// Print the manual page, or write one for each command
///
/// For one user: `pipe man ~/.local/share/man/man1`, then `man pipe-up`. Release archives bring them.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write `pipe.1`, `pipe-up.1` and so on into this folder, instead of printing `pipe.1`
    folder: Option<PathBuf>,
}

pub(super) fn run(app: &App, args: &Args) -> Result<()> {
    let mut command = super::Cli::command();
    // Names such as `pipe-up` exist only in a command that was built.
    command.build();
    let Some(folder) = &args.folder else {
        return app.print(&String::from_utf8_lossy(&page(command)?));
    };
    let folder = app.env.cwd.join(folder);
    fs::create_dir_all(&folder).map_err(|error| unwritable(&folder, error))?;
    let mut written = Vec::new();
    let below: Vec<clap::Command> = command.get_subcommands().cloned().collect();
    for command in std::iter::once(command).chain(below) {
        // clap's own `help` has nothing to say that the other pages do not.
        if command.get_name() == "help" {
            continue;
        }
        let name = format!("{}.1", command.get_display_name().unwrap_or(command.get_name()));
        let path = folder.join(&name);
        fs::write(&path, page(command)?).map_err(|error| unwritable(&path, error))?;
        written.push(name);
    }
    let document = serde_json::json!({"folder": folder, "written": written});
    app.show(&document, || written.iter().map(|name| format!("written  {name}\n")).collect())
}

fn page(command: clap::Command) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let rendered = Man::new(command).render(&mut text);
    rendered.map_err(|error| Error::bug("a manual page cannot be rendered").because(error))?;
    Ok(text)
}

fn unwritable(path: &Path, error: std::io::Error) -> Error {
    Error::failed("man-write", format!("cannot write {}", path.display())).because(error)
}
