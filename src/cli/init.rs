//! `pipe init`.

use std::path::PathBuf;

use super::app::App;
use crate::{Error, Result};

/// Write the built-in clusters, profiles and charts into a folder, to edit
///
/// Files that are there already are left alone and named. What is true of this machine rather than
/// of a project, such as a proxy, stands in `~/.config/pipe/config.yaml`; --config writes that.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder
    #[arg(default_value = ".", conflicts_with = "config")]
    folder: PathBuf,
    /// Write only a `config.yaml` of this machine in which everything is commented out
    #[arg(long)]
    config: bool,
}

/// Nothing but comments: it says nothing until somebody edits it.
const CONFIG: &str = include_str!("init/config.yaml");

pub(super) fn run(app: &App, args: &Args) -> Result<()> {
    let (folder, files) = if args.config {
        let file = app.env.config_file()?;
        let folder = file.parent().map(PathBuf::from).unwrap_or_default();
        (folder, vec![(file.file_name().unwrap_or_default().into(), CONFIG.as_bytes())])
    } else {
        (app.env.cwd.join(&args.folder), crate::spec::embedded::all())
    };
    let (mut written, mut kept) = (Vec::new(), Vec::new());
    for (path, content) in files {
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
    if args.config {
        // A project's files are named as they are called in it; this one is elsewhere.
        for path in written.iter_mut().chain(&mut kept) {
            *path = folder.join(&path).display().to_string();
        }
    }
    let document = serde_json::json!({"folder": folder, "written": written, "kept": kept});
    app.show(&document, || {
        let kept = kept.iter().map(|path| format!("kept     {path}\n"));
        written.iter().map(|path| format!("written  {path}\n")).chain(kept).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::CONFIG;
    use crate::spec::config_file::{self, Config, ProxyWish};

    #[test]
    fn the_starter_says_nothing_and_its_examples_are_right() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, CONFIG).unwrap();
        assert_eq!(config_file::load(&path).unwrap(), Config::default());

        let example =
            |line: &&str| line.strip_prefix('#').is_some_and(|rest| !rest.starts_with(' '));
        let indented = |line: &&str| line.starts_with("#  ");
        let lines = CONFIG.lines().filter(|line| example(line) || indented(line));
        let text: String = lines.map(|line| format!("{}\n", &line[1..])).collect();
        std::fs::write(&path, text).unwrap();
        std::fs::write(folder.path().join("company.pem"), "-----BEGIN CERTIFICATE-----\n").unwrap();
        let config = config_file::load(&path).unwrap();
        assert!(matches!(config.proxy, ProxyWish::Use { .. }));
        assert_eq!((config.authorities.len(), config.mirrors.len()), (1, 1));
        assert_eq!(config.archives.len(), 1);
    }
}
