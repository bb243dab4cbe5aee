//! Questions, and their answers within time.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use tokio::time::Instant;

/// What came of a question.
pub(super) struct Answered {
    pub(super) path: String,
    pub(super) what: String,
    pub(super) answer: Result<Answer, String>,
    pub(super) took: Duration,
}

/// How long, and how many at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// For one question.
    pub(super) each: Duration,
    /// For all together.
    pub(super) in_all: Duration,
    /// How many are open at once.
    pub(super) at_once: usize,
}

/// Asks some at once. One that is not answered keeps none of the others waiting; answers are in the
/// order of their questions.
pub(super) async fn ask_all(
    questions: Vec<Question<'_>>,
    began: Instant,
    limits: Limits,
) -> Vec<Answered> {
    let mut asked: Vec<BoxFuture<'_, (usize, Answered)>> = Vec::new();
    for (place, question) in questions.into_iter().enumerate() {
        let answered = ask(question, began + limits.in_all, limits);
        asked.push(answered.map(move |answered| (place, answered)).boxed());
    }
    let mut answers: Vec<(usize, Answered)> =
        futures::stream::iter(asked).buffer_unordered(limits.at_once).collect().await;
    answers.sort_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, answered)| answered).collect()
}

/// Asks, for as long as it may take.
async fn ask(question: Question<'_>, deadline: Instant, limits: Limits) -> Answered {
    let Question { path, what, answer } = question;
    let began = Instant::now();
    if began >= deadline {
        let answer = Err(format!("not asked any more: {:?} were over", limits.in_all));
        return Answered { path, what, answer, took: Duration::ZERO };
    }
    let answer = tokio::time::timeout_at(deadline.min(began + limits.each), answer).await;
    let took = began.elapsed();
    let late = |_elapsed| Err(format!("no answer within {:.0} s", took.as_secs_f64()));
    Answered { path, what, answer: answer.unwrap_or_else(late), took }
}

/// The questions that took longest, so that a slow archive says why.
pub(super) fn longest(mut times: Vec<(String, Duration)>) -> Vec<(String, Duration)> {
    times.sort_by_key(|(_, took)| std::cmp::Reverse(*took));
    times.truncate(3);
    times
}

/// What a question is answered with.
pub(super) enum Answer {
    /// One file.
    Text(String),
    /// Several, with paths below the question's own.
    Files(Vec<(String, Vec<u8>)>),
}

/// Something that is asked.
pub(super) struct Question<'a> {
    pub(super) path: String,
    pub(super) what: String,
    pub(super) answer: BoxFuture<'a, Result<Answer, String>>,
}

pub(super) fn question<'a>(
    path: impl Into<String>,
    what: impl Into<String>,
    answer: impl Future<Output = Result<Answer, String>> + Send + 'a,
) -> Question<'a> {
    Question { path: path.into(), what: what.into(), answer: answer.boxed() }
}
