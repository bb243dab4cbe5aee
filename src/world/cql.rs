//! CQL, as ScyllaDB and Cassandra speak it: sessions with the one server that is meant, through one
//! address.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use scylla::client::PoolSize;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, ExecutionError,
    MetadataError, NewSessionError, RequestAttemptError, TranslationError,
};
use scylla::policies::address_translator::{AddressTranslator, UntranslatedPeer};
use scylla::statement::unprepared::Statement;

pub use scylla::client::session::Session;

/// For a connection, and for a small answer.
pub const ANSWER: Duration = Duration::from_secs(10);

/// Who asks, and with what password.
pub type Login<'a> = Option<(&'a str, &'a str)>;

/// Why there is no session.
#[derive(Debug)]
pub enum NoSession {
    /// The server does not let this user in.
    Refused(String),
    /// There was no answer, or one that says nothing about who asks.
    Failed(String),
}

impl fmt::Display for NoSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoSession::Refused(why) | NoSession::Failed(why) => f.write_str(why),
        }
    }
}

/// Leads every address that the server advertises to the one through which it was reached: a
/// client dials what `system.local` says, and that may be an address of the cluster's network.
struct OneDoor(SocketAddr);

#[async_trait]
impl AddressTranslator for OneDoor {
    async fn translate_address(
        &self,
        _advertised: &UntranslatedPeer,
    ) -> Result<SocketAddr, TranslationError> {
        Ok(self.0)
    }
}

/// A session through `address`, `host:port`, the only place that is dialled. From a pod it is a Service's
/// name.
///
/// # Errors
/// The server refuses the login, or cannot be reached.
pub async fn connect(address: &str, login: Login<'_>) -> Result<Session, NoSession> {
    let failed = |why: String| NoSession::Failed(format!("{address}: {why}"));
    let found = tokio::net::lookup_host(address).await;
    let mut found: Vec<SocketAddr> = found.map_err(|error| failed(error.to_string()))?.collect();
    // Host ports and Services of these clusters are IPv4's.
    found.sort_by_key(SocketAddr::is_ipv6);
    let found = found.first().copied();
    let address = found.ok_or_else(|| failed("the name has no address".to_owned()))?;
    let builder = SessionBuilder::new()
        .known_node_addr(address)
        .address_translator(Arc::new(OneDoor(address)))
        // One port is published, and it leads to no shard in particular.
        .disallow_shard_aware_port(true)
        .pool_size(PoolSize::PerHost(NonZeroUsize::MIN))
        // The schema is asked for by those who want to know it.
        .fetch_schema_metadata(false)
        .connection_timeout(ANSWER)
        .schema_agreement_timeout(ANSWER);
    let builder = match login {
        Some((user, password)) => builder.user(user, password),
        None => builder,
    };
    builder.build().await.map_err(|error| match refusal(&error) {
        Some(why) => NoSession::Refused(why),
        None => NoSession::Failed(error.to_string()),
    })
}

/// Why the server did not let somebody in; `None` if that is not what happened.
fn refusal(error: &NewSessionError) -> Option<String> {
    let NewSessionError::MetadataError(MetadataError::ConnectionPoolError(
        ConnectionPoolError::Broken {
            last_connection_error: ConnectionError::ConnectionSetupRequestError(refused),
        },
    )) = error
    else {
        return None;
    };
    match refused.get_error() {
        ConnectionSetupRequestErrorKind::DbError(DbError::AuthenticationError, why) => {
            Some(format!("refused: {why}"))
        }
        ConnectionSetupRequestErrorKind::MissingAuthentication => {
            Some("refused: it wants a name and a password".to_owned())
        }
        _ => None,
    }
}

/// Which product the server is, and its version. ScyllaDB says in `system.local` which Cassandra it is
/// like, `release`, and in a table of its own which ScyllaDB it is.
///
/// # Errors
/// The server does not say.
pub async fn product(session: &Session, release: &str) -> Result<String, String> {
    let mut statement = Statement::new("SELECT version FROM system.versions WHERE key = 'local'");
    statement.set_request_timeout(Some(ANSWER));
    match session.query_unpaged(statement, ()).await {
        Err(error) if is_invalid(&error) => Ok(format!("Cassandra {release}")),
        Err(error) => Err(error.to_string()),
        Ok(answer) => {
            let answer = answer.into_rows_result().map_err(|error| error.to_string())?;
            let row = answer.single_row::<(String,)>().map_err(|error| error.to_string())?;
            Ok(format!("ScyllaDB {}", row.0))
        }
    }
}

/// Whether the server says that what is asked for is not there.
pub fn is_invalid(error: &ExecutionError) -> bool {
    matches!(
        error,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Invalid, _))
    )
}
