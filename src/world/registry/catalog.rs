//! Which repositories a registry has.

use bytes::Bytes;
use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, StatusCode};

use super::{Call, Registry};
use crate::{Error, Result};

/// Names asked for at once.
const PAGE: usize = 500;

/// Pages of a registry that goes on and on.
const PAGES_MAX: usize = 1000;

impl Registry {
    /// The names of all repositories, in the registry's order.
    ///
    /// # Errors
    /// The registry does not answer or refuses; many upstream ones do.
    pub async fn catalog(&self) -> Result<Vec<String>> {
        #[derive(serde::Deserialize)]
        struct Page {
            repositories: Option<Vec<String>>,
        }
        let what = "the list of repositories cannot be read";
        let mut names = Vec::new();
        let mut url = self.url(&format!("v2/_catalog?n={PAGE}"))?;
        for _page in 0..PAGES_MAX {
            let (headers, body) = (HeaderMap::new(), Bytes::new());
            let call = Call { method: Method::GET, url: url.clone(), headers, body, actions: "" };
            let answer = self.send(&call, "").await?;
            if answer.status() != StatusCode::OK {
                return Err(self.refusal(answer, what).await);
            }
            let next = answer.headers().get(LINK).and_then(|link| link.to_str().ok());
            let next = next.and_then(next_of).and_then(|next| url.join(next).ok());
            let page: Page = match answer.bytes().await {
                Ok(bytes) => serde_json::from_slice(&bytes)
                    .map_err(|error| Error::failed("registry-refused", what).because(error))?,
                Err(error) => return Err(self.unreachable(error)),
            };
            names.extend(page.repositories.unwrap_or_default());
            match next {
                Some(next) => url = next,
                None => return Ok(names),
            }
        }
        Err(Error::failed("registry-refused", what).because("it has no end"))
    }
}

/// The address in `</v2/_catalog?last=x&n=500>; rel="next"`.
fn next_of(link: &str) -> Option<&str> {
    let (address, rest) = link.strip_prefix('<')?.split_once('>')?;
    rest.contains("next").then_some(address)
}

#[cfg(test)]
mod tests {
    use super::next_of;

    #[test]
    fn the_next_page_is_named_in_the_answer() {
        assert_eq!(
            next_of("</v2/_catalog?last=a&n=2>; rel=\"next\""),
            Some("/v2/_catalog?last=a&n=2")
        );
        assert_eq!(next_of("</v2/_catalog>; rel=\"prev\""), None);
        assert_eq!(next_of("nonsense"), None);
    }
}
