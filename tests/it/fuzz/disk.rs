//! Not bytes but what stands in a file's place: links in a circle, pipes, devices, folders, giants.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use pipe::Kind;
use pipe::spec::source::Sources;
use pipe::spec::{self, Arch};

fn project() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("clusters")).unwrap();
    fs::create_dir_all(dir.path().join("profiles/components")).unwrap();
    dir
}

fn pipe_at(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Loads `dev` and gives what is wrong; nothing is wrong where the built-in file takes its place.
fn faults(dir: &Path) -> String {
    let sources = Sources::find(Some(dir), dir).unwrap();
    match spec::load(&sources, "dev", None, Arch::Amd64) {
        Ok(_) => String::new(),
        Err(error) => {
            assert_eq!(error.kind, Kind::Files);
            error.causes.join("\n").replace(&dir.display().to_string(), "DIR")
        }
    }
}

#[test]
fn odd_files_in_place_of_a_cluster() {
    let began = Instant::now();
    let mut seen = Vec::new();
    for odd in ["folder", "pipe", "loop", "zero", "dangling", "giant", "socket"] {
        let dir = project();
        let path = dir.path().join("clusters/dev.yaml");
        match odd {
            "folder" => fs::create_dir(&path).unwrap(),
            "pipe" => pipe_at(&path),
            "loop" => symlink("dev.yaml", &path).unwrap(),
            "zero" => symlink("/dev/zero", &path).unwrap(),
            "dangling" => symlink("nowhere", &path).unwrap(),
            "socket" => drop(std::os::unix::net::UnixListener::bind(&path).unwrap()),
            _ => fs::File::create(&path).unwrap().set_len(10_000_000_000).unwrap(),
        }
        seen.push(format!("{odd}: {}", faults(dir.path())));
    }
    insta::assert_snapshot!(seen.join("\n"));
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

#[test]
fn charts_with_odd_files() {
    for odd in ["loop", "two-loops", "pipe", "zero", "giant"] {
        let began = Instant::now();
        let dir = project();
        let chart = dir.path().join("charts-cache/odd/templates");
        fs::create_dir_all(&chart).unwrap();
        fs::write(chart.parent().unwrap().join("Chart.yaml"), "name: odd\n").unwrap();
        match odd {
            "loop" => symlink("..", chart.join("up")).unwrap(),
            "two-loops" => {
                symlink("..", chart.join("up")).unwrap();
                symlink(".", chart.join("here")).unwrap();
            }
            "pipe" => pipe_at(&chart.join("pipe.yaml")),
            "zero" => symlink("/dev/zero", chart.join("zero.yaml")).unwrap(),
            _ => {
                let giant = fs::File::create(chart.join("giant.yaml")).unwrap();
                giant.set_len(10_000_000_000).unwrap();
            }
        }
        let sources = Sources::find(Some(dir.path()), dir.path()).unwrap();
        let error = sources.chart_digest("odd").unwrap_err();
        assert_eq!((error.kind, error.code), (Kind::Files, "chart-unusable"), "{odd}: {error}");
        assert!(error.to_string().contains("charts-cache/odd"), "{odd}: {error}");
        assert!(!error.hints.is_empty());
        assert!(began.elapsed().as_secs() < 10, "{odd}: {:?}", began.elapsed());
    }
}
