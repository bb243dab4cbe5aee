//! As much of a program's format as tells whether it is linked statically.

// Offsets in the header of a 64-bit program (System V ABI, chapter 4).

/// Where the table of segments is.
const TABLE: usize = 0x20;

/// How long an entry of it is.
const ENTRY_SIZE: usize = 0x36;

/// How many there are.
const COUNT: usize = 0x38;

/// Kind of the segment that names the loader.
const PT_INTERP: u32 = 3;

/// Whether a program wants a loader; nothing where this is no program of the kind we build.
pub(super) fn asks_for_loader(program: &[u8]) -> Option<bool> {
    // 64 bits, low byte first: what amd64 and arm64 have.
    if !program.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = usize::try_from(u64::from_le_bytes(*program.get(TABLE..)?.first_chunk()?)).ok()?;
    let size = usize::from(u16::from_le_bytes(*program.get(ENTRY_SIZE..)?.first_chunk()?));
    let count = usize::from(u16::from_le_bytes(*program.get(COUNT..)?.first_chunk()?));
    for index in 0..count {
        let at = table.checked_add(index.checked_mul(size)?)?;
        if u32::from_le_bytes(*program.get(at..)?.first_chunk()?) == PT_INTERP {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(kinds: &[u32]) -> Vec<u8> {
        let mut program = vec![0; 64];
        program[..6].copy_from_slice(b"\x7fELF\x02\x01");
        program[TABLE] = 64;
        program[ENTRY_SIZE] = 56;
        program[COUNT] = kinds.len().try_into().unwrap();
        for kind in kinds {
            program.extend(kind.to_le_bytes());
            program.extend([0; 52]);
        }
        program
    }

    #[test]
    fn static_programs_are_told_from_others() {
        assert_eq!(asks_for_loader(&program(&[6, 3, 1])), Some(true));
        assert_eq!(asks_for_loader(&program(&[6, 1])), Some(false));
        assert_eq!(asks_for_loader(&program(&[])), Some(false));
        let own = std::fs::read("/proc/self/exe").unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        assert_eq!(asks_for_loader(&own), Some(maps.contains("/ld-")));
    }

    #[test]
    fn what_is_cut_or_no_program_is_none() {
        let whole = program(&[6, 6, 3]);
        for end in 0..whole.len() - 56 {
            assert_eq!(asks_for_loader(&whole[..end]), None, "{end}");
        }
        for other in [&b""[..], b"#!/bin/sh", b"\x7fELF\x01\x01\x01"] {
            assert_eq!(asks_for_loader(other), None);
        }
        let mut far = program(&[1]);
        far[TABLE..TABLE + 8].fill(0xff);
        assert_eq!(asks_for_loader(&far), None);
    }
}
