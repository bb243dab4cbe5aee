//! Bytes on their way into the cache, counted for whoever watches.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two tellings; chunks come much faster.
const PAUSE: Duration = Duration::from_millis(200);

/// Counts, and tells of it. The default one tells nobody. Clones count together.
#[derive(Clone, Default)]
pub struct Meter {
    inner: Option<Arc<Inner>>,
}

struct Inner {
    done: AtomicU64,
    total: AtomicU64,
    told: Mutex<Instant>,
    tell: Box<dyn Fn(u64, u64) + Send + Sync>,
}

impl Meter {
    /// Tells `tell` now and then how many bytes of how many are done.
    pub fn new(tell: impl Fn(u64, u64) + Send + Sync + 'static) -> Meter {
        let (done, total) = (AtomicU64::new(0), AtomicU64::new(0));
        let inner = Inner { done, total, told: Mutex::new(Instant::now()), tell: Box::new(tell) };
        Meter { inner: Some(Arc::new(inner)) }
    }

    /// So many bytes more will come, or turn out to be there.
    pub fn expect(&self, bytes: u64) {
        if let Some(inner) = &self.inner {
            inner.total.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// So many bytes more have come, or are there.
    pub fn advance(&self, bytes: u64) {
        let Some(inner) = &self.inner else { return };
        let done = inner.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let total = inner.total.load(Ordering::Relaxed);
        let mut told = inner.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= PAUSE || done >= total {
            *told = Instant::now();
            (inner.tell)(done, total.max(done));
        }
    }
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meter")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_is_told_at_the_end_and_not_at_every_chunk() {
        let told: Arc<Mutex<Vec<(u64, u64)>>> = Arc::default();
        let out = Arc::clone(&told);
        let meter = Meter::new(move |done, total| out.lock().unwrap().push((done, total)));
        meter.expect(300);
        meter.expect(700);
        for _ in 0..100 {
            meter.clone().advance(10);
        }
        let told = told.lock().unwrap();
        assert_eq!(told.last(), Some(&(1000, 1000)));
        assert!(told.len() < 50, "{}", told.len());
        Meter::default().advance(1);
    }
}
