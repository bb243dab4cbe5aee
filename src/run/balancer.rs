//! Deeds on the load balancer of a cluster with several control planes.

use std::time::Duration;

use super::context::Context;
use super::wait::Seen;
use crate::plan::BalancerPlan;
use crate::provider::kind::balancer::{self, BACKENDS, FOLDER};
use crate::world::engine::{Exec, Fault, FileToPut as File, State};
use crate::world::executable::Executable;
use crate::world::forward::Backends;
use crate::{Error, Result};

/// How often a container may turn out to be there already.
const CREATE_ATTEMPTS: usize = 3;

/// From its start until it listens.
const LISTENS: Duration = Duration::from_secs(30);

/// Makes the container, puts our program in and starts it.
pub(super) async fn create(context: &Context, id: &str, plan: &BalancerPlan) -> Result<()> {
    let engine = &context.world.engine;
    let executable = Executable::running()?;
    let spec = balancer::spec(&context.cluster, plan, &executable, &context.world.host);
    for attempt in 1.. {
        super::removal::node(context, &plan.host).await?;
        match engine.create_container(&spec).await {
            Err(error) if error.fault == Fault::Conflict && attempt < CREATE_ATTEMPTS => {}
            Err(error) => return Err(error.into()),
            Ok(_id) => break,
        }
    }
    engine.put_files(&plan.host, executable.files(FOLDER)).await?;
    let backends = Backends { backends: plan.backends.clone() };
    engine.put_files(&plan.host, vec![File::new(BACKENDS, 0o644, backends.to_text())]).await?;
    start(context, id, &plan.host).await
}

/// Starts the container and waits until it listens.
pub(super) async fn start(context: &Context, id: &str, host: &str) -> Result<()> {
    let engine = &context.world.engine;
    engine.start(host).await?;
    let what = format!("load balancer {host} did not start");
    let wait = context.wait(id, "balancer-not-ready", what, LISTENS);
    let listens = wait.until(|| async {
        match engine.inspect(host).await {
            Ok(Some(container)) if container.state == State::Running => {}
            Ok(Some(container)) => {
                return Seen::Never(
                    Error::failed("balancer-exited", format!("load balancer {host} stopped"))
                        .because(format!("exit code {}", container.exit_code))
                        .hint(format!("`podman logs {host}` shows why")),
                );
            }
            Ok(None) => {
                return Seen::Never(Error::failed(
                    "balancer-gone",
                    format!("load balancer {host} disappeared while it started"),
                ));
            }
            Err(error) => return Seen::of(error),
        }
        // Port 6443 in state "listen", as the kernel of its network namespace has it.
        let table = Exec::new(["cat", "/proc/net/tcp"]);
        match engine.exec(host, table).await {
            Ok(output) if listening(&output.text()) => Seen::Ready(()),
            Ok(_) => Seen::NotYet("it does not listen yet".to_owned()),
            Err(error) => Seen::NotYet(error.to_string()),
        }
    });
    listens.await
}

/// Replaces the file of back ends in one go; the program reads it within a second.
pub(super) async fn update(context: &Context, host: &str, backends: &Backends) -> Result<()> {
    let engine = &context.world.engine;
    let new = format!("{BACKENDS}.new");
    engine.put_files(host, vec![File::new(&new, 0o644, backends.to_text())]).await?;
    engine.exec(host, Exec::new(["mv", "-f", &new, BACKENDS])).await?.checked().map(drop)
}

/// Whether `/proc/net/tcp` has somebody who listens on the API's port.
fn listening(table: &str) -> bool {
    let port = format!(":{:04X}", balancer::API_PORT);
    table.lines().any(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let local = columns.next().is_some_and(|address| address.ends_with(&port));
        local && columns.nth(1) == Some("0A")
    })
}

#[cfg(test)]
mod tests {
    use super::listening;

    #[test]
    fn a_listener_is_told_from_a_connection() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
                     \x20  0: 0100007F:192B 00000000:0000 01 0\n\
                     \x20  1: 00000000:1F90 00000000:0000 0A 0\n";
        assert!(!listening(table));
        assert!(listening(&format!("{table}   2: 00000000:192B 00000000:0000 0A 0\n")));
    }
}
