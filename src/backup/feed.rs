//! A file on its way into a service.

use bytes::Bytes;
use futures::{Stream, StreamExt as _};

use super::Progress;
use crate::Result;
use crate::world::moving::Body;

/// Chunks on their way from the file to the service.
const IN_FLIGHT: usize = 4;

/// Sends `content` to a service by `send`, which gets the body. The outer error is the content's, the
/// inner one the service's, which may refuse before all of it was sent.
pub(super) async fn feed<F, T>(
    content: impl Stream<Item = Result<Bytes>>,
    progress: &Progress,
    send: impl FnOnce(Body) -> F,
) -> Result<T>
where
    F: Future<Output = T>,
{
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(IN_FLIGHT);
    let body = futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|chunk| (Ok(chunk), receiver))
    });
    let read = async move {
        let mut content = std::pin::pin!(content);
        while let Some(chunk) = content.next().await {
            let chunk = chunk?;
            progress.advance(chunk.len() as u64);
            if sender.send(chunk).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    // A file that cannot be read ends the body before its length, so no service takes it for whole.
    let (read, sent) = futures::join!(read, send(body.boxed()));
    read.map(|()| sent)
}
