//! What keeps an API server from answering, seen from inside its node: etcd, or the server itself,
//! does not run. Asked of the engine, because there is nobody else to ask.

use std::time::Duration;

use crate::Error;
use crate::plan::Observed;
use crate::plan::observed::NodeStage;
use crate::provider::kind::KUBEADM_CONF;
use crate::world::engine::{Engine, Exec};

/// Time for a node to say it; one that hangs says nothing.
const ANSWER: Duration = Duration::from_secs(10);

/// Longest line of evidence, in characters.
const LINE_MAX: usize = 300;

/// What the API server needs, in this order, and itself.
const PROGRAMS: [&str; 2] = ["etcd", "kube-apiserver"];

/// Says of each program whether kubelet is told to run it, whether it runs, and its last words.
const SCRIPT: &str = "\
for program in \"$@\"; do
  if [ -e \"/etc/kubernetes/manifests/$program.yaml\" ]; then echo \"wanted $program\"; fi
  for name in /proc/[0-9]*/comm; do
    read -r running <\"$name\" && [ \"$running\" = \"$program\" ] && echo \"runs $program\"
  done 2>/dev/null
  newest=$(ls -t /var/log/pods/kube-system_$program-*/$program/*.log 2>/dev/null | head -n 1)
  [ -n \"$newest\" ] && tail -n 3 \"$newest\" | cut -d ' ' -f 4- | sed \"s/^/said $program /\"
done
exit 0";

/// A program of the control plane that does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiFault {
    /// The node.
    host: String,
    /// `etcd` or `kube-apiserver`.
    program: &'static str,
    /// Whether kubelet is told to run it: then it may come back by itself.
    wanted: bool,
    /// Its last words.
    said: Vec<String>,
}

impl ApiFault {
    /// In one line.
    pub(super) fn cause(&self) -> String {
        let Self { host, program, wanted, .. } = self;
        match wanted {
            true => format!("{program} does not run on {host}"),
            false => format!(
                "{program} does not run on {host}: /etc/kubernetes/manifests/{program}.yaml is gone, \
                 so kubelet does not start it"
            ),
        }
    }

    /// Whether waiting is in vain.
    pub(super) fn is_lasting(&self) -> bool {
        !self.wanted
    }

    /// An error with this as its first cause, the program's last words as evidence, and what to do.
    pub(super) fn explain(&self, mut error: Error, cluster: &str) -> Error {
        error.causes.insert(0, self.cause());
        for line in &self.said {
            error.causes.push(format!("{} said: {line}", self.program));
        }
        if !self.wanted {
            let phase = match self.program {
                "etcd" => "etcd local",
                _ => "control-plane apiserver",
            };
            error = error.hint(format!(
                "write it anew: podman exec {} kubeadm init phase {phase} --config {KUBEADM_CONF}",
                self.host
            ));
        }
        error
            .hint(format!("everything that it said: pipe logs -c {cluster}"))
            .hint(format!("to give it up: pipe teardown {cluster}"))
    }
}

/// Asks every control plane that runs; the first that lacks a program is told of, where none of the
/// others has all. `None` where nothing is known.
pub(super) async fn find(engine: &Engine, observed: &Observed) -> Option<ApiFault> {
    let mut first = None;
    for (host, facts) in &observed.nodes {
        if !facts.control_plane || facts.stage == NodeStage::HalfMade {
            continue;
        }
        let argv = ["sh", "-c", SCRIPT, "sh"].into_iter().chain(PROGRAMS);
        let Ok(output) = engine.exec(host, Exec::new(argv).within(ANSWER)).await else { continue };
        first = first.or(Some(fault(host, &output.text())?));
    }
    first
}

/// The first program that does not run, or ends because kubelet is no longer told to run it; `None`
/// where all do.
fn fault(host: &str, said: &str) -> Option<ApiFault> {
    let has =
        |what: &str, program: &str| said.lines().any(|line| line == format!("{what} {program}"));
    let stays = |program: &&str| has("runs", program) && has("wanted", program);
    let program = PROGRAMS.into_iter().find(|program| !stays(program))?;
    let words = format!("said {program} ");
    let lines = said.lines().filter_map(|line| line.strip_prefix(words.as_str()));
    Some(ApiFault {
        host: host.to_owned(),
        program,
        wanted: has("wanted", program),
        said: lines.map(|line| line.chars().take(LINE_MAX).collect()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_others_need_is_named_first() {
        let said = "wanted etcd\nsaid etcd no space left on device\nwanted kube-apiserver\n\
                    said kube-apiserver connection refused\n";
        let found = fault("one-control-plane", said).unwrap();
        assert_eq!(found.cause(), "etcd does not run on one-control-plane");
        assert_eq!(found.said, ["no space left on device"]);
        assert!(!found.is_lasting(), "kubelet starts it again");

        let found = fault("one-control-plane", "runs etcd\nwanted etcd\n").unwrap();
        assert!(found.is_lasting() && found.cause().starts_with("kube-apiserver does not run"));

        let all = "runs etcd\nwanted etcd\nruns kube-apiserver\nwanted kube-apiserver\n";
        assert_eq!(fault("one-control-plane", all), None);
        let ending = fault("one-control-plane", "runs etcd\nsaid etcd closing\n").unwrap();
        assert!(ending.is_lasting() && ending.program == "etcd");
    }

    #[test]
    fn an_error_gets_cause_evidence_and_remedy() {
        let found = fault("one-control-plane", "said etcd closing server\n").unwrap();
        let error = Error::failed("control-plane-down", "the API server does not answer");
        let error = found.explain(error.because("connection refused"), "one");
        insta::assert_snapshot!(error.causes.join("\n"), @r"
        etcd does not run on one-control-plane: /etc/kubernetes/manifests/etcd.yaml is gone, so kubelet does not start it
        connection refused
        etcd said: closing server
        ");
        insta::assert_snapshot!(error.hints.join("\n"), @r"
        write it anew: podman exec one-control-plane kubeadm init phase etcd local --config /kind/kubeadm.conf
        everything that it said: pipe logs -c one
        to give it up: pipe teardown one
        ");
    }
}
