//! How a component's server may wait for disks and sockets, by what the host allows: the component
//! file lists the ways in order, and the first that the host has is taken.

use serde::Serialize;

/// One way, and the chart values that choose it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IoWay {
    /// Events of `fs.aio-max-nr` that the server takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aio: Option<u64>,
    /// Whether it needs the kernel's io_uring.
    pub io_uring: bool,
    /// Merged over the size's values.
    pub values: serde_json::Value,
}

/// What the host allows. What is not known is taken to be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostIo {
    /// `fs.aio-max-nr`, whoever uses how much of it now: what is chosen must not change with that.
    pub aio: Option<u64>,
    /// Whether programs may use io_uring.
    pub io_uring: Option<bool>,
}

/// The first of `ways` that the host allows.
pub fn choose(ways: &[IoWay], host: HostIo) -> Option<&IoWay> {
    ways.iter().find(|way| {
        let aio = way.aio.zip(host.aio).is_none_or(|(needed, there)| needed <= there);
        aio && (!way.io_uring || host.io_uring != Some(false))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chosen(aio: Option<u64>, io_uring: Option<bool>) -> Option<serde_json::Value> {
        let way = |aio, io_uring, name| IoWay { aio, io_uring, values: json!(name) };
        let ways = [
            way(Some(6_100), false, "linux-aio"),
            way(None, true, "io_uring"),
            way(Some(1_100), false, "epoll"),
        ];
        choose(&ways, HostIo { aio, io_uring }).map(|way| way.values.clone())
    }

    #[test]
    fn the_first_that_the_host_allows() {
        assert_eq!(chosen(Some(65_536), Some(true)), Some(json!("linux-aio")));
        assert_eq!(chosen(None, None), Some(json!("linux-aio")), "nothing is known");
        assert_eq!(chosen(Some(4_096), Some(true)), Some(json!("io_uring")));
        assert_eq!(chosen(Some(4_096), None), Some(json!("io_uring")));
        assert_eq!(chosen(Some(4_096), Some(false)), Some(json!("epoll")));
        assert_eq!(chosen(Some(512), Some(false)), None);
    }
}
