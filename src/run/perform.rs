//! One `match`: which function does a deed, and which takes it back.

use super::Perform;
use super::context::Context;
use std::path::PathBuf;

use super::diagnosis::explain;
use super::{
    admission, balancer, buckets, canary, components, control_plane, drain, evidence, images, node,
    nodes, platform, power, registry, removal, smoke, surroundings,
};
use crate::plan::{Action, Step};
use crate::state::kubeconfig;
use crate::world::engine::UNREACHABLE;
use crate::world::forward::Backends;
use crate::{Error, Result};

impl Perform for Context {
    async fn perform(&self, step: &Step) -> Result<()> {
        let id = step.id.as_str();
        match &step.action {
            Action::PullImage { image } => images::pull(self, id, image).await,
            Action::StartRegistry { address } => {
                registry::ensure(registry::With::of(self), id, *address).await
            }
            Action::StopRegistry => registry::stop(self).await,
            Action::RemoveRegistry => registry::remove(self).await,
            Action::CacheImage { image } => images::cache(self, id, image).await,
            Action::FetchImage { image, hosts } => images::pull_on_nodes(self, image, hosts).await,
            Action::RestrictImages => admission::restrict(self, id).await,
            Action::ProveVerifier { hosts } => canary::prove(self, id, hosts).await,
            Action::LoadImage { image, hosts } => images::load(self, image, hosts).await,
            Action::KeepImage { id: image, names, kept, hosts } => {
                images::keep(self, image, names, *kept, hosts).await
            }
            Action::CreateNetwork { name, subnet, subnet6 } => {
                platform::create_network(self, name, subnet, subnet6.as_deref()).await
            }
            Action::RemoveNode { host, registered } => {
                let member = control_plane::is_member(&self.observed, host);
                if *registered && member {
                    control_plane::forget_member(self, host).await?;
                }
                if *registered {
                    self.kube().await?.delete_node(host).await?;
                }
                removal::node(self, host).await
            }
            Action::DrainNode { host, how } => drain::drain(self, id, host, *how).await,
            Action::ForgetRoute { pod_cidr, hosts } => {
                node::forget_route(self, hosts, pod_cidr).await
            }
            Action::ForgetVolumes { host } => node::forget_volumes(self, host).await,
            Action::ReleaseAddress { host } => node::release_address(self, host).await,
            Action::UpdateRoutes(node) => nodes::update_routes(self, node).await,
            Action::CreateNode(node) => {
                explain(self, &node.node.host, nodes::create(self, node)).await
            }
            Action::StartNode { host } => explain(self, host, nodes::start(self, id, host)).await,
            Action::CreateBalancer(plan) => balancer::create(self, id, plan).await,
            Action::UpdateBalancer { host, backends } => {
                let backends = Backends { backends: backends.clone() };
                balancer::update(self, host, &backends).await
            }
            Action::StartBalancer { host } => balancer::start(self, id, host).await,
            Action::AwaitEtcd { members } => control_plane::await_etcd(self, id, *members).await,
            Action::StopNode { host } => power::stop_node(self, host).await,
            Action::RestoreResources => power::restore_resources(self, id).await,
            Action::AwaitReleases => power::await_releases(self, id).await,
            Action::AwaitBoot { host } => {
                explain(self, host, nodes::await_boot(self, id, host)).await
            }
            Action::InitControlPlane { host } => {
                explain(self, host, nodes::init(self, id, host)).await
            }
            Action::JoinNode { host } => explain(self, host, nodes::join(self, id, host)).await,
            Action::ConfigureNode { host, change } => {
                nodes::configure(self, id, host, change).await
            }
            Action::AwaitNode { host } => {
                explain(self, host, nodes::await_ready(self, id, host)).await
            }
            Action::AwaitApi => platform::await_api(self, id).await,
            Action::WriteKubeconfig => platform::write_kubeconfig(self).await,
            Action::InstallNetwork { host } => platform::install_network(self, host).await,
            Action::InstallStorage { host } => platform::install_storage(self, host).await,
            Action::AwaitProxy => platform::await_proxy(self, id).await,
            Action::InstallDns { host } => platform::install_dns(self, host).await,
            Action::AwaitDns => platform::await_dns(self, id).await,
            Action::TellNode { host, aspects } => surroundings::tell(self, host, aspects).await,
            Action::FindHelm => self.helm().await.map(|_| ()),
            Action::Prepare { component } => components::prepare(self, component).await,
            Action::InstallRelease { component, hash, .. } => {
                components::install(self, component, hash).await
            }
            Action::RestartPods { component } => components::restart(self, id, component).await,
            Action::AwaitComponent { component } => {
                components::await_ready(self, id, component).await
            }
            Action::MakeBuckets { component } => buckets::make(self, id, component).await,
            Action::Smoke { component } => smoke::prove(self, id, component).await,
            Action::UninstallRelease { release, namespace, delete_data } => {
                components::uninstall(self, release, namespace, *delete_data).await
            }
            Action::RemoveKubeconfig => removal::kubeconfig(self).await,
            Action::RemoveVolumes => removal::volumes(self).await,
            Action::RemoveNetwork { name } => removal::network(self, name).await,
            Action::RemoveState => removal::state(self).await,
        }
    }

    async fn recover(&self, error: Error) -> Error {
        if error.code != UNREACHABLE {
            return error;
        }
        match self.world.revive().await {
            Ok(None) => error,
            Ok(Some(said)) => error
                .because("Podman's service, which pipe had started, ended under it")
                .because(said)
                .hint("the service runs again: give the same command once more"),
            Err(failed) => error.because(format!("its service does not start again: {failed}")),
        }
    }

    async fn evidence(&self, error: &Error) -> Option<PathBuf> {
        match evidence::collect(self, error).await {
            Ok(path) => Some(path),
            Err(error) => {
                self.events.warn(format!("evidence could not be kept: {error}"));
                None
            }
        }
    }

    async fn undo(&self, step: &Step) -> Result<()> {
        match &step.action {
            Action::CreateNode(node) => {
                // A node of a cluster that stays must be forgotten by it; where the cluster goes too,
                // nobody is left to tell.
                let stays = !node.node.control_plane || self.observed.live.is_some();
                if stays
                    && node.node.control_plane
                    && let Err(error) = control_plane::forget_member(self, &node.node.host).await
                {
                    self.events.progress(&step.id, error.to_string());
                }
                if stays
                    && let Ok(kube) = self.kube().await
                    && let Err(error) = kube.delete_node(&node.node.host).await
                {
                    self.events.progress(&step.id, error.to_string());
                }
                removal::node(self, &node.node.host).await?;
                if stays { Ok(()) } else { kubeconfig::remove_own(&self.state()) }
            }
            Action::CreateBalancer(plan) => removal::node(self, &plan.host).await,
            Action::CreateNetwork { name, .. } => removal::network(self, name).await,
            Action::StartRegistry { .. } => registry::remove(self).await,
            Action::WriteKubeconfig => removal::kubeconfig(self).await,
            Action::InstallRelease { component, first: true, .. } => {
                let (release, namespace) = (component.name.as_str(), &component.namespace);
                components::uninstall(self, release, namespace, false).await
            }
            // The rest lives in what these remove, is part of the cache, or had no effect.
            _ => Ok(()),
        }
    }
}
