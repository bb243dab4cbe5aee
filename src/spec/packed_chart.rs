//! Charts inside of charts, as helm packs them: `charts/NAME-VERSION.tgz`.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

/// Most bytes of what is unpacked, all charts together; helm takes 100 MiB at most.
const BYTES_MAX: u64 = 100 * 1024 * 1024;

/// Files of a chart, by their path in it.
pub(super) type Files = BTreeMap<PathBuf, Vec<u8>>;

/// The same with what is packed beside it, `charts/NAME/…`, one level: charts are packed with all
/// that they need unpacked. What cannot be unpacked stays; helm refuses it.
pub(super) fn unpacked(mut files: Files) -> Files {
    let is_packed = |path: &Path| {
        path.parent().is_some_and(|parent| parent.ends_with("charts"))
            && path.extension().is_some_and(|ending| ending == "tgz")
    };
    let packed: Vec<PathBuf> = files.keys().filter(|path| is_packed(path)).cloned().collect();
    let mut left = BYTES_MAX;
    for path in packed {
        let Some(parent) = path.parent() else { continue };
        let Some(Ok(inside)) = files.get(&path).map(|bytes| unpack(bytes, &mut left)) else {
            continue;
        };
        let inside: Files =
            inside.into_iter().map(|(name, bytes)| (parent.join(name), bytes)).collect();
        files.remove(&path);
        files.extend(inside);
    }
    files
}

fn unpack(bytes: &[u8], left: &mut u64) -> io::Result<Files> {
    let mut files = Files::new();
    for entry in tar::Archive::new(GzDecoder::new(bytes)).entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path()?.into_owned();
        let mut content = Vec::new();
        entry.by_ref().take(left.saturating_add(1)).read_to_end(&mut content)?;
        *left = left
            .checked_sub(content.len() as u64)
            .ok_or_else(|| io::Error::other("the charts in it are too large"))?;
        files.insert(path, content);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn tgz(files: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, path, content.as_bytes()).unwrap();
        }
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar.into_inner().unwrap()).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn a_packed_chart_stands_where_it_would_unpacked() {
        let inner = tgz(&[("sub/Chart.yaml", "a"), ("sub/charts/deep/values.yaml", "b")]);
        let files = Files::from([
            ("charts/sub-1.tgz".into(), inner.clone()),
            ("files/data.tgz".into(), inner),
            ("charts/broken-1.tgz".into(), b"no archive".to_vec()),
        ]);
        let files = unpacked(files);
        let paths: Vec<_> = files.keys().map(|path| path.display().to_string()).collect();
        insta::assert_snapshot!(paths.join("\n"), @r"
        charts/broken-1.tgz
        charts/sub/Chart.yaml
        charts/sub/charts/deep/values.yaml
        files/data.tgz
        ");
    }
}
