//! Getting in, and being kept out: sessions with the one server that is meant, through one address.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use scylla::client::PoolSize;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, MetadataError,
    NewSessionError, TranslationError,
};
use scylla::policies::address_translator::{AddressTranslator, UntranslatedPeer};

use crate::smoke::door::reach;
use crate::smoke::recorder::Outcome;

/// For one connection, and for one request.
pub(super) const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// The user that a server of either product makes where nobody told it another, and its password.
const INITIAL_USER: &str = "cassandra";

/// Who asks, and with what password.
pub(super) type Login<'a> = Option<(&'a str, &'a str)>;

/// Where the component's server should be.
pub(super) struct Door {
    /// The only place that is dialled: `host:port`.
    pub(super) address: String,
    /// How long it may take to answer.
    pub(super) reach: Duration,
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

impl Door {
    /// Connects, waiting for the port if need be; a refused login is an answer.
    pub(super) async fn enter(&self, login: Login<'_>) -> Result<Session, String> {
        let session = reach(self.reach, || async {
            match self.connect(login).await {
                Err(error) if refusal(&error).is_some() => Ok(Err(error)),
                Err(error) => Err(error.to_string()),
                Ok(session) => Ok(Ok(session)),
            }
        });
        session.await?.map_err(|error| refusal(&error).unwrap_or_else(|| error.to_string()))
    }

    /// Passes only if the server says no to who asks; a connection that fails otherwise proves nothing.
    pub(super) async fn refused(&self, login: Login<'_>) -> Outcome<()> {
        match self.connect(login).await {
            Ok(_session) => Err("let in".to_owned()),
            Err(error) => match refusal(&error) {
                Some(why) => Ok(((), why)),
                None => Err(error.to_string()),
            },
        }
    }

    /// The user that every server has at first must not be there.
    pub(super) async fn initial_user_refused(&self) -> Outcome<()> {
        self.refused(Some((INITIAL_USER, INITIAL_USER))).await
    }

    /// From a pod it is a Service's name.
    async fn resolve(&self) -> Result<SocketAddr, NewSessionError> {
        let found = tokio::net::lookup_host(&self.address).await;
        let mut found: Vec<SocketAddr> = found.map(Iterator::collect).unwrap_or_default();
        // Host ports and Services of these clusters are IPv4's.
        found.sort_by_key(SocketAddr::is_ipv6);
        let nowhere = || NewSessionError::FailedToResolveAnyHostname(vec![self.address.clone()]);
        found.first().copied().ok_or_else(nowhere)
    }

    async fn connect(&self, login: Login<'_>) -> Result<Session, NewSessionError> {
        let address = self.resolve().await?;
        let builder = SessionBuilder::new()
            .known_node_addr(address)
            .address_translator(Arc::new(OneDoor(address)))
            // One port is published, and it leads to no shard in particular.
            .disallow_shard_aware_port(true)
            .pool_size(PoolSize::PerHost(NonZeroUsize::MIN))
            // The schema is asked for by the checks, where they want to know it.
            .fetch_schema_metadata(false)
            .connection_timeout(ANSWER_DEADLINE)
            .schema_agreement_timeout(ANSWER_DEADLINE);
        let builder = match login {
            Some((user, password)) => builder.user(user, password),
            None => builder,
        };
        builder.build().await
    }
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
