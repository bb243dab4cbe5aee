//! Backups that the cluster makes by itself, into a store of its own.
//!
//! ```text
//! components, credentials, retention ─▶ Secret ─▶ CronJob ─▶ pod of pipe's own image ─▶ the store's bucket
//! ```
//!
//! The pod does what `pipe backup` does on the host, and finds services by their names.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{BackedUp, Chosen, PlaceName, Subject, choose, make};
use crate::backup::{Driver, Pods, Target};
use crate::provider::labels;
use crate::run::context::Context;
use crate::run::own_pod::{self, NAMESPACE, OwnPod};
use crate::run::status::known;
use crate::run::up::Environment;
use crate::spec::{ClusterName, ComponentName, Keep};
use crate::world::World;
use crate::{Error, Result};

/// Name of the CronJob and of its Secret.
const NAME: &str = "pipe-backup";

/// Every night at two, in UTC.
pub const NIGHTLY: &str = "0 2 * * *";

/// Longest time for one run, in seconds.
const LIMIT: u32 = 6 * 60 * 60;

/// How late it may begin, in seconds, where the cluster was not there at the time.
const LATE: u32 = 4 * 60 * 60;

/// What a pod is told: it travels in a Secret, and nowhere else.
#[derive(Deserialize, Serialize)]
pub struct Errand {
    cluster: ClusterName,
    /// `s3:minio/backups`.
    place: String,
    /// Components to back up.
    names: Vec<ComponentName>,
    /// Those, and the store.
    subjects: Vec<Told>,
}

#[derive(Deserialize, Serialize)]
struct Told {
    name: ComponentName,
    driver: Driver,
    #[serde(with = "ToldTarget")]
    target: Target,
    keep: Keep,
}

/// A [`Target`] in writing: nothing else that has one can be written by mistake.
#[derive(Deserialize, Serialize)]
#[serde(remote = "Target")]
struct ToldTarget {
    component: String,
    host: String,
    port: Option<u16>,
    #[serde(skip)]
    pods: Option<Pods>,
    credentials: BTreeMap<String, String>,
}

/// What the cluster does by itself.
#[derive(Debug, Serialize)]
pub struct Schedule {
    /// Whose.
    pub cluster: ClusterName,
    /// When, as cron has it, in UTC; none where it makes no backups.
    pub at: Option<String>,
    /// When it last began one.
    pub last: Option<Timestamp>,
    /// When it last made one whole.
    pub last_whole: Option<Timestamp>,
}

/// Has the cluster back up `names`, or all that can be, at the times of `at`.
///
/// # Errors
/// There is no such cluster, component or store; the image cannot be delivered; the API server refuses the
/// times.
pub async fn schedule(
    environment: &Environment<'_>,
    cluster: &ClusterName,
    names: &[String],
    to: &PlaceName,
    at: &str,
) -> Result<Schedule> {
    let mut chosen = choose(environment, cluster, names)?;
    if let PlaceName::Folder(folder) = to {
        let what = format!("a pod cannot write to the folder {}", folder.display());
        return Err(
            Error::usage("no-store", what).hint("name a store of the cluster: --to s3:minio")
        );
    }
    let place = to.open(cluster, &chosen.all)?;
    chosen.keep_out_of_itself(to, &place, names)?;
    chosen.keep_to_ports(names)?;
    chosen.warn(environment);
    let context = context(environment, cluster).await?;
    let kube = context.kube().await?;
    let mut subjects = Vec::new();
    for Subject { name, driver, target, keep } in chosen.all {
        let components = &context.spec()?.profile.components;
        let Some(component) = components.iter().find(|it| it.name == name) else { continue };
        let (host, port) = own_pod::service(kube, component).await?;
        subjects.push(Told {
            name,
            driver,
            target: Target { host, port: Some(port), pods: None, ..target },
            keep,
        });
    }
    let errand = Errand {
        cluster: cluster.clone(),
        place: place.to_string(),
        names: chosen.names,
        subjects,
    };
    let pod = OwnPod::deliver(&context, "schedule", "backup-errand").await?;
    let text = serde_json::to_string(&errand).map_err(|why| Error::bug(why.to_string()))?;
    let labels = labels::ours(None);
    let secret = BTreeMap::from([(own_pod::FILE.to_owned(), text)]);
    kube.put_secret(NAMESPACE, NAME, &secret, &labels).await?;
    let object = json!({
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "schedule": at,
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": LATE,
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 1,
            "jobTemplate": {"metadata": {"labels": labels}, "spec": {
                "backoffLimit": 1,
                "activeDeadlineSeconds": LIMIT,
                "template": {"metadata": {"labels": labels}, "spec": pod.spec(NAME)},
            }},
        },
    });
    kube.apply_cron_job(NAMESPACE, &object).await?;
    scheduled(&context).await
}

/// Has the cluster make no more backups by itself; those that it made stay.
///
/// # Errors
/// There is no such cluster, or its API server does not answer.
pub async fn unschedule(environment: &Environment<'_>, cluster: &ClusterName) -> Result<Schedule> {
    let context = context(environment, cluster).await?;
    let kube = context.kube().await?;
    kube.delete("batch/v1", "CronJob", Some(NAMESPACE), NAME).await?;
    kube.delete("v1", "Secret", Some(NAMESPACE), NAME).await?;
    scheduled(&context).await
}

/// What the cluster does by itself.
///
/// # Errors
/// There is no such cluster, or its API server does not answer.
pub async fn look(environment: &Environment<'_>, cluster: &ClusterName) -> Result<Schedule> {
    scheduled(&context(environment, cluster).await?).await
}

/// Does what a pod was told.
///
/// # Errors
/// The store cannot be used, or the backup of a component failed.
pub async fn carry_out(environment: &Environment<'_>, errand: Errand) -> Result<BackedUp> {
    let Errand { cluster, place, names, subjects } = errand;
    let of = |Told { name, driver, target, keep }| Subject { name, driver, target, keep };
    let all: Vec<Subject> = subjects.into_iter().map(of).collect();
    let place = PlaceName::parse(&place).map_err(Error::bug)?.open(&cluster, &all)?;
    let chosen = Chosen { all, names, left_out: Vec::new() };
    make(environment, &cluster, chosen, place).await
}

async fn context(environment: &Environment<'_>, cluster: &ClusterName) -> Result<Context> {
    let (reservation, spec) = known(environment.sources, environment.paths, cluster)?;
    let world = Arc::new(World::connect(environment.env, environment.engine).await?);
    Ok(Context::of_files(environment, &world, reservation, spec))
}

async fn scheduled(context: &Context) -> Result<Schedule> {
    let found = context.kube().await?.cron_job(NAMESPACE, NAME).await?;
    let (last, last_whole) = found.as_ref().map_or((None, None), |it| (it.last, it.last_whole));
    let at = found.map(|found| found.schedule);
    Ok(Schedule { cluster: context.cluster.clone(), at, last, last_whole })
}
