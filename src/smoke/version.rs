//! Floors: the first releases without a known hole, one for each line that is still mended.

/// Whether `version` is at or above the floor of its own line (`26.8`), or of a newer line than all.
pub(super) fn at_least(version: &str, floors: &[String]) -> bool {
    let version = numbers(version);
    let floors: Vec<Vec<u32>> = floors.iter().map(|floor| numbers(floor)).collect();
    let line = |numbers: &[u32]| numbers.get(..2).map(<[u32]>::to_vec);
    match floors.iter().find(|floor| line(floor) == line(&version)) {
        Some(floor) => version >= *floor,
        None => floors.iter().all(|floor| line(&version) > line(floor)),
    }
}

/// `26.8.36.3` as numbers; what follows the last one (`-lts`) is left out.
fn numbers(version: &str) -> Vec<u32> {
    let clean = version.split(|c: char| c != '.' && !c.is_ascii_digit()).next().unwrap_or_default();
    clean.split('.').map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_its_floor() {
        let floors = ["26.3.62.3", "26.8.36.3"].map(str::to_owned);
        for good in
            ["26.3.62.3", "26.3.100.1-lts", "26.8.36.3", "26.8.36.4", "26.9.1.1", "27.1.1.1"]
        {
            assert!(at_least(good, &floors), "{good}");
        }
        for bad in
            ["26.3.62.2", "26.8.36.2", "26.8.9.99", "26.5.99.1", "25.8.1.1", "18.16.1", "", "x"]
        {
            assert!(!at_least(bad, &floors), "{bad}");
        }
    }
}
