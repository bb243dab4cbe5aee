//! Which backups of one component stay: of each of the last days, weeks and months the newest, and the
//! newest of all whatever is asked for. Days are UTC's, weeks begin on Monday.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::BackupId;
use crate::spec::Keep;

/// A complete backup, as far as time goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dated {
    /// Its name.
    pub id: BackupId,
    /// When it was begun.
    pub started: Timestamp,
}

/// The backups that go, oldest first. `all` are the complete ones of one component of one cluster, in any
/// order.
pub fn superfluous(all: &[Dated], keep: Keep) -> Vec<BackupId> {
    let mut newest_first: Vec<&Dated> = all.iter().collect();
    newest_first.sort_by(|one, other| (other.started, &other.id).cmp(&(one.started, &one.id)));
    let mut kept: BTreeSet<&BackupId> = BTreeSet::new();
    kept.extend(newest_first.first().map(|dated| &dated.id));
    for (count, period) in
        [(keep.daily, day as fn(Timestamp) -> Date), (keep.weekly, week), (keep.monthly, month)]
    {
        let mut periods: BTreeSet<Date> = BTreeSet::new();
        for Dated { id, started } in &newest_first {
            let new = !periods.contains(&period(*started));
            if new && periods.len() < count as usize {
                periods.insert(period(*started));
                kept.insert(id);
            }
        }
    }
    let goes = newest_first.iter().rev().filter(|dated| !kept.contains(&dated.id));
    goes.map(|dated| dated.id.clone()).collect()
}

fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// Its Monday, so that a week that two years share is one.
fn week(at: Timestamp) -> Date {
    let day = day(at);
    let behind = i64::from(day.weekday().to_monday_zero_offset());
    day.saturating_sub(jiff::Span::new().days(behind))
}

fn month(at: Timestamp) -> Date {
    day(at).first_of_month()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn dated(text: &str, unique: u32) -> Dated {
        let started = text.parse().unwrap();
        Dated { id: BackupId::with(started, unique), started }
    }

    const USUAL: Keep = Keep { daily: 7, weekly: 4, monthly: 3 };

    #[test]
    fn a_quarter_of_nightly_backups() {
        let first: Timestamp = "2026-08-25T02:00:00Z".parse().unwrap();
        let all: Vec<Dated> = (0..90)
            .map(|night| {
                let started = first + jiff::SignedDuration::from_hours(24 * night);
                Dated { id: BackupId::with(started, 1), started }
            })
            .collect();
        let goes: BTreeSet<BackupId> = superfluous(&all, USUAL).into_iter().collect();
        let kept = all.iter().filter(|dated| !goes.contains(&dated.id));
        let days: Vec<String> =
            kept.map(|dated| dated.started.strftime("%a %d %b").to_string()).collect();
        insta::assert_snapshot!(days.join("\n"), @r"
        Wed 30 Sep
        Sat 31 Oct
        Sun 01 Nov
        Sun 08 Nov
        Sun 15 Nov
        Mon 16 Nov
        Tue 17 Nov
        Wed 18 Nov
        Thu 19 Nov
        Fri 20 Nov
        Sat 21 Nov
        Sun 22 Nov
        ");
    }

    #[test]
    fn of_one_day_the_newest_stays_and_the_newest_of_all_always() {
        let all = [
            dated("2026-11-22T01:00:00Z", 1),
            dated("2026-11-22T02:00:00Z", 2),
            dated("2026-11-22T02:00:00Z", 3),
        ];
        let goes = superfluous(&all, USUAL);
        assert_eq!(goes, [all[0].id.clone(), all[1].id.clone()]);
        let nothing = Keep { daily: 0, weekly: 0, monthly: 0 };
        assert_eq!(superfluous(&all, nothing), goes);
        assert!(superfluous(&[], nothing).is_empty());
    }

    #[test]
    fn the_week_over_new_year_is_one() {
        let all = [dated("2026-12-28T02:00:00Z", 1), dated("2027-01-03T02:00:00Z", 2)];
        let weekly = Keep { daily: 0, weekly: 9, monthly: 0 };
        assert_eq!(superfluous(&all, weekly), [all[0].id.clone()]);
    }

    prop_compose! {
        fn backup()(second in 0i64..40_000_000, unique: u32) -> Dated {
            let started = Timestamp::from_second(1_790_000_000 + second).unwrap();
            Dated { id: BackupId::with(started, unique), started }
        }
    }

    proptest! {
        #[test]
        fn what_must_stay_stays(
            all in prop::collection::vec(backup(), 0..60),
            daily in 0u32..10, weekly in 0u32..6, monthly in 0u32..6,
        ) {
            let keep = Keep { daily, weekly, monthly };
            let goes = superfluous(&all, keep);
            let unique: BTreeSet<&BackupId> = goes.iter().collect();
            prop_assert_eq!(unique.len(), goes.len(), "each once");
            prop_assert!(goes.iter().all(|id| all.iter().any(|dated| dated.id == *id)), "none of others");
            let newest = all.iter().max_by_key(|dated| (dated.started, dated.id.clone()));
            prop_assert!(newest.is_none_or(|newest| !goes.contains(&newest.id)), "never the newest");
            let kept = all.len() - goes.len();
            prop_assert!(kept <= 1.max((daily + weekly + monthly) as usize));
            let days: BTreeSet<Date> = all.iter().map(|dated| day(dated.started)).collect();
            prop_assert!(kept >= days.len().min(daily as usize), "of each of the last days one");
            // What stays would stay again: pruning twice is pruning once.
            let left: Vec<Dated> = all.iter().filter(|d| !goes.contains(&d.id)).cloned().collect();
            prop_assert!(superfluous(&left, keep).is_empty());
            // Keeping more never costs one.
            let more = superfluous(&all, Keep { daily: daily + 1, ..keep });
            prop_assert!(more.iter().all(|id| goes.contains(id)));
        }
    }
}
