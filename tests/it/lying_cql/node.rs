//! What a client asks of every node before it does anything.

use super::frame::{Answer, Column, Type};

/// The last is asked of a node about itself alone.
const NODE: [Column; 6] = [
    ("host_id", Type::Uuid),
    ("rpc_address", Type::Inet),
    ("data_center", Type::Text),
    ("rack", Type::Text),
    ("tokens", Type::SetOfText),
    ("cluster_name", Type::Text),
];

/// The answer of a node that is alone; `None` if something else is asked for.
pub fn answer(statement: &str, host_id: &[u8]) -> Option<Answer> {
    let text = |text: &str| text.as_bytes().to_vec();
    if statement.starts_with("SELECT host_id, rpc_address") {
        if statement.contains("system.peers") {
            return Some(Answer::rows(&NODE[..5], &[]));
        }
        // An address that leads nowhere from here, as a pod's would.
        let address = vec![192, 0, 2, 1];
        let one_token = [1_i32.to_be_bytes().to_vec(), 1_i32.to_be_bytes().to_vec(), text("0")];
        let (host, tokens) = (host_id.to_vec(), one_token.concat());
        let row = vec![host, address, text("dc1"), text("r1"), tokens, text("scylladb")];
        return Some(Answer::rows(&NODE, &[row]));
    }
    if statement.starts_with("SELECT schema_version") {
        return Some(Answer::rows(&[("schema_version", Type::Uuid)], &[vec![vec![7; 16]]]));
    }
    None
}
