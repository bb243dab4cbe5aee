//! A stream to print on, on which a reader that went away is no failure.

use std::fmt;
use std::io::{self, Write};

use crate::{Error, Result};

/// stdout, stderr, or a buffer in tests.
pub struct Stream {
    writer: Box<dyn Write + Send>,
    reader_gone: bool,
}

impl Stream {
    /// The process's stdout.
    pub fn stdout() -> Stream {
        Stream::to(io::stdout())
    }

    /// The process's stderr.
    pub fn stderr() -> Stream {
        Stream::to(io::stderr())
    }

    /// Any writer.
    pub fn to(writer: impl Write + Send + 'static) -> Stream {
        Stream { writer: Box::new(writer), reader_gone: false }
    }

    /// Writes `text` and a line break.
    pub fn line(&mut self, text: &str) -> Result<()> {
        self.text(&format!("{text}\n"))
    }

    /// Writes and flushes `text`. Fails only where the text is lost though somebody reads, as on a
    /// full disk.
    pub fn text(&mut self, text: &str) -> Result<()> {
        if self.reader_gone {
            return Ok(());
        }
        match self.writer.write_all(text.as_bytes()).and_then(|()| self.writer.flush()) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                self.reader_gone = true;
                Ok(())
            }
            Err(e) => Err(Error::host("output-unwritable", "cannot write the output").because(e)),
            Ok(()) => Ok(()),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("reader_gone", &self.reader_gone).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A writer whose text can be read back.
    #[derive(Clone, Default)]
    pub(crate) struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Buffer {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_success_and_a_full_disk_is_not() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut stream = Stream::to(writer);
        stream.line("nobody reads this").unwrap();
        stream.line("nor this").unwrap();
        assert!(stream.reader_gone);

        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert_eq!(Stream::to(full).line("lost").unwrap_err().code, "output-unwritable");
    }
}
