//! How deep a document may be nested and how much its aliases may make of it, counted from the
//! parser's events before anything is built: readers and destructors recurse, and an alias copies.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser};

/// Deepest nesting of lists and mappings.
pub(super) const DEPTH_MAX: usize = 64;

/// Most parts of a document, those kept for anchors and repeated by aliases included.
const PARTS_MAX: usize = 100_000;

/// Most bytes of text in a document, counted the same way.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Which bound was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// Nested too deep.
    Depth,
    /// Too many parts, or too much text in them.
    Parts,
}

/// What a part costs wherever it is repeated.
#[derive(Clone, Copy, Default)]
struct Extent {
    parts: usize,
    bytes: usize,
    depth: usize,
}

/// Follows one document.
#[derive(Default)]
pub(super) struct Bounds {
    /// Lists and mappings without their end yet, with their anchors.
    open: Vec<(usize, Extent)>,
    anchors: BTreeMap<usize, Extent>,
    parts: usize,
    bytes: usize,
}

impl Bounds {
    /// Takes the next event, which must not be used where this fails.
    pub(super) fn take(&mut self, event: &Event<'_>) -> Result<(), Excess> {
        match event {
            Event::Scalar(text, _, anchor, _) => {
                let extent = Extent { parts: 1, bytes: text.len(), depth: 1 };
                self.count(extent)?;
                self.place(*anchor, extent)
            }
            Event::Alias(anchor) => {
                // An alias inside its own anchor has no extent yet; it repeats nothing.
                let extent = self.anchors.get(anchor).copied().unwrap_or_default();
                self.count(extent)?;
                self.place(0, extent)
            }
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                let itself = Extent { parts: 1, bytes: 0, depth: 1 };
                self.count(itself)?;
                self.open.push((*anchor, itself));
                if self.open.len() > DEPTH_MAX { Err(Excess::Depth) } else { Ok(()) }
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some((anchor, extent)) => self.place(anchor, extent),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// A part ends: it belongs to what is open, and is kept if it has an anchor.
    fn place(&mut self, anchor: usize, extent: Extent) -> Result<(), Excess> {
        if self.open.len() + extent.depth > DEPTH_MAX {
            return Err(Excess::Depth);
        }
        if anchor != 0 {
            self.count(extent)?;
            self.anchors.insert(anchor, extent);
        }
        if let Some((_, above)) = self.open.last_mut() {
            above.parts += extent.parts;
            above.bytes += extent.bytes;
            above.depth = above.depth.max(extent.depth + 1);
        }
        Ok(())
    }

    fn count(&mut self, extent: Extent) -> Result<(), Excess> {
        self.parts += extent.parts;
        self.bytes += extent.bytes;
        if self.parts > PARTS_MAX || self.bytes > BYTES_MAX { Err(Excess::Parts) } else { Ok(()) }
    }
}

/// Whether a reader that recurses and copies can take `text`; the error says why not.
pub fn check(text: &str) -> Result<(), String> {
    if text.len() > BYTES_MAX {
        return Err(format!("it is larger than {} MiB", BYTES_MAX >> 20));
    }
    let mut bounds = Bounds::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| error.to_string())?;
        bounds.take(&event).map_err(|excess| {
            let line = span.start.line();
            match excess {
                Excess::Depth => format!("line {line} is nested more than {DEPTH_MAX} levels deep"),
                Excess::Parts => {
                    format!("it holds too many values up to line {line}, aliases counted")
                }
            }
        })?;
    }
    Ok(())
}
