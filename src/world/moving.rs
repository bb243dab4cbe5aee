//! Requests and answers that take as long as their bytes move, and end where they stall.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use reqwest::{RequestBuilder, Response};

use super::http::{self, Reply, chain};

/// Bytes as they come; an error ends them.
pub type Body = BoxStream<'static, Result<Bytes, String>>;

/// Sends a short request and reads its short answer, both within `limit`.
///
/// # Errors
/// There was no answer: why, without the address, whose query may hold a signature.
pub async fn answer(request: RequestBuilder, limit: Duration) -> Result<Reply, String> {
    let answer = tokio::time::timeout(limit, http::answer(request)).await;
    answer.map_err(|_elapsed| stalled(limit))?
}

/// Sends a short request; gives the answer's head, its body to be read with
/// [`body`]. `stall` is the longest wait for it.
///
/// # Errors
/// There was no answer: why, without the address.
pub async fn open(request: RequestBuilder, stall: Duration) -> Result<Response, String> {
    let answer = tokio::time::timeout(stall, request.send()).await;
    answer.map_err(|_elapsed| stalled(stall))?.map_err(|error| chain(&error.without_url()))
}

/// The body of an answer, as it comes. `stall` is the longest silence.
pub fn body(answer: Response, stall: Duration) -> Body {
    let next = move |mut chunks: BoxStream<'static, reqwest::Result<Bytes>>| async move {
        let chunk = match tokio::time::timeout(stall, chunks.next()).await {
            Err(_elapsed) => Err(stalled(stall)),
            Ok(None) => return None,
            Ok(Some(chunk)) => chunk.map_err(|error| chain(&error.without_url())),
        };
        Some((chunk, chunks))
    };
    futures::stream::unfold(answer.bytes_stream().boxed(), next).boxed()
}

/// Sends a body of `length` bytes and reads the whole answer, which must be short. `stall` is the
/// longest time in which nothing of it is taken.
///
/// # Errors
/// There was no answer: why, without the address.
pub async fn send(
    request: RequestBuilder,
    length: u64,
    body: Body,
    stall: Duration,
) -> Result<Reply, String> {
    let moved = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&moved);
    let counted = body.map(move |chunk| {
        counter.fetch_add(1, Ordering::Relaxed);
        chunk.map_err(std::io::Error::other)
    });
    let request = request
        .header(reqwest::header::CONTENT_LENGTH, length)
        .body(reqwest::Body::wrap_stream(counted));
    let mut answer = std::pin::pin!(http::answer(request));
    loop {
        let before = moved.load(Ordering::Relaxed);
        match tokio::time::timeout(stall, &mut answer).await {
            Ok(answer) => return answer,
            Err(_elapsed) if moved.load(Ordering::Relaxed) == before => return Err(stalled(stall)),
            Err(_elapsed) => {}
        }
    }
}

fn stalled(stall: Duration) -> String {
    format!("nothing moved for {} s", stall.as_secs())
}
