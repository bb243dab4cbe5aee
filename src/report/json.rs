//! JSON lines, one for each event, each with `type` and `time`.

use serde::Serialize;

use super::View;
use super::clock::Now;
use super::event::Event;
use crate::{Error, Result};

/// Version of the JSON that `pipe` prints; grows when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// Events as they are.
#[derive(Clone, Copy, Debug)]
pub struct Json;

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    #[serde(flatten)]
    event: &'a Event,
}

impl View for Json {
    fn event(&mut self, now: &Now, event: &Event) -> Vec<String> {
        let line = Line { time: now.rfc3339(), event };
        // An event holds only strings, numbers and lists, which always serialise.
        serde_json::to_string(&line).into_iter().collect()
    }
}

#[derive(Serialize)]
struct ResultLine<'a, T: Serialize> {
    r#type: &'static str,
    schema: u32,
    time: String,
    operation: &'a str,
    ok: bool,
    exit_code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Error>,
}

/// The last line of a command: `{"type":"result","schema":1,…}`.
pub fn result<T: Serialize>(
    now: &Now,
    operation: &str,
    data: Option<&T>,
    error: Option<&Error>,
) -> Result<String> {
    let line = ResultLine {
        r#type: "result",
        schema: SCHEMA,
        time: now.rfc3339(),
        operation,
        ok: error.is_none(),
        exit_code: error.map_or(0, |error| error.kind.exit_code()),
        data,
        error,
    };
    serde_json::to_string(&line).map_err(|e| {
        Error::bug(format!("the result of {operation} cannot be written as JSON")).because(e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::event::tests::script;

    #[test]
    fn events() {
        let mut lines = Vec::new();
        for (at, event) in script() {
            lines.extend(Json.event(&Now::scripted(at), &event));
        }
        insta::assert_snapshot!(lines.join("\n"), @r#"
        {"time":"2026-11-21T09:12:00.000Z","type":"plan-started","operation":"up","cluster":"dev","steps":[{"id":"network","title":"make the network"},{"id":"volume/core","title":"make the volume of core"},{"id":"image/nats","title":"import the image nats-2.15.2"},{"id":"boot/core","title":"boot node core"},{"id":"join/edge","title":"join node edge"},{"id":"install/nats","title":"install nats"}]}
        {"time":"2026-11-21T09:12:00.000Z","type":"step-started","id":"network"}
        {"time":"2026-11-21T09:12:00.100Z","type":"step-finished","id":"network","seconds":0.1,"outcome":"done"}
        {"time":"2026-11-21T09:12:00.100Z","type":"step-started","id":"volume/core"}
        {"time":"2026-11-21T09:12:00.300Z","type":"step-finished","id":"volume/core","seconds":0.2,"outcome":"done"}
        {"time":"2026-11-21T09:12:00.300Z","type":"step-started","id":"boot/core"}
        {"time":"2026-11-21T09:12:00.300Z","type":"step-started","id":"image/nats"}
        {"time":"2026-11-21T09:12:01.000Z","type":"step-progress","id":"image/nats","message":"reading","bytes":[1500000,6000000]}
        {"time":"2026-11-21T09:12:01.500Z","type":"note","level":"info","message":"port 9000 is taken, using 40001"}
        {"time":"2026-11-21T09:12:02.000Z","type":"step-progress","id":"boot/core","message":"etcd is starting"}
        {"time":"2026-11-21T09:12:02.500Z","type":"step-progress","id":"boot/core","message":"the API server is starting"}
        {"time":"2026-11-21T09:12:03.000Z","type":"step-progress","id":"image/nats","message":"reading","bytes":[4500000,6000000]}
        {"time":"2026-11-21T09:12:04.200Z","type":"step-finished","id":"image/nats","seconds":3.9,"outcome":"done"}
        {"time":"2026-11-21T09:12:12.000Z","type":"step-progress","id":"boot/core","message":"the API server is starting"}
        {"time":"2026-11-21T09:12:14.000Z","type":"step-finished","id":"boot/core","seconds":13.7,"outcome":"done"}
        {"time":"2026-11-21T09:12:14.000Z","type":"step-started","id":"join/edge"}
        {"time":"2026-11-21T09:13:15.000Z","type":"step-finished","id":"join/edge","seconds":61.0,"outcome":"failed","error":{"kind":"timed-out","code":"node-not-ready","what":"node edge never became ready","causes":["kubelet: not found\nsecond line"],"hints":["run pipe doctor"]}}
        {"time":"2026-11-21T09:13:15.000Z","type":"step-finished","id":"install/nats","seconds":0.0,"outcome":"cancelled"}
        {"time":"2026-11-21T09:13:15.000Z","type":"undo-started","reason":"node edge never became ready","steps":["boot/core","network"]}
        {"time":"2026-11-21T09:13:16.000Z","type":"undo-finished","id":"boot/core","error":null}
        {"time":"2026-11-21T09:13:16.500Z","type":"undo-finished","id":"network","error":{"kind":"failed","code":"network-busy","what":"the network is in use","causes":[],"hints":[]}}
        {"time":"2026-11-21T09:13:16.500Z","type":"note","level":"warning","message":"the network kind was left"}
        {"time":"2026-11-21T09:13:16.600Z","type":"plan-finished","done":4,"seconds":76.6,"ok":false}
        "#);
    }

    #[test]
    fn results() {
        let now = Now::scripted(1.5);
        insta::assert_snapshot!(result(&now, "up", Some(&["a"]), None).unwrap(), @r#"{"type":"result","schema":1,"time":"2026-11-21T09:12:01.500Z","operation":"up","ok":true,"exit_code":0,"data":["a"]}"#);
        let error = Error::timed_out("node-not-ready", "node dev-worker never became ready");
        insta::assert_snapshot!(result::<()>(&now, "up", None, Some(&error)).unwrap(), @r#"{"type":"result","schema":1,"time":"2026-11-21T09:12:01.500Z","operation":"up","ok":false,"exit_code":6,"error":{"kind":"timed-out","code":"node-not-ready","what":"node dev-worker never became ready","causes":[],"hints":[]}}"#);
    }
}
