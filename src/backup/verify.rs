//! Whether every byte of a backup is what was written.

use futures::StreamExt as _;
use sha2::{Digest, Sha256};

use super::{Manifest, Progress, Shelf};
use crate::digest::hex;

/// Reads every file; what is wrong with them, one line each.
pub async fn faults(manifest: &Manifest, shelf: &Shelf<'_>, progress: &Progress) -> Vec<String> {
    let mut faults = Vec::new();
    for file in &manifest.files {
        progress.item(format!("checking {}", file.name));
        let path = format!("{}/{}/{}", manifest.component, manifest.id, file.name);
        match read(shelf, &file.name, progress).await {
            Err(why) => faults.push(format!("{path}: {why}")),
            Ok((bytes, _)) if bytes != file.bytes => {
                faults.push(format!("{path}: {bytes} bytes instead of {}", file.bytes));
            }
            Ok((_, sha256)) if sha256 != file.sha256 => {
                faults.push(format!("{path}: its content is not what was backed up"));
            }
            Ok(_) => {}
        }
    }
    faults
}

async fn read(shelf: &Shelf<'_>, name: &str, progress: &Progress) -> crate::Result<(u64, String)> {
    let mut content = shelf.open(name).await?;
    let (mut bytes, mut hash) = (0, Sha256::new());
    while let Some(chunk) = content.next().await {
        let chunk = chunk?;
        hash.update(&chunk);
        bytes += chunk.len() as u64;
        progress.advance(chunk.len() as u64);
    }
    Ok((bytes, hex(hash.finalize().as_slice())))
}
