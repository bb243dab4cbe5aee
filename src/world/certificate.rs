//! When certificates are valid, from their PEM form: as much of X.509 as that takes. TLS itself judges
//! the rest.

use base64::Engine as _;
use jiff::Timestamp;

/// The time in which a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Validity {
    /// From then on.
    pub not_before: Timestamp,
    /// Until then.
    pub not_after: Timestamp,
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Of each certificate in `pem`, or why it cannot be read.
pub fn validities(pem: &str) -> Vec<Result<Validity, String>> {
    pem.split(BEGIN).skip(1).map(validity_of).collect()
}

fn validity_of(after_begin: &str) -> Result<Validity, String> {
    let (body, _) = after_begin.split_once(END).ok_or_else(|| format!("it has no {END}"))?;
    let body: String = body.split_whitespace().collect();
    let der = base64::engine::general_purpose::STANDARD.decode(body);
    let der = der.map_err(|error| format!("it is no base64: {error}"))?;
    validity(&der).ok_or_else(|| "it is no X.509 certificate".to_owned())
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// `Certificate { tbsCertificate { [version], serial, signature, issuer, validity, … } … }`.
fn validity(der: &[u8]) -> Option<Validity> {
    let (certificate, _) = expect(der, SEQUENCE)?;
    let (mut fields, _) = expect(certificate, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        (_, fields) = expect(fields, VERSION)?;
    }
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        (_, fields) = expect(fields, tag)?;
    }
    let (times, _) = expect(fields, SEQUENCE)?;
    let (not_before, times) = time(times)?;
    let (not_after, _) = time(times)?;
    Some(Validity { not_before, not_after })
}

/// The content of the first element, and what follows it.
fn expect(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        short @ 0..=0x7f => (usize::from(*short), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = length.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
            (usize::try_from(length).ok()?, rest)
        }
        _ => return None,
    };
    if *found == tag { rest.split_at_checked(length) } else { None }
}

/// `YYMMDDhhmmssZ`, or with the century where it is not between 1950 and 2049.
fn time(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    let utc = bytes.first() == Some(&UTC_TIME);
    let (text, rest) = expect(bytes, if utc { UTC_TIME } else { GENERALIZED_TIME })?;
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.strip_suffix('Z')?;
    let whole = match (utc, digits.bytes().next()?) {
        (true, b'0'..=b'4') => format!("20{digits}"),
        (true, _) => format!("19{digits}"),
        (false, _) => digits.to_owned(),
    };
    let part = |from: usize, to: usize| whole.get(from..to);
    let (date, clock) = (part(0, 8)?, part(8, 14)?);
    if whole.len() != 14 {
        return None;
    }
    let stamp = format!("{date}T{clock}Z").parse().ok()?;
    Some((stamp, rest))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(from: i32, to: i32) -> String {
        let mut params = CertificateParams::new(vec!["ca.example".to_owned()]).unwrap();
        (params.not_before, params.not_after) =
            (date_time_ymd(from, 3, 4), date_time_ymd(to, 12, 31));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn of_every_certificate_in_a_file() {
        let pem = format!("Company\n{}\n{}", certificate(1999, 2031), certificate(2024, 2060));
        let seen: Vec<String> = validities(&pem)
            .into_iter()
            .map(|validity| validity.map(|v| format!("{} {}", v.not_before, v.not_after)).unwrap())
            .collect();
        assert_eq!(
            seen,
            [
                "1999-03-04T00:00:00Z 2031-12-31T00:00:00Z",
                "2024-03-04T00:00:00Z 2060-12-31T00:00:00Z"
            ]
        );
    }

    #[test]
    fn what_is_none_says_why() {
        for (body, why) in [
            ("AAAA", "it has no"),
            ("A!AA\n-----END CERTIFICATE-----", "no base64"),
            ("AAAA\n-----END CERTIFICATE-----", "no X.509"),
            ("-----END CERTIFICATE-----", "no X.509"),
        ] {
            let found = validities(&format!("{BEGIN}\n{body}\n"));
            assert!(found[0].as_ref().unwrap_err().contains(why), "{found:?}");
        }
        assert_eq!(validities("nothing"), []);
        // A length that is longer than what is there, or than anything.
        assert_eq!(validity(&[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff, 0]), None);
    }
}
