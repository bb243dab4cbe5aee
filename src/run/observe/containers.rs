//! What containers of a cluster say of themselves: labels, state, and files in them.

use crate::Result;
use crate::plan::observed::{BalancerFacts, NodeFacts, NodeStage};
use crate::plan::surroundings::Told;
use crate::provider::kind::{self, JOINED_MARKER, VERSION_FILE, balancer};
use crate::provider::labels;
use crate::run::surroundings;
use crate::spec::kubernetes::Version;
use crate::world::World;
use crate::world::engine::{ContainerLine, Engine, EngineError, EngineResult, Fault, State};
use crate::world::forward::Backends;

/// What there is of a load balancer.
pub(super) async fn balancer_facts(
    world: &World,
    container: &ContainerLine,
) -> Result<BalancerFacts> {
    let backends =
        inside(container, world.engine.get_file(&container.name, balancer::BACKENDS).await)?;
    let stage = match (&backends, container.state == State::Running) {
        (None, _) => NodeStage::Lost,
        (Some(None), _) => NodeStage::HalfMade,
        (Some(_), false) => NodeStage::Stopped,
        (Some(_), true) => NodeStage::Running,
    };
    let backends =
        backends.flatten().and_then(|text| serde_json::from_slice::<Backends>(&text).ok());
    Ok(BalancerFacts {
        host: container.name.clone(),
        stage,
        spec_hash: container.labels.get(labels::SPEC_HASH).cloned().unwrap_or_default(),
        backends: backends.unwrap_or_default().backends,
    })
}

/// What was read in a container; `None` where it is lost, which is how the engine's failure to read
/// in one that it counts as running shows, or in one that an interrupted `up` was starting.
fn inside<T>(container: &ContainerLine, read: EngineResult<T>) -> EngineResult<Option<T>> {
    match read {
        Err(EngineError { fault: Fault::Status(500..), .. })
            if !matches!(container.state, State::Created | State::Exited) =>
        {
            Ok(None)
        }
        Err(EngineError { fault: Fault::Stream, .. }) if container.state != State::Exited => {
            Ok(None)
        }
        read => read.map(Some),
    }
}

/// What the files in a node say of it.
#[derive(Default)]
struct Said {
    joined: bool,
    kubernetes: Option<Version>,
    told: Told,
}

async fn said(engine: &Engine, host: &str) -> EngineResult<Said> {
    let version = engine.get_file(host, VERSION_FILE).await?;
    Ok(Said {
        joined: engine.get_file(host, JOINED_MARKER).await?.is_some(),
        kubernetes: version.and_then(|text| String::from_utf8_lossy(&text).parse().ok()),
        told: surroundings::read_told(engine, host).await?,
    })
}

/// What there is of a node.
pub(super) async fn node_facts(world: &World, container: &ContainerLine) -> Result<NodeFacts> {
    let said = inside(container, said(&world.engine, &container.name).await)?;
    let stage = match (&said, container.state == State::Running) {
        (None, _) => NodeStage::Lost,
        (Some(Said { joined: false, .. }), _) => NodeStage::HalfMade,
        (Some(_), false) => NodeStage::Stopped,
        (Some(_), true) => NodeStage::Running,
    };
    let said = said.unwrap_or_default();
    let name = container.labels.get(labels::NODE).unwrap_or(&container.name).clone();
    Ok(NodeFacts {
        name,
        stage,
        running: container.state == State::Running,
        spec_hash: container.labels.get(labels::SPEC_HASH).cloned().unwrap_or_default(),
        settings: container
            .labels
            .get(labels::SETTINGS)
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default(),
        kubernetes: said.kubernetes,
        control_plane: container.labels.get(kind::ROLE_LABEL).is_some_and(|r| r == "control-plane"),
        image: container.image.clone(),
        told: said.told,
    })
}
