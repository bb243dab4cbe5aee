//! In which order an image that is not forbidden is judged. Pure: what is remembered and what is
//! signed is told by others.

use super::fault::Fault;
use crate::trust::KeyId;

/// What is to be said of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may be pulled; why.
    Allowed(String),
    /// It may not be pulled in any mode; why.
    Forbidden(String),
    /// It may not be pulled where signatures are enforced; why.
    Refused(String),
}

/// The verdict. `remembered` and `signer` are asked only where it depends on them.
pub(super) fn decide(
    allowed: bool,
    remembered: impl FnOnce() -> Option<KeyId>,
    signer: impl FnOnce() -> Result<KeyId, Fault>,
) -> Verdict {
    if allowed {
        return Verdict::Allowed("its digest is allowed without a signature".to_owned());
    }
    if let Some(key) = remembered() {
        return Verdict::Allowed(format!("signed with the key {key}, as was seen before"));
    }
    match signer() {
        Ok(key) => Verdict::Allowed(format!("signed with the key {key}")),
        Err(fault) => Verdict::Refused(fault.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::SigningKey;

    #[test]
    fn nobody_is_asked_for_what_is_known() {
        let key = SigningKey::generate().unwrap().public().id();
        let never = || -> Option<KeyId> { panic!("it was asked for what is remembered") };
        let nor = || -> Result<KeyId, Fault> { panic!("it was asked for signatures") };
        let says = |verdict: Verdict, expected: &str| match verdict {
            Verdict::Allowed(why) => assert!(why.contains(expected), "{why}"),
            other => panic!("{other:?}"),
        };
        says(decide(true, never, nor), "allowed without");
        says(decide(false, || Some(key), nor), "seen before");
        says(decide(false, || None, || Ok(key)), "signed with");
        let verdict = decide(false, || None, || Err(Fault::Defect));
        assert_eq!(verdict, Verdict::Refused(Fault::Defect.to_string()));
    }
}
