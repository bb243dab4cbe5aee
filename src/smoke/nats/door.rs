//! Getting in, and being kept out: connections to the one server that is meant.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, ServerInfo};
use tokio::time::{Instant, interval};

use super::{ANSWER_DEADLINE, text};
use crate::smoke::door::{REACH_INTERVAL, is_pod_of};
use crate::smoke::recorder::Outcome;

/// Where the component's server should be.
pub(super) struct Door<'a> {
    /// `host:port`.
    pub(super) address: String,
    /// How long it may take to answer.
    pub(super) reach: Duration,
    /// Whose pod should answer.
    pub(super) component: &'a str,
}

impl Door<'_> {
    /// Connects, waiting for the port if need be, and makes sure it is the server we mean: another
    /// program's NATS on that port has another name, and does not know the password.
    pub(super) async fn identify(&self, login: ConnectOptions) -> Outcome<(Client, String)> {
        let client = self.reach(login).await?;
        let info = client.server_info();
        if !is_pod_of(self.component, &info.server_name) {
            return Err(format!(
                "{}, which is no pod of {}: another program holds the port",
                described(&info),
                self.component
            ));
        }
        if !info.jetstream {
            return Err(format!("{} without JetStream", described(&info)));
        }
        let saw = format!("{}; it accepted the credentials", described(&info));
        Ok(((client, info.server_id), saw))
    }

    async fn reach(&self, login: ConnectOptions) -> Result<Client, String> {
        let deadline = Instant::now() + self.reach;
        let mut tick = interval(REACH_INTERVAL);
        loop {
            tick.tick().await;
            match login.clone().connect(&self.address).await {
                Ok(client) => return Ok(client),
                Err(error) if is_refusal(&error) => return Err(text(error)),
                Err(error) if Instant::now() > deadline => {
                    let waited = self.reach.as_secs();
                    return Err(format!("no server within {waited} s; last: {error}"));
                }
                Err(_not_yet) => {}
            }
        }
    }

    /// Passes only if the server says no; a connection that fails otherwise proves nothing.
    pub(super) async fn refused(&self, login: ConnectOptions) -> Outcome<()> {
        match login.connect(&self.address).await {
            Ok(client) => Err(format!("{} let it in", described(&client.server_info()))),
            Err(error) if is_refusal(&error) => Ok(((), error.kind().to_string())),
            Err(error) => Err(text(error)),
        }
    }
}

pub(super) fn login(credentials: Option<(&str, &str)>) -> ConnectOptions {
    let options = match credentials {
        Some((user, password)) => {
            ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned())
        }
        None => ConnectOptions::new(),
    };
    options
        .name("pipe smoke")
        .connection_timeout(ANSWER_DEADLINE)
        .request_timeout(Some(ANSWER_DEADLINE))
        // Addresses that the server advertises are of pods: not reachable from here.
        .ignore_discovered_servers()
        .retain_servers_order()
}

pub(super) fn jetstream(client: Client) -> Context {
    let mut context = async_nats::jetstream::new(client);
    context.set_timeout(ANSWER_DEADLINE);
    context
}

fn is_refusal(error: &ConnectError) -> bool {
    matches!(
        error.kind(),
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication
    )
}

fn described(info: &ServerInfo) -> String {
    format!("NATS server {} {} (id {})", info.server_name, info.version, info.server_id)
}
