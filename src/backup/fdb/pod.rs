//! The pod of the database, and scripts that run there while we listen.

use std::time::Duration;

use tokio::time::timeout;

use super::words::{Failure, Words};
use crate::backup::Target;
use crate::world::kube::{Heard, Hearing, Kube, Said, Telling};
use crate::{Error, Result};

/// Longest silence of a script; while its programs work, it says something twice a second.
const SILENCE: Duration = Duration::from_secs(120);

/// Longest time in which what it says stays the same: its agent tries again without end what fails.
const STILL: Duration = Duration::from_secs(300);

/// A pod of the component.
pub(super) struct Pod {
    kube: Kube,
    namespace: String,
    name: String,
}

/// A script that runs in a pod; dropped, it ends itself.
pub(super) struct Run {
    hearing: Hearing,
    words: Words,
}

impl Pod {
    pub(super) async fn of(target: &Target) -> Result<Pod> {
        let pods = target.pods.as_ref();
        let pods = pods.ok_or_else(|| Error::bug(format!("{} has no pods", target.component)))?;
        let kube = Kube::from_kubeconfig(&pods.kubeconfig).await?;
        let pod = kube.pod_of(&pods.namespace, &target.component, &pods.selector).await?;
        Ok(Pod { kube, namespace: pods.namespace.clone(), name: pod.name })
    }

    /// Runs a program to its end.
    pub(super) async fn exec(&self, command: &[String], within: Duration) -> Result<Said> {
        self.kube.exec(&self.namespace, &self.name, None, command, within).await
    }

    /// Begins a script, and opens the way to its input.
    pub(super) async fn run(&self, script: &str, arguments: &[String]) -> Result<(Telling, Run)> {
        let mut command = ["/bin/sh", "-c", script, "pipe"].map(str::to_owned).to_vec();
        command.extend_from_slice(arguments);
        let talk = self.kube.talk(&self.namespace, &self.name, None, &command).await;
        let (telling, hearing) = talk?;
        Ok((telling, Run { hearing, words: Words::new() }))
    }
}

impl Run {
    /// The next thing that it says, which must not be long in coming, and must be new now and then. While
    /// it is `fed`, how long that takes is not for the pod to say.
    pub(super) async fn next(&mut self, fed: bool) -> Result<Heard, String> {
        if fed {
            return self.hear().await;
        }
        let Ok(heard) = timeout(SILENCE, self.hear()).await else {
            return Err(format!("its pod said nothing for {} s", SILENCE.as_secs()));
        };
        match self.words.still() > STILL {
            true => Err(format!("nothing moved for {} s: {}", STILL.as_secs(), self.words.last())),
            false => heard,
        }
    }

    async fn hear(&mut self) -> Result<Heard, String> {
        let heard = self.hearing.next().await.map_err(|error| error.to_string())?;
        match &heard {
            Heard::Line(line) => self.words.note(line),
            Heard::Output(_) => self.words.moved(),
            Heard::Ended(_) => {}
        }
        Ok(heard)
    }

    /// Why it ended with `code`.
    pub(super) fn failed(&self, code: i32) -> Failure {
        self.words.failure(code)
    }
}
