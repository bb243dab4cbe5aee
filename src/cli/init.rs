//! `pipe init`.

use std::path::PathBuf;

use super::app::App;
use crate::{Error, Result};

/// Write the built-in clusters, profiles and charts into a folder, to edit
///
/// Files that are there already are left alone and named.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder
    #[arg(default_value = ".")]
    folder: PathBuf,
}

pub(super) fn run(app: &App, args: &Args) -> Result<()> {
    let folder = app.env.cwd.join(&args.folder);
    let (mut written, mut kept) = (Vec::new(), Vec::new());
    for (path, content) in crate::spec::embedded::all() {
        let target = folder.join(&path);
        if target.exists() {
            kept.push(path.display().to_string());
            continue;
        }
        let failed = |error: std::io::Error| {
            Error::failed("init-write", format!("cannot write {}", target.display())).because(error)
        };
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        std::fs::write(&target, content).map_err(failed)?;
        written.push(path.display().to_string());
    }
    let document = serde_json::json!({"folder": folder, "written": written, "kept": kept});
    app.show(&document, || {
        let kept = kept.iter().map(|path| format!("kept     {path}\n"));
        written.iter().map(|path| format!("written  {path}\n")).chain(kept).collect()
    })
}
