//! IPv4 ranges for pods and services.

use std::fmt;
use std::net::Ipv4Addr;

/// An IPv4 range: `10.244.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cidr {
    first: u32,
    prefix: u32,
}

impl Cidr {
    /// Parses `ADDRESS/PREFIX`; the address must be the first of the range, and one that hosts use.
    pub(super) fn parse(text: &str) -> Result<Cidr, String> {
        let not_a_range = || format!("{text:?} is not an IPv4 range");
        let (address, prefix) = text.split_once('/').ok_or_else(not_a_range)?;
        let address: Ipv4Addr = address.parse().map_err(|_| not_a_range())?;
        let prefix: u32 = prefix
            .parse()
            .ok()
            .filter(|value: &u32| *value <= 32 && value.to_string() == prefix)
            .ok_or_else(not_a_range)?;
        let first = u32::from(address);
        let cidr = Cidr { first: first & mask(prefix), prefix };
        if cidr.first != first {
            return Err(format!("{text:?} does not begin with its first address, which is {cidr}"));
        }
        let unusable = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"];
        let overlapped =
            |text: &&&str| Cidr::parse_plain(text).is_some_and(|other| other.overlaps(cidr));
        match unusable.iter().find(overlapped) {
            Some(other) => Err(format!("{text:?} overlaps {other}, which hosts cannot use")),
            None => Ok(cidr),
        }
    }

    /// A range as it stands, without the checks of [`Cidr::parse`].
    fn parse_plain(text: &str) -> Option<Cidr> {
        let (address, prefix) = text.split_once('/')?;
        let first = u32::from(address.parse::<Ipv4Addr>().ok()?);
        Some(Cidr { first, prefix: prefix.parse().ok()? })
    }

    /// Length of the network part, in bits.
    pub(super) fn prefix(self) -> u32 {
        self.prefix
    }

    /// Whether both hold one address or more in common.
    pub(super) fn overlaps(self, other: Cidr) -> bool {
        let common = mask(self.prefix.min(other.prefix));
        self.first & common == other.first & common
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.first), self.prefix)
    }
}

fn mask(prefix: u32) -> u32 {
    u32::MAX.checked_shl(32 - prefix).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_ranges_only() {
        assert_eq!(Cidr::parse("10.244.0.0/16").unwrap().to_string(), "10.244.0.0/16");
        for bad in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.1/8",
            "fd00::/64",
            "127.0.0.0/8",
            "0.0.0.0/0",
            "240.0.0.0/8",
            "10.0.0/8",
        ] {
            assert!(Cidr::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn overlap_goes_both_ways() {
        let range = |text| Cidr::parse(text).unwrap();
        assert!(range("10.0.0.0/8").overlaps(range("10.96.0.0/16")));
        assert!(range("10.96.0.0/16").overlaps(range("10.0.0.0/8")));
        assert!(!range("10.244.0.0/16").overlaps(range("10.96.0.0/16")));
    }
}
