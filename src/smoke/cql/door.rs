//! Getting in, and being kept out.

use std::time::Duration;

use crate::smoke::door::reach;
use crate::smoke::recorder::Outcome;
use crate::world::cql::{Login, NoSession, Session, connect};

/// The user that a server of either product makes where nobody told it another, and its password.
const INITIAL_USER: &str = "cassandra";

/// Where the component's server should be.
pub(super) struct Door {
    /// The only address that is dialled.
    pub(super) address: String,
    /// How long it may take to answer.
    pub(super) reach: Duration,
}

impl Door {
    /// Connects, waiting for the port if need be; a refused login is an answer.
    pub(super) async fn enter(&self, login: Login<'_>) -> Result<Session, String> {
        let session = reach(self.reach, || async {
            match connect(&self.address, login).await {
                Err(NoSession::Failed(why)) => Err(why),
                Err(NoSession::Refused(why)) => Ok(Err(why)),
                Ok(session) => Ok(Ok(session)),
            }
        });
        session.await?
    }

    /// Passes only if the server says no to who asks; a connection that fails otherwise proves nothing.
    pub(super) async fn refused(&self, login: Login<'_>) -> Outcome<()> {
        match connect(&self.address, login).await {
            Ok(_session) => Err("let in".to_owned()),
            Err(NoSession::Refused(why)) => Ok(((), why)),
            Err(NoSession::Failed(why)) => Err(why),
        }
    }

    /// The user that every server has at first must not be there.
    pub(super) async fn initial_user_refused(&self) -> Outcome<()> {
        self.refused(Some((INITIAL_USER, INITIAL_USER))).await
    }
}
