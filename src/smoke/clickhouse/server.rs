//! One ClickHouse server over HTTP, and what its refusals mean.

use std::fmt;

use crate::world::http::{self, Reply};
use crate::{Error, Result};

/// ClickHouse's codes of a refused login: unknown user, wrong password, password required,
/// authentication failed. Which one depends on its version.
const LOGIN_CODES: [u32; 4] = [192, 193, 194, 516];

/// A server, and who asks it.
#[derive(Clone, Debug)]
pub(super) struct Server {
    client: reqwest::Client,
    address: reqwest::Url,
    login: Option<(String, String)>,
}

/// Why there is no result.
#[derive(Debug)]
pub(super) enum Failure {
    /// No whole answer.
    Silence(String),
    /// ClickHouse's own error.
    Refused {
        /// Its number.
        code: u32,
        /// The HTTP status.
        status: u16,
    },
    /// An answer that ClickHouse would not give.
    Strange(String),
}

impl Failure {
    /// Whether it is who asked that was refused.
    pub(super) fn is_login(&self) -> bool {
        matches!(self, Failure::Refused { code, .. } if LOGIN_CODES.contains(code))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Silence(why) => f.write_str(why),
            Failure::Refused { code, status } => {
                write!(f, "refused with code {code} (HTTP {status})")
            }
            Failure::Strange(what) => write!(f, "{what}, which is no answer of ClickHouse"),
        }
    }
}

impl Server {
    pub(super) fn new(address: &str, login: Option<(&str, &str)>) -> Result<Server> {
        let address = reqwest::Url::parse(&format!("http://{address}"))
            .map_err(|error| Error::bug(format!("{address} is no address: {error}")))?;
        Ok(Server { client: http::service_client()?, address, login: owned(login) })
    }

    /// The same server, asked as somebody else.
    pub(super) fn with_login(&self, login: Option<(&str, &str)>) -> Server {
        Server { login: owned(login), ..self.clone() }
    }

    /// The result of a statement.
    pub(super) async fn query(&self, statement: &str) -> std::result::Result<String, Failure> {
        self.post(&[], statement.to_owned()).await
    }

    /// A statement that takes rows.
    pub(super) async fn send(
        &self,
        statement: &str,
        rows: String,
    ) -> std::result::Result<String, Failure> {
        self.post(&[("query", statement)], rows).await
    }

    async fn post(
        &self,
        parameters: &[(&str, &str)],
        body: String,
    ) -> std::result::Result<String, Failure> {
        let mut url = self.address.clone();
        // Else an error in the middle of a result comes behind status 200.
        url.query_pairs_mut().append_pair("wait_end_of_query", "1").extend_pairs(parameters);
        let mut request = self.client.post(url).body(body);
        if let Some((user, password)) = &self.login {
            request = request.basic_auth(user, Some(password));
        }
        judge(&http::answer(request).await.map_err(Failure::Silence)?)
    }
}

fn judge(reply: &Reply) -> std::result::Result<String, Failure> {
    let text = reply.text();
    match (reply.status, code(&text)) {
        (200, None) => Ok(text),
        (status, Some(code)) => Err(Failure::Refused { code, status }),
        (status, None) => Err(Failure::Strange(format!("HTTP {status}"))),
    }
}

/// The number in `Code: 516. DB::Exception: …` or, from older servers, `Code: 193, e.displayText()…`.
fn code(text: &str) -> Option<u32> {
    let rest = text.strip_prefix("Code: ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..digits)?.parse().ok()
}

fn owned(login: Option<(&str, &str)>) -> Option<(String, String)> {
    login.map(|(user, password)| (user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_old_and_new_servers_are_read() {
        let old = "Code: 193, e.displayText() = DB::Exception: Wrong password for user pipe";
        let new = "Code: 516. DB::Exception: pipe: Authentication failed";
        assert_eq!((code(old), code(new)), (Some(193), Some(516)));
        assert_eq!(code("1\t2\n"), None);
        assert_eq!(code("Code: x"), None);
    }

    #[test]
    fn only_a_refused_login_counts_as_one() {
        assert!(Failure::Refused { code: 516, status: 403 }.is_login());
        assert!(!Failure::Refused { code: 241, status: 500 }.is_login());
        assert!(!Failure::Silence("closed".into()).is_login());
    }
}
