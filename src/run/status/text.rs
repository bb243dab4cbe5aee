//! A cluster's status, for people.

use std::fmt::Write as _;

use super::{ComponentLine, Status};
use crate::report::Table;

impl Status {
    /// For people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let policy = if self.network_policy { "enforced" } else { "not enforced" };
        let _ = writeln!(text, "cluster {}: {}", self.cluster, self.state);
        let _ = writeln!(text, "  provider   {} on {}", self.provider, self.engine);
        let _ = writeln!(text, "  context    {}", self.context);
        let fault = self.api_fault.as_ref().map(|why| format!(", silent: {why}"));
        let fault = fault.unwrap_or_default();
        let _ = writeln!(text, "  api        {}{fault}", self.api.as_deref().unwrap_or("-"));
        let network = self.pod_network.as_str();
        let _ = writeln!(text, "  pods       {network} network, network policies {policy}");
        if let Some(cache) = &self.cache {
            let _ = writeln!(text, "  images     {cache}");
        }
        let _ = writeln!(text, "  node image {}{}", self.node_image.name, self.node_image.origin());
        text.push('\n');
        let heading = [
            "NODE",
            "CONTAINER",
            "STATE",
            "FIDELITY",
            "ROLE",
            "ZONE",
            "ARCH",
            "ACCELERATOR",
            "ADDRESS",
        ];
        let mut nodes = Table::new(heading);
        for node in &self.nodes {
            let dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
            nodes.row([
                node.name.clone(),
                node.host.clone(),
                node.state.to_owned(),
                node.fidelity.clone(),
                dash(&node.role),
                dash(&node.zone),
                dash(&node.arch),
                dash(&node.accelerator),
                dash(&node.address),
            ]);
        }
        let _ = writeln!(text, "{nodes}");
        let mut components =
            Table::new(["COMPONENT", "NAMESPACE", "STATE", "IMAGE", "ON THIS HOST"]);
        for component in &self.components {
            let images: Vec<String> =
                component.images.iter().map(|i| format!("{}{}", i.name, i.origin())).collect();
            let endpoints: Vec<String> =
                component.endpoints.iter().map(|e| format!("{} {}", e.name, e.address)).collect();
            components.row([
                component.name.clone(),
                component.namespace.clone(),
                component.state.clone(),
                images.join(", "),
                endpoints.join(", "),
            ]);
        }
        let _ = write!(text, "{components}");
        let mut gap = "\n";
        for ComponentLine { name, fault, skipped, .. } in &self.components {
            if let Some(fault) = fault {
                let cluster = &self.cluster;
                let _ = writeln!(text, "{gap}{name}: {fault}: `pipe up {cluster}` puts it back");
                gap = "";
            }
            if let Some(why) = skipped {
                let _ = writeln!(text, "{gap}{name} is NOT ready, it was skipped: {why}");
                gap = "";
            }
        }
        text
    }
}
