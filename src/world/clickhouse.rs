//! One ClickHouse server over HTTP, and what its refusals mean.

use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use regex::bytes::Regex;

use super::http::{self, Reply};
use super::moving::{self, Body};
use crate::{Error, Result};

/// ClickHouse's codes of a refused login: unknown user, wrong password, password required,
/// authentication failed. Which one depends on its version.
const LOGIN_CODES: [u32; 4] = [192, 193, 194, 516];

/// Longest silence while a table moves, in either direction.
const STALL: Duration = Duration::from_secs(120);

/// A server, and who asks it.
#[derive(Clone, Debug)]
pub struct Server {
    client: reqwest::Client,
    address: reqwest::Url,
    login: Option<(String, String)>,
}

/// Why there is no result.
#[derive(Debug)]
pub enum Failure {
    /// No whole answer.
    Silence(String),
    /// ClickHouse's own error.
    Refused {
        /// Its number.
        code: u32,
        /// The HTTP status.
        status: u16,
        /// Its own words, cut short.
        said: String,
    },
    /// An answer that ClickHouse would not give.
    Strange(String),
}

impl Failure {
    /// Whether it is who asked that was refused.
    pub fn is_login(&self) -> bool {
        matches!(self, Failure::Refused { code, .. } if LOGIN_CODES.contains(code))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Silence(why) => f.write_str(why),
            Failure::Refused { code, status, said } => {
                write!(f, "refused with code {code} (HTTP {status}): {said}")
            }
            Failure::Strange(what) => write!(f, "{what}, which is no answer of ClickHouse"),
        }
    }
}

impl Server {
    /// The server at `address` (`host:port`), asked with a name and its password, or with none.
    ///
    /// # Errors
    /// The address is none.
    pub fn new(address: &str, login: Option<(&str, &str)>) -> Result<Server> {
        let address = reqwest::Url::parse(&format!("http://{address}"))
            .map_err(|error| Error::bug(format!("{address} is no address: {error}")))?;
        Ok(Server { client: http::service_client()?, address, login: owned(login) })
    }

    /// The same server, asked as somebody else.
    pub fn with_login(&self, login: Option<(&str, &str)>) -> Server {
        Server { login: owned(login), ..self.clone() }
    }

    /// The result of a statement.
    pub async fn query(&self, statement: &str) -> std::result::Result<String, Failure> {
        self.post(&[], statement.to_owned()).await
    }

    /// A statement that takes rows.
    pub async fn send(
        &self,
        statement: &str,
        rows: String,
    ) -> std::result::Result<String, Failure> {
        self.post(&[("query", statement)], rows).await
    }

    /// The same server, for results and rows that take as long as they move.
    ///
    /// # Errors
    /// No client can be set up.
    pub fn transferring(&self) -> Result<Server> {
        Ok(Server { client: http::streaming_client()?, ..self.clone() })
    }

    /// The result of a statement as it comes. A server that fails in the middle says so where the rows
    /// would go on: see [`broken_off`].
    pub async fn read(&self, statement: &str) -> std::result::Result<Body, Failure> {
        let request = self.signed(self.client.post(self.address.clone()));
        let answer = moving::open(request.body(statement.to_owned()), STALL).await;
        let answer = answer.map_err(Failure::Silence)?;
        if answer.status().as_u16() == 200 {
            return Ok(moving::body(answer, STALL));
        }
        let reply = http::whole(answer).await.map_err(Failure::Silence)?;
        match judge(&reply) {
            Ok(_) => Err(Failure::Strange(format!("HTTP {}", reply.status))),
            Err(failure) => Err(failure),
        }
    }

    /// A statement that takes `length` bytes of rows, as long as they move.
    pub async fn write(
        &self,
        statement: &str,
        length: u64,
        rows: Body,
    ) -> std::result::Result<(), Failure> {
        let mut url = self.address.clone();
        url.query_pairs_mut().append_pair("query", statement);
        let request = self.signed(self.client.post(url));
        let reply = moving::send(request, length, rows, STALL).await.map_err(Failure::Silence)?;
        judge(&reply).map(|_| ())
    }

    fn signed(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.login {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        }
    }

    async fn post(
        &self,
        parameters: &[(&str, &str)],
        body: String,
    ) -> std::result::Result<String, Failure> {
        let mut url = self.address.clone();
        // Else an error in the middle of a result comes behind status 200.
        url.query_pairs_mut().append_pair("wait_end_of_query", "1").extend_pairs(parameters);
        let request = self.signed(self.client.post(url).body(body));
        judge(&http::answer(request).await.map_err(Failure::Silence)?)
    }
}

/// What the server says at the end of rows that it broke off, in the words of every version: none marks
/// the end of a whole result. `tail` is the last few kilobytes.
pub fn broken_off(tail: &[u8]) -> Option<String> {
    static END: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let words = r"(?s-u)(Code: \d+[.,] .{0,4000}?DB::Exception.{0,8000}?)(e\.what\(\) = DB::Exception|\(version [^()]*(\([^()]*\))?\)|__exception__)\s*\z";
        Regex::new(words).ok()
    });
    let found = END.as_ref()?.captures(tail)?;
    Some(said(&String::from_utf8_lossy(found.get(1)?.as_bytes())))
}

fn judge(reply: &Reply) -> std::result::Result<String, Failure> {
    let text = reply.text();
    match (reply.status, code(&text)) {
        (200, None) => Ok(text),
        (status, Some(code)) => Err(Failure::Refused { code, status, said: said(&text) }),
        (status, None) => Err(Failure::Strange(format!("HTTP {status}"))),
    }
}

/// The first line of an error, without what belongs to a debugger.
fn said(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let line = line.split(", e.what() = ").next().unwrap_or_default();
    line.trim_end_matches([' ', ',']).chars().take(300).collect()
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
    fn a_result_that_was_broken_off_is_known_by_its_end() {
        let old =
            b"\x01\x02rowsCode: 395, e.displayText() = DB::Exception: Value passed to 'throwIf' \
            function is non zero, e.what() = DB::Exception\n";
        let said = broken_off(old).unwrap();
        assert_eq!(
            said,
            "Code: 395, e.displayText() = DB::Exception: Value passed to 'throwIf' function is non zero"
        );
        let new = b"rows\xffCode: 241. DB::Exception: Memory limit exceeded: While executing. \
            (MEMORY_LIMIT_EXCEEDED) (version 24.3.1.1 (official build))\n";
        assert!(broken_off(new).unwrap().starts_with("Code: 241. DB::Exception: Memory limit"));
        let inside =
            b"Code: 241. DB::Exception: is what somebody logged (version 24.3.1.1) \x05other";
        for whole in [&inside[..], b"", b"\x01\x00rows", b"DB::Exception"] {
            assert_eq!(broken_off(whole), None);
        }
    }

    #[test]
    fn only_a_refused_login_counts_as_one() {
        assert!(Failure::Refused { code: 516, status: 403, said: String::new() }.is_login());
        assert!(!Failure::Refused { code: 241, status: 500, said: String::new() }.is_login());
        assert!(!Failure::Silence("closed".into()).is_login());
    }
}
