//! Many contents in one file, as a tar archive, written and read as a stream: `tar xf` opens it too.

use bytes::{Buf as _, Bytes, BytesMut};
use futures::{Stream, StreamExt as _};

use super::place::Content;
use crate::{Error, Result};

/// Tar's unit: a header is one, and contents are filled up to whole ones.
const BLOCK: usize = 512;

/// The header of an entry; `name` has at most 100 characters.
pub(super) fn header(name: &str, size: u64) -> Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header
        .set_path(name)
        .map_err(|error| Error::bug(format!("{name} cannot be in an archive")).because(error))?;
    header.set_size(size);
    header.set_mode(0o600);
    header.set_mtime(0);
    header.set_cksum();
    Ok(header.as_bytes().to_vec())
}

/// What follows a content of `size` bytes.
pub(super) fn padding(size: u64) -> &'static [u8] {
    let over = (size % BLOCK as u64) as usize;
    &ZEROES[..(BLOCK - over) % BLOCK]
}

/// What follows the last entry.
pub(super) const END: &[u8] = &[0; 2 * BLOCK];

const ZEROES: [u8; BLOCK] = [0; BLOCK];

/// Reads what was packed: [`Unpack::next`], then [`Unpack::chunk`] until there is none.
pub(super) struct Unpack {
    source: Content,
    buffer: BytesMut,
    /// Of the content of the entry at hand.
    left: u64,
    padding: usize,
}

impl Unpack {
    pub(super) fn new(source: Content) -> Unpack {
        Unpack { source, buffer: BytesMut::new(), left: 0, padding: 0 }
    }

    /// Name and size of the next entry; `None` behind the last.
    pub(super) async fn next(&mut self) -> Result<Option<(String, u64)>> {
        while self.chunk().await?.is_some() {}
        let padding = std::mem::take(&mut self.padding);
        self.fill(padding + BLOCK).await?;
        self.buffer.advance(padding);
        let block = self.buffer.split_to(BLOCK);
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = tar::Header::from_byte_slice(&block);
        let broken = |error| broken().because(error);
        let size = header.entry_size().map_err(broken)?;
        let name = String::from_utf8_lossy(&header.path_bytes()).into_owned();
        self.left = size;
        self.padding = padding_of(size);
        Ok(Some((name, size)))
    }

    /// More of the content of the entry at hand; `None` at its end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        if self.buffer.is_empty() {
            self.fill(1).await?;
        }
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.buffer.len());
        self.left -= length as u64;
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// The rest of the content of the entry at hand.
    pub(super) fn content(&mut self) -> impl Stream<Item = Result<Bytes>> {
        futures::stream::try_unfold(self, |archive| async {
            Ok(archive.chunk().await?.map(|chunk| (chunk, archive)))
        })
    }

    /// The whole content of a small entry.
    pub(super) async fn small(&mut self, most: u64) -> Result<Vec<u8>> {
        if self.left > most {
            return Err(broken().because(format!("an entry of {} bytes", self.left)));
        }
        let mut content = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            content.extend_from_slice(&chunk);
        }
        Ok(content)
    }

    /// At least so many bytes in the buffer.
    async fn fill(&mut self, least: usize) -> Result<()> {
        while self.buffer.len() < least {
            let Some(chunk) = self.source.next().await else {
                return Err(broken().because("it ends in the middle"));
            };
            self.buffer.extend_from_slice(&chunk?);
        }
        Ok(())
    }
}

fn padding_of(size: u64) -> usize {
    padding(size).len()
}

fn broken() -> Error {
    Error::failed("backup-damaged", "an archive in the backup is damaged")
        .hint("use another backup: pipe backup list")
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use proptest::prelude::*;

    use super::*;

    fn packed(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, content) in entries {
            bytes.extend(header(name, content.len() as u64).unwrap());
            bytes.extend(content);
            bytes.extend(padding(content.len() as u64));
        }
        bytes.extend(END);
        bytes
    }

    fn unpacked(bytes: &[u8], chunk: usize) -> Result<Vec<(String, Vec<u8>)>> {
        let chunks: Vec<Result<Bytes>> =
            bytes.chunks(chunk).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let mut pack = Unpack::new(futures::stream::iter(chunks).boxed());
        let all = async {
            let mut entries = Vec::new();
            while let Some((name, size)) = pack.next().await? {
                let content = pack.small(u64::MAX).await?;
                assert_eq!(content.len() as u64, size);
                entries.push((name, content));
            }
            Ok(entries)
        };
        all.now_or_never().expect("no waiting for what is there")
    }

    #[test]
    fn tar_reads_it() {
        let entries = vec![("00000001.json".to_owned(), b"{}".to_vec())];
        let bytes = packed(&entries);
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut first = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(first.path().unwrap().to_str(), Some("00000001.json"));
        let mut content = String::new();
        std::io::Read::read_to_string(&mut first, &mut content).unwrap();
        assert_eq!(content, "{}");
    }

    #[test]
    fn sizes_beyond_eight_gigabytes_fit() {
        let size = 20 * 1024 * 1024 * 1024;
        let header = header("big", size).unwrap();
        assert_eq!(tar::Header::from_byte_slice(&header).entry_size().unwrap(), size);
    }

    proptest! {
        /// Whatever is packed comes out, however it is cut into chunks; cut off, it never does.
        #[test]
        fn what_goes_in_comes_out(
            entries in prop::collection::vec(
                ("[a-z0-9]{1,20}", prop::collection::vec(any::<u8>(), 0..1500)), 0..5),
            chunk in 1usize..2000,
            cut in 1usize..1024,
        ) {
            let bytes = packed(&entries);
            prop_assert_eq!(unpacked(&bytes, chunk).unwrap(), entries);
            // Of the two empty blocks at the end one is enough.
            prop_assert!(unpacked(&bytes[..bytes.len() - BLOCK - cut.min(BLOCK)], chunk).is_err());
        }
    }
}
