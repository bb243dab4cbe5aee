//! Download, check, unpack, install: a tool is either there whole or not at all.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use super::{Packing, Tool};
use crate::spec::Arch;
use crate::world::env::Env;
use crate::world::http;

/// Deadline of a whole download.
const DEADLINE: Duration = Duration::from_secs(600);

/// Largest file accepted; helm and kubectl have about 60 MB.
const SIZE_MAX: usize = 512 << 20;

/// Downloads the pinned version of `tool` for this host and installs it as `target`. The error
/// says why it cannot be had.
pub(super) async fn install(tool: &Tool, target: &Path, env: &Env) -> Result<(), String> {
    let arch = Arch::host().ok_or("there is no download for this CPU architecture")?;
    let (file, checksum) = tool.addresses(arch);
    let client = http::client(env).map_err(|error| error.to_string())?;
    // The checksum comes from the same publisher over TLS, not from a constant: the machines this
    // is developed on cannot reach the publisher to learn it. It guards against a torn or stale
    // file, not against the publisher.
    let expected = fetch(&client, &checksum).await?;
    let expected = String::from_utf8_lossy(&expected);
    let name = file.rsplit('/').next().unwrap_or_default();
    let expected = checksum_of(name, &expected).to_lowercase();
    let bytes = fetch(&client, &file).await?;
    let seen = crate::digest::hex(&Sha256::digest(&bytes));
    if seen != expected {
        return Err(format!("{file} has SHA-256 {seen}, but {checksum} says {expected:?}"));
    }
    let program = match tool.packing {
        Packing::KubernetesBinary | Packing::CosignBinary => bytes,
        Packing::HelmArchive => unpack(&bytes, &format!("linux-{arch}/{}", tool.name))
            .map_err(|error| format!("{file}: {error}"))?,
    };
    place(&program, target).map_err(|error| format!("{}: {error}", target.display()))
}

/// The checksum of the file `name` in what is published beside it: a list of several, or its own.
fn checksum_of<'a>(name: &str, published: &'a str) -> &'a str {
    let listed = published.lines().find_map(|line| {
        let (sum, file) = line.split_once(char::is_whitespace)?;
        (file.trim().trim_start_matches('*') == name).then_some(sum)
    });
    listed.or_else(|| published.split_whitespace().next()).unwrap_or_default()
}

async fn fetch(client: &reqwest::Client, url: &str) -> Result<Vec<u8>, String> {
    let whole = async {
        let failed = |error: reqwest::Error| describe(url, &error);
        let mut answer = client.get(url).send().await.map_err(failed)?;
        if !answer.status().is_success() {
            return Err(format!("{url} answers {}", answer.status()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > SIZE_MAX {
                return Err(format!("{url} is larger than {SIZE_MAX} bytes"));
            }
        }
        Ok(bytes)
    };
    let late = |_| format!("{url} was not downloaded within {DEADLINE:?}");
    tokio::time::timeout(DEADLINE, whole).await.map_err(late)?
}

/// The address once, then every cause: reqwest's own text stops at "error sending request".
fn describe(url: &str, error: &reqwest::Error) -> String {
    let mut text = format!("{url} cannot be downloaded");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// The content of `member` in a gzipped tar archive.
fn unpack(archive: &[u8], member: &str) -> std::io::Result<Vec<u8>> {
    for entry in tar::Archive::new(GzDecoder::new(archive)).entries()? {
        let mut entry = entry?;
        if entry.header().entry_type().is_file() && entry.path()? == Path::new(member) {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            return Ok(content);
        }
    }
    Err(std::io::Error::other(format!("there is no {member} in it")))
}

/// Writes an executable beside `target` and renames it there: another `pipe` sees all or nothing.
fn place(program: &[u8], target: &Path) -> std::io::Result<()> {
    let folder = target.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let unfinished = folder.join(format!(".unfinished-{}", std::process::id()));
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o755).open(&unfinished)?;
    let placed = file
        .write_all(program)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&unfinished, target));
    if placed.is_err() {
        let _gone = fs::remove_file(&unfinished);
    }
    placed
}
