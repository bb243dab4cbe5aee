//! A piece again and again up to the largest size that is read: whatever grows faster than the
//! file shows here.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::files::load_bytes;
use super::{PIECES, check};

/// Bytes of the largest file in `cargo test`; the long run goes up to what is read at all.
const SHORT: usize = 64 * 1024;

const HEAD: &str = "apiVersion: pipe.dev/v1alpha1\nkind: KIND\nname: NAME\n";

/// Starts, pieces and what stands between them. `#` becomes a number that differs each time.
fn parts() -> impl Strategy<Value = (String, String, String)> {
    let starts = [
        "",
        "nodes:\n",
        "nodes: [",
        "nodes: [{name: a, labels: {",
        "nodes: [{name: a, taints: [",
        "components: [",
        "components: [{name: nats, namespace: x, values: {",
        "images: [",
        "needs: [",
        "ports: {",
        "credentials: {secret: x, keys: {",
        "values: {",
        "sizes: {",
        "ready: [",
        "env: {",
        "a: &a ",
        "a: &a 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'\nb: [",
        "a: |\n  ",
        "'",
        "\"",
        "# ",
    ];
    let pieces = [
        "{name: n#}",
        "n#",
        "n#: x",
        "'n#'",
        "n#=x:NoSchedule",
        "docker.io/x/y:t#",
        "X#: '{host}'",
        "c#: nats-client",
        "{statefulSet: a#, within: 3m}",
        "- {name: n#}\n",
        "? ",
        "a: ",
        "[",
        "{",
        "*a",
        "&b# x",
        "k#: {value: x}",
        "{name: c#, namespace: x}",
        "\n# x",
        "x",
        "\u{1f600}",
        "\\x41",
        "\\\n",
        " \n",
        "{a: ",
        "[*a, *a]",
        "{nodePort:c#}",
        "{port:c#}",
    ];
    let piece = prop_oneof![
        4 => select(pieces.to_vec()).prop_map(str::to_owned),
        2 => vec(select(PIECES), 1..3).prop_map(|pieces| pieces.concat()),
    ];
    (select(starts.to_vec()).prop_map(str::to_owned), piece, select(vec![",", "", "\n", " ", ": "]))
        .prop_map(|(start, piece, between)| (start, piece, between.to_owned()))
}

#[test]
fn a_piece_repeated() {
    let largest = match std::env::var("PIPE_FUZZ_SECONDS") {
        Ok(_) => pipe::spec::yaml::SIZE_MAX,
        Err(_) => SHORT,
    };
    let cases = (parts(), select(vec![largest, largest / 16, 1000]));
    check("files-repeated", 60, &cases, |((start, piece, between), size)| {
        let mut body = start;
        let mut number = 0;
        while body.len() < size.saturating_sub(100) {
            body += &piece.replace('#', &number.to_string());
            body += &between;
            number += 1;
        }
        let text =
            |kind: &str, name: &str| HEAD.replace("KIND", kind).replace("NAME", name) + &body;
        load_bytes(
            text("Cluster", "dev").as_bytes(),
            text("Profile", "laptop").as_bytes(),
            text("Component", "nats").as_bytes(),
        );
    });
}
