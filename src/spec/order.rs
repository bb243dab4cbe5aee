//! The order of things that need each other.

use std::collections::BTreeSet;

/// Indices so that each comes after what it needs, and else as early as it stands; `needs` holds for
/// each thing the indices of others. The error is a circle, its first member repeated at the end.
pub(super) fn after_needs(needs: &[Vec<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    let mut order = Vec::new();
    let mut done: BTreeSet<usize> = BTreeSet::new();
    let is_due = |index: &usize, done: &BTreeSet<usize>| {
        let mut own = needs.get(*index).into_iter().flatten();
        !done.contains(index) && own.all(|need| done.contains(need))
    };
    while let Some(next) = (0..needs.len()).find(|index| is_due(index, &done)) {
        order.push(next);
        done.insert(next);
    }
    match (0..needs.len()).find(|index| !order.contains(index)) {
        None => Ok(order),
        Some(stuck) => Err(circle(needs, &order, stuck)),
    }
}

/// Walks from `start` along needs that are not `done`: sooner or later it comes back to a place.
fn circle(needs: &[Vec<usize>], done: &[usize], start: usize) -> Vec<usize> {
    let mut path = vec![start];
    let mut here = start;
    while let Some(next) =
        needs.get(here).into_iter().flatten().find(|need| !done.contains(need)).copied()
    {
        if let Some(entered) = path.iter().position(|index| *index == next) {
            path.drain(..entered);
            path.push(next);
            return path;
        }
        path.push(next);
        here = next;
    }
    path
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keeps_the_given_order_where_it_can() {
        assert_eq!(after_needs(&[vec![], vec![], vec![]]), Ok(vec![0, 1, 2]));
        assert_eq!(after_needs(&[vec![2], vec![], vec![1]]), Ok(vec![1, 2, 0]));
    }

    #[test]
    fn shows_the_circle_alone() {
        assert_eq!(after_needs(&[vec![1], vec![2], vec![3], vec![1]]), Err(vec![1, 2, 3, 1]));
        assert_eq!(after_needs(&[vec![0]]), Err(vec![0, 0]));
    }

    proptest! {
        #[test]
        fn needs_come_first_or_a_circle_is_real(
            needs in prop::collection::vec(prop::collection::vec(0_usize..8, 0..3), 8),
        ) {
            match after_needs(&needs) {
                Ok(order) => {
                    prop_assert_eq!(order.len(), needs.len());
                    for (place, index) in order.iter().enumerate() {
                        prop_assert!(needs[*index].iter().all(|need| order[..place].contains(need)));
                    }
                }
                Err(circle) => {
                    prop_assert!(circle.len() >= 2);
                    prop_assert_eq!(circle.first(), circle.last());
                    prop_assert!(circle.windows(2).all(|pair| needs[pair[0]].contains(&pair[1])));
                }
            }
        }
    }
}
