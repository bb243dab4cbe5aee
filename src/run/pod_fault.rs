//! Why a component's pods do not get ready, from what scheduler, kubelet and provisioner say of them:
//! each sentence has a remedy of its own.

use crate::Error;

/// A cause that is known by its words.
struct Sign {
    /// All of these are in what was said, in small letters.
    words: &'static [&'static str],
    cause: &'static str,
    remedies: &'static [&'static str],
}

/// What no further start changes, and after how many of them that is certain.
const POINTLESS: [(&str, u32); 2] = [("exec format error", 2), ("oomkilled", 3)];

const LOGS: &str =
    "read what it said last: pipe logs -c CLUSTER NAME, and the evidence of this run";
const SELECTOR: &str = "`pipe kubectl -- get nodes --show-labels` shows what nodes have; labels of nodes are in clusters/CLUSTER.yaml";

/// The first that fits counts: what is more special comes first.
const SIGNS: &[Sign] = &[
    Sign {
        words: &["storageclass", "not found"],
        cause: "its volume claim names a storage class that the cluster does not have",
        remedies: &["name one of those that it has: pipe kubectl -- get storageclasses"],
    },
    Sign {
        words: &["exec format error"],
        cause: "its image is for another CPU than the node's",
        remedies: &[
            "build it for this machine: podman build without --platform, or with --arch ARCH; then `pipe images load` it",
            "unset DOCKER_DEFAULT_PLATFORM if it is set: it makes engines pull and build for the other one",
        ],
    },
    Sign {
        words: &["oomkilled"],
        cause: "its program took more memory than its limit, and the kernel ended it",
        remedies: &["raise resources.limits.memory in the values of NAME in the profile"],
    },
    Sign {
        words: &["createcontainerconfigerror"],
        cause: "it names a Secret or ConfigMap that is not there",
        remedies: &["make it in the same namespace, or correct the name in the values of NAME"],
    },
    Sign {
        words: &["invalidimagename"],
        cause: "the name of its image is none",
        remedies: &["correct the image in the values of NAME in the profile"],
    },
    Sign {
        words: &["errimageneverpull"],
        cause: "the node lacks its image and may not pull it (imagePullPolicy: Never)",
        remedies: &["an image of your own: pipe images load -c CLUSTER IMAGE"],
    },
    Sign { words: &["imagepullbackoff"], cause: PULL, remedies: PULL_REMEDIES },
    Sign { words: &["errimagepull"], cause: PULL, remedies: PULL_REMEDIES },
    Sign {
        words: &["insufficient"],
        cause: "no node has as much left as it requests",
        remedies: &["lower resources.requests in the values of NAME in the profile, or add a node"],
    },
    Sign {
        words: &["untolerated taint", "disk-pressure"],
        cause: "the nodes are short of disk, and take no pods",
        remedies: &[super::diagnosis::DISK],
    },
    Sign {
        words: &["untolerated taint", "not-ready"],
        cause: "the nodes are not Ready, and take no pods",
        remedies: &["`pipe up CLUSTER` brings nodes back, and says what keeps one"],
    },
    Sign {
        words: &["untolerated taint"],
        cause: "every node that it could run on has a taint that it does not tolerate",
        remedies: &[
            "add tolerations to the values of NAME in the profile, or take the taint from the node in clusters/CLUSTER.yaml",
        ],
    },
    Sign {
        words: &["didn't match pod's node affinity/selector"],
        cause: "no node has the labels that it asks for",
        remedies: &["change nodeSelector in the values of NAME in the profile", SELECTOR],
    },
    Sign {
        words: &["failedmount"],
        cause: "a volume of its cannot be mounted",
        remedies: &["the event says which; make what it names, or correct the values of NAME"],
    },
    Sign { words: &["crashloopbackoff"], cause: CRASH_LOOP, remedies: CRASH_LOOP_REMEDIES },
    // Between two starts a pod's state is for a while that of its last end, and only an event says more.
    Sign {
        words: &["back-off restarting failed container"],
        cause: CRASH_LOOP,
        remedies: CRASH_LOOP_REMEDIES,
    },
];

const CRASH_LOOP: &str = "its program ends as soon as it starts, again and again";
const CRASH_LOOP_REMEDIES: &[&str] = &[LOGS, "correct the values of NAME in the profile"];

const PULL: &str = "a node cannot get its image";
const PULL_REMEDIES: &[&str] = &[
    "an image of your own: pipe images load -c CLUSTER IMAGE",
    "one of a registry: check name and tag in the values of NAME, then pipe images add -c CLUSTER IMAGE",
];

/// That a pod will not get ready however long it is waited for; `said` is what is known of it, with its
/// last words, `starts` how often it was started anew.
pub(super) fn hopeless(said: &str, starts: u32) -> Option<String> {
    let small = said.to_lowercase();
    let fits = |(word, least): &&(&str, u32)| starts >= *least && small.contains(word);
    POINTLESS.iter().find(fits)?;
    Some("it is started again and again, and ends of the same each time".to_owned())
}

/// The error of a component that did not get ready, with the first known cause in what was said of
/// its pods; as it is where none is known.
pub(super) fn explained(error: Error, said: &str, cluster: &str, component: &str) -> Error {
    let small = said.to_lowercase();
    let fits = |sign: &&Sign| sign.words.iter().all(|word| small.contains(word));
    let mut error = error;
    let Some(sign) = SIGNS.iter().find(fits) else { return error.because(said) };
    error.causes.insert(0, sign.cause.to_owned());
    let fill = |remedy: &&str| {
        let remedy = remedy.replace("CLUSTER", cluster).replace("NAME", component);
        remedy.replace("ARCH", crate::spec::Arch::host().map_or("amd64", |arch| arch.as_str()))
    };
    sign.remedies.iter().map(fill).fold(error.because(said), Error::hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(said: &str) -> Error {
        let error = Error::timed_out("component-not-ready", "component app did not become ready");
        explained(error.because("last seen: 0 of 1 ready"), said, "dev", "app")
    }

    #[test]
    fn a_known_sentence_becomes_the_first_cause() {
        for (said, cause) in [
            (
                "Warning ProvisioningFailed: storageclass.storage.k8s.io \"fast\" not found",
                "its volume claim names",
            ),
            ("StartError: … exec: \"/app\": exec format error", "its image is for another CPU"),
            (
                "CrashLoopBackOff: … (last: OOMKilled, exit code 137)",
                "its program took more memory",
            ),
            ("CrashLoopBackOff: back-off 10s (last: Error, exit code 1)", "its program ends"),
            (
                "Running, not ready (1 restarts): Error: exit code 3; last events: Warning BackOff: \
                 Back-off restarting failed container app in pod trouble-0",
                "its program ends",
            ),
            ("ImagePullBackOff: Back-off pulling image \"x\"", "a node cannot get"),
            ("0/2 nodes are available: 2 Insufficient memory.", "no node has as much left"),
            (
                "0/1 nodes are available: 1 node(s) had untolerated taint(s).",
                "every node that it could",
            ),
            (
                "untolerated taint {node.kubernetes.io/disk-pressure: }",
                "the nodes are short of disk",
            ),
            ("1 node(s) didn't match Pod's node affinity/selector.", "no node has the labels"),
        ] {
            let error = of(said);
            assert!(error.causes[0].starts_with(cause), "{said}: {error}");
            assert!(error.causes.contains(&said.to_owned()) && !error.hints.is_empty(), "{error}");
        }
        assert_eq!(of("something new").causes, ["last seen: 0 of 1 ready", "something new"]);
    }

    #[test]
    fn what_no_start_will_change_is_not_waited_for() {
        let memory = "CrashLoopBackOff: back-off 20s (last exit code 137: OOMKilled)";
        assert_eq!(hopeless(memory, 2), None, "a start may take more than what follows");
        assert!(hopeless(memory, 3).is_some());
        let format = "container app said last: exec /app: exec format error";
        assert_eq!(hopeless(format, 1), None);
        assert!(hopeless(format, 2).is_some());
        assert_eq!(hopeless("CrashLoopBackOff: back-off 20s (last exit code 1)", 9), None);
    }

    #[test]
    fn remedies_name_cluster_and_component() {
        let hints = of("ErrImagePull").hints.join("\n");
        assert!(hints.contains("-c dev IMAGE") && hints.contains("values of app"), "{hints}");
    }
}
