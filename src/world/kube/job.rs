//! Jobs: work that ends.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::PostParams;
use serde_json::Value;

use super::{Kube, fault};
use crate::{Error, Result};

/// How far a Job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Its pod is waited for, or runs.
    Active,
    /// It ended well.
    Complete,
    /// It ended otherwise, or too late.
    Failed,
}

/// What a CronJob does and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronState {
    /// Its times, as cron has them.
    pub schedule: String,
    /// When it last began a Job.
    pub last: Option<Timestamp>,
    /// When a Job of it last ended well.
    pub last_whole: Option<Timestamp>,
}

impl Kube {
    /// Makes a Job; one of that name is left as it is.
    ///
    /// # Errors
    /// It is no Job; those of every request.
    pub async fn make_job(&self, namespace: &str, job: Value) -> Result<()> {
        let job: Job = serde_json::from_value(job).map_err(|why| Error::bug(why.to_string()))?;
        let name = job.metadata.name.clone().unwrap_or_default();
        let api = Api::<Job>::namespaced(self.client.clone(), namespace);
        let what = format!("make job {namespace}/{name}");
        match self.call(&what, api.create(&PostParams::default(), &job)).await {
            Err(error) if !fault::is_conflict(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// How far a Job is; `None` if there is none of that name.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn job(&self, namespace: &str, name: &str) -> Result<Option<JobState>> {
        let api = Api::<Job>::namespaced(self.client.clone(), namespace);
        let what = format!("read job {namespace}/{name}");
        let job = self.call(&what, api.get_opt(name)).await?;
        Ok(job.map(|job| {
            let conditions = job.status.and_then(|status| status.conditions).unwrap_or_default();
            let is =
                |kind: &str| conditions.iter().any(|it| it.type_ == kind && it.status == "True");
            match (is("Complete"), is("Failed")) {
                (true, _) => JobState::Complete,
                (false, true) => JobState::Failed,
                (false, false) => JobState::Active,
            }
        }))
    }

    /// Makes a CronJob, or gives an existing one exactly this specification.
    ///
    /// # Errors
    /// Those of every request; times that no clock has are refused by the API server.
    pub async fn apply_cron_job(&self, namespace: &str, object: &Value) -> Result<()> {
        self.apply_typed(&Api::<CronJob>::namespaced(self.client.clone(), namespace), object).await
    }

    /// What a CronJob does and did; `None` if there is none of that name.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn cron_job(&self, namespace: &str, name: &str) -> Result<Option<CronState>> {
        let api = Api::<CronJob>::namespaced(self.client.clone(), namespace);
        let what = format!("read cronjob {namespace}/{name}");
        let job = self.call(&what, api.get_opt(name)).await?;
        Ok(job.map(|job| {
            let status = job.status.unwrap_or_default();
            CronState {
                schedule: job.spec.schedule,
                last: status.last_schedule_time.map(|time| time.0),
                last_whole: status.last_successful_time.map(|time| time.0),
            }
        }))
    }

    /// The port that a Service calls `port`; `None` if there is no such Service or port.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn service_port(
        &self,
        namespace: &str,
        service: &str,
        port: &str,
    ) -> Result<Option<u16>> {
        let api = Api::<Service>::namespaced(self.client.clone(), namespace);
        let what = format!("read service {namespace}/{service}");
        let service = self.call(&what, api.get_opt(service)).await?;
        let ports = service.and_then(|it| it.spec).and_then(|spec| spec.ports).unwrap_or_default();
        let found = ports.iter().find(|it| it.name.as_deref() == Some(port));
        Ok(found.and_then(|it| u16::try_from(it.port).ok()))
    }
}
