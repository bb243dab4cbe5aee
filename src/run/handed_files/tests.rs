use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;

use tokio::net::TcpListener;

use super::*;
use crate::spec::source::Sources;
use crate::spec::{Arch, load};
use crate::state::paths::tests::paths_in;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// FoundationDB's component, with a file that names `port`.
fn component(port: u16) -> Component {
    let folder = tempfile::tempdir().unwrap();
    let profile = "apiVersion: pipe.dev/v1alpha1\nkind: Profile\nname: fdb\ncomponents:\n\
                   - {name: foundationdb, namespace: data}\n";
    std::fs::create_dir(folder.path().join("profiles")).unwrap();
    std::fs::write(folder.path().join("profiles/fdb.yaml"), profile).unwrap();
    let sources = Sources::find(Some(folder.path()), folder.path()).unwrap();
    let spec = load(&sources, "single", Some("fdb"), Arch::Amd64).unwrap();
    let mut component = spec.profile.components.into_iter().next().unwrap();
    let text = component.definition.files.get_mut("fdb.cluster").unwrap();
    assert_eq!(text, "pipe:pipe@{node}:4500\n");
    *text = text.replace("4500", &port.to_string());
    component
}

fn unknown() -> Result<IpAddr> {
    Err(Error::failed("kube-unreachable", "cannot list the pods"))
}

#[tokio::test]
async fn a_file_is_handed_out_where_the_address_answers_and_stays_while_it_is_away() {
    let home = tempfile::tempdir().unwrap();
    let state = paths_in(home.path()).cluster(&crate::spec::ClusterName::parse("dev").unwrap());
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let component = component(port);

    let none = hand_out(&state, &component, unknown()).await.unwrap();
    assert!(none.paths.is_empty() && none.notes[0].contains("not there yet"), "{none:?}");

    let first = hand_out(&state, &component, Ok(HERE)).await.unwrap();
    assert_eq!(first.notes, Vec::<String>::new());
    let path = &first.paths["fdb.cluster"];
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(text, format!("pipe:pipe@127.0.0.1:{port}\n"));
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);

    drop(listener);
    for address in [Ok(HERE), unknown()] {
        let away = hand_out(&state, &component, address).await.unwrap();
        assert_eq!(away.paths, first.paths);
    }
}

#[tokio::test]
async fn an_address_that_this_host_does_not_reach_is_not_handed_out() {
    let home = tempfile::tempdir().unwrap();
    let state = paths_in(home.path()).cluster(&crate::spec::ClusterName::parse("dev").unwrap());
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let before = hand_out(&state, &component(port), Ok(HERE)).await.unwrap();
    // The node is another now, and nothing answers there.
    let other = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 77));
    let moved = hand_out(&state, &component(port), Ok(other)).await.unwrap();
    assert!(moved.paths.is_empty(), "{moved:?}");
    let note = &moved.notes[0];
    assert!(note.contains("in the cluster only") && note.contains("127.0.0.77:"), "{note}");
    assert!(!before.paths["fdb.cluster"].exists(), "what leads nowhere is not left behind");
}

#[test]
fn every_port_of_the_node_is_dialled() {
    let of = |text: &str, node: &str| -> Vec<String> {
        let found = addresses(text, node.parse().unwrap());
        found.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        of("a:b@10.89.0.2:4500,10.89.0.2:4501\n", "10.89.0.2"),
        ["10.89.0.2:4500", "10.89.0.2:4501"]
    );
    assert_eq!(of("a:b@[fc00::2]:4500", "fc00::2"), ["[fc00::2]:4500"]);
    assert_eq!(rendered("x@{node}:1", "fc00::2".parse().unwrap()).unwrap(), "x@[fc00::2]:1");
}
