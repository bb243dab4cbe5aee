//! What the tests of a whole cluster ask of its services: each proven, reachable by the settings that
//! `env` hands out, and with its data through restarts.

use std::time::Duration;

use rusty_s3::actions::{DeleteBucket, DeleteObject, GetObject, HeadBucket, PutObject};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use serde_json::Value;

use super::pipe::Home;

pub const SERVICES: [&str; 3] = ["nats", "clickhouse", "minio"];

/// What is not to be had everywhere: proven as the others are where the engine has it, else left out, and
/// never called ready.
const OTHERS: [(&str, &str); 2] = [
    ("foundationdb", "docker.io/foundationdb/foundationdb"),
    ("scylladb", "docker.io/scylladb/scylla"),
];

/// Those that a cluster must say it goes without.
fn left_out() -> Vec<&'static str> {
    let images = super::host::podman(["images", "--format", "{{.Repository}}"]);
    // A licence that nobody accepted leaves it out as well.
    let is = |name: &str, image: &str| name == "scylladb" || !images.lines().any(|it| it == image);
    OTHERS.iter().filter(|(name, image)| is(name, image)).map(|(name, _)| *name).collect()
}

/// The end of an `up` that made everything.
pub fn are_proven(up: &Value) {
    for service in left_out() {
        let component = named(&up["components"], "name", service);
        assert!(component["skipped"].as_str().is_some_and(|why| !why.is_empty()), "{component}");
        let reports = up["smoke"].as_array().expect("reports");
        assert!(!reports.iter().any(|report| report["component"] == service), "{reports:?}");
    }
    for service in SERVICES {
        let report = named(&up["smoke"], "component", service);
        assert_eq!(report["passed"], true, "{report}");
        let component = named(&up["components"], "name", service);
        assert_eq!(report["stand_in"], component["stand_in"], "{component}");
        for part in ["install", "serve", "smoke"] {
            let seconds = component["seconds"][part].as_f64();
            assert!(seconds.is_some_and(|seconds| seconds > 0.0), "{part}: {component}");
        }
        println!("        {service}: {}", component["seconds"]);
    }
    let minio = named(&up["components"], "name", "minio");
    assert!(minio["seconds"]["buckets"].is_f64(), "{minio}");
    assert!(minio["stand_in"].is_null(), "{minio}");
}

/// `status` sees them ready, and calls a stand-in what `up` called one.
pub fn are_ready(status: &Value, up: &Value) {
    for service in left_out() {
        let line = named(&status["components"], "name", service);
        assert_eq!(
            (&line["state"], &line["endpoints"]),
            (&"skipped".into(), &Value::Array(vec![]))
        );
        assert_eq!(line["skipped"], named(&up["components"], "name", service)["skipped"], "{line}");
    }
    for service in SERVICES {
        let line = named(&status["components"], "name", service);
        assert_eq!(line["state"], "ready", "{line}");
        let component = named(&up["components"], "name", service);
        assert_eq!(line["images"][0]["stand_in"], component["stand_in"], "{line}");
    }
}

/// `smoke --restart`: every pod was deleted, and nothing was lost.
pub fn survived(reports: &Value) {
    assert_eq!(reports["passed"], true, "{reports}");
    for service in left_out() {
        let gone = named(&reports["skipped"], "component", service);
        assert!(gone["skipped"].is_string(), "{gone}");
    }
    for service in SERVICES {
        let report = named(&reports["reports"], "component", service);
        let again = named(&report["checks"], "name", "read-again");
        assert_eq!(again["passed"], true, "{report}");
    }
}

/// `smoke --in-cluster`: the same checks by the names of services, and nothing left of them.
pub fn are_proven_from_a_pod(home: &Home) {
    let file = home.path("smoke.xml");
    let (_, seen) = home.stream(&format!("smoke one --in-cluster --junit {}", file.display()));
    assert_eq!(seen["passed"], true, "{seen}");
    let junit = std::fs::read_to_string(file).expect("a file");
    for service in SERVICES {
        let report = named(&seen["reports"], "component", service);
        assert!(report["checks"].as_array().is_some_and(|checks| checks.len() > 3), "{report}");
        assert!(junit.contains(&format!("<testsuite name=\"{service}\"")), "{junit}");
    }
    for service in left_out() {
        assert!(junit.contains(&format!("<testsuite name=\"{service}\"")), "{junit}");
    }
    let left = "kubectl -c one -- get jobs,secrets -n kube-system -l pipe.dev/probe -o name";
    assert_eq!(home.ok(left), "");
}

/// Somebody changes what is in the Secrets, and restarts the pods: each check says what it saw, and why.
/// `up` puts them back.
pub fn wrong_credentials_are_named(home: &Home) {
    let before = home.json("status one");
    let components = before["components"].as_array().expect("components").iter();
    let there = components.filter(|line| line["state"] == "ready");
    let there: Vec<(&str, &str)> = there
        .filter_map(|line| Some((line["name"].as_str()?, line["namespace"].as_str()?)))
        .filter(|(name, _)| SERVICES.contains(name))
        .collect();
    assert!(!there.is_empty(), "{before}");
    for (name, namespace) in &there {
        let key = if *name == "minio" { "secretKey" } else { "password" };
        let patch = format!(r#"{{"stringData":{{"{key}":"somebody-elses"}}}}"#);
        let mut command = home.command(&format!(
            "kubectl -c one -- patch secret {name}-credentials -n {namespace} -p"
        ));
        assert!(command.arg(patch).output().expect("pipe runs").status.success());
        home.ok(&format!("kubectl -c one -- delete pod {name}-0 -n {namespace}"));
    }
    for (name, namespace) in &there {
        home.ok(&format!("kubectl -c one -- wait pod/{name}-0 -n {namespace} --for=condition=Ready --timeout=120s"));
    }
    let seen = super::bad_days::failed(&mut home.command("smoke one"), 5);
    for (name, _) in &there {
        let report = named(&seen["data"]["reports"], "component", name);
        assert_eq!(report["passed"], false, "{report}");
        let said = report["evidence"].as_str().unwrap_or_default();
        assert!(said.contains("last events: "), "{report}");
        assert!(
            said.contains("somebody changed it") && !said.contains("somebody-elses"),
            "{report}"
        );
    }
    let status = home.json("status one");
    for (name, namespace) in &there {
        let line = named(&status["components"], "name", name);
        assert_eq!(line["state"], "not ready", "{line}");
        let fault = line["fault"].as_str().unwrap_or_default();
        let secret = format!("Secret {namespace}/{name}-credentials holds another ");
        assert!(fault.starts_with(&secret), "{line}");
    }
    let (_, up) = home.stream("up one");
    let steps = up["steps"].as_array().into_iter().flatten();
    let mut done: Vec<&str> = steps.filter_map(|step| step[0].as_str()).collect();
    // Who is refused cannot see whether buckets are there.
    done.retain(|step| !step.starts_with("buckets/"));
    assert_eq!(done.len(), there.len() * 4, "{done:?}");
    for (name, _) in &there {
        for step in ["prepare", "restart", "serve", "smoke"] {
            assert!(done.contains(&&*format!("{step}/{name}")), "{step} {name}: {done:?}");
        }
    }
    assert_eq!(home.json("plan one")["steps"], Value::Array(vec![]));
}

/// Buckets that the profile names are there; one that goes is made again, and nothing else is done.
pub fn buckets_are_made_again(home: &Home) {
    let s3 = S3::new(home);
    s3.put("artifacts", "kept", "through everything");
    assert_eq!((s3.has("artifacts"), s3.has("backups")), (true, true));
    s3.remove("backups");
    let plan = home.json("plan one");
    let steps = plan["steps"].as_array().expect("steps");
    let ids: Vec<&str> = steps.iter().filter_map(|step| step["id"].as_str()).collect();
    assert_eq!(ids, ["buckets/minio", "smoke/minio"]);
    home.ok("up one");
    assert!(s3.has("backups"));
    assert_eq!(home.json("plan one")["steps"], Value::Array(vec![]));

    // As any program with the settings would.
    let settings = home.json("env one");
    let text = |name: &str| settings[name].as_str().expect(name).to_owned();
    let answer = block_on_value(async {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let request = client.post(text("CLICKHOUSE_URL")).body("SELECT 40 + 2");
        let login = (text("CLICKHOUSE_USER"), text("CLICKHOUSE_PASSWORD"));
        let request = request.basic_auth(login.0, Some(login.1));
        request.send().await.expect("an answer").text().await.expect("text")
    });
    assert_eq!(answer, "42\n");
}

/// After a stop of the node.
pub fn kept_their_data(home: &Home) {
    assert_eq!(S3::new(home).get("artifacts", "kept"), "through everything");
}

/// All five, or nothing: who cannot have them all hears at once which, before anything is done.
pub fn a_laptop_names_what_it_cannot_get(home: &Home) {
    let images = super::host::podman(["images", "--format", "{{.Repository}}"]);
    let gone: Vec<&str> = OTHERS
        .iter()
        .filter(|(_, image)| !images.lines().any(|it| it == *image))
        .map(|(name, _)| *name)
        .collect();
    if gone.is_empty() {
        return;
    }
    let before = home.ok("status one --json");
    let mut command = home.command("up one --profile laptop --accept scylladb-source-available");
    let refused = super::bad_days::failed(&mut command, 1);
    let said = refused["error"].to_string();
    for (name, image) in OTHERS {
        assert_eq!(said.contains(image), gone.contains(&name), "{refused}");
    }
    assert!(!said.contains("clickhouse"), "its stand-in was built: {refused}");
    assert_eq!(home.ok("status one --json"), before);
}

/// The engine may have only a stand-in. A profile that says nothing of stand-ins gets the product
/// itself where a registry gives it, and else an error that names the way out.
pub fn a_strict_profile_takes_no_stand_in(home: &Home) {
    home.write(
        "profiles/strict.yaml",
        "apiVersion: pipe.dev/v1alpha1\nkind: Profile\nname: strict\ncomponents:\n\
         - {name: clickhouse, namespace: data}\n",
    );
    let output = home.run("up one --profile strict");
    if output.status.success() {
        let status = home.json("status one");
        let line = named(&status["components"], "name", "clickhouse");
        assert!(line["images"][0]["stand_in"].is_null(), "{line}");
        return;
    }
    let text = super::host::text(&output);
    // 4 where no registry is reached, 1 where one says no.
    assert!(matches!(output.status.code(), Some(1 | 4)), "{text}");
    assert!(text.contains("clickhouse-server:26.8.36.3 cannot be had"), "{text}");
    assert!(text.contains("standIns: allow"), "no remedy in {text}");
}

/// The entry of a list with a name.
fn named(list: &Value, key: &str, name: &str) -> Value {
    let mut entries = list.as_array().into_iter().flatten();
    entries.find(|entry| entry[key] == name).cloned().unwrap_or_else(|| panic!("{name}: {list:#}"))
}

pub fn block_on_value<T>(future: impl Future<Output = T>) -> T {
    ::pipe::world::http::install_crypto();
    tokio::runtime::Runtime::new().expect("a runtime").block_on(future)
}

/// The store, reached as any program with the settings would.
pub struct S3 {
    endpoint: String,
    credentials: Credentials,
}

impl S3 {
    pub fn new(home: &Home) -> S3 {
        let settings = home.json("env one");
        let text = |name: &str| settings[name].as_str().expect(name).to_owned();
        assert_eq!(text("AWS_REGION"), "us-east-1");
        let credentials =
            Credentials::new(text("AWS_ACCESS_KEY_ID"), text("AWS_SECRET_ACCESS_KEY"));
        S3 { endpoint: text("AWS_ENDPOINT_URL"), credentials }
    }

    fn bucket(&self, name: &str) -> Bucket {
        let endpoint = self.endpoint.parse().expect("an address");
        let (name, region) = (name.to_owned(), "us-east-1".to_owned());
        Bucket::new(endpoint, UrlStyle::Path, name, region).expect("a bucket")
    }

    fn ask(&self, method: reqwest::Method, url: reqwest::Url, body: &str) -> (u16, String) {
        block_on_value(async {
            let client = reqwest::Client::builder().no_proxy().build().expect("a client");
            let request = client.request(method, url).body(body.to_owned());
            let reply = request.send().await.expect("an answer");
            (reply.status().as_u16(), reply.text().await.expect("text"))
        })
    }

    fn has(&self, bucket: &str) -> bool {
        let bucket = self.bucket(bucket);
        let url = HeadBucket::new(&bucket, Some(&self.credentials)).sign(MINUTE);
        match self.ask(reqwest::Method::HEAD, url, "") {
            (200, _) => true,
            (404, _) => false,
            other => panic!("{other:?}"),
        }
    }

    pub fn remove(&self, bucket: &str) {
        let bucket = self.bucket(bucket);
        let url = DeleteBucket::new(&bucket, &self.credentials).sign(MINUTE);
        assert_eq!(self.ask(reqwest::Method::DELETE, url, "").0, 204);
    }

    pub fn put(&self, bucket: &str, key: &str, content: &str) {
        let bucket = self.bucket(bucket);
        let url = PutObject::new(&bucket, Some(&self.credentials), key).sign(MINUTE);
        assert_eq!(self.ask(reqwest::Method::PUT, url, content).0, 200);
    }

    pub fn delete(&self, bucket: &str, key: &str) {
        let bucket = self.bucket(bucket);
        let url = DeleteObject::new(&bucket, Some(&self.credentials), key).sign(MINUTE);
        assert_eq!(self.ask(reqwest::Method::DELETE, url, "").0, 204);
    }

    pub fn get(&self, bucket: &str, key: &str) -> String {
        let bucket = self.bucket(bucket);
        let url = GetObject::new(&bucket, Some(&self.credentials), key).sign(MINUTE);
        let (status, content) = self.ask(reqwest::Method::GET, url, "");
        assert_eq!(status, 200, "{content}");
        content
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// Every image of the quick start can be locked as it runs, from the engine's real store where no
/// registry is reached; what was written holds, and stays to the byte.
pub fn are_locked(home: &Home) {
    let locked = home.json("images lock --profile quickstart");
    let images = locked["images"].as_object().expect("images");
    assert_eq!(images.len(), 3 + OTHERS.len() - left_out().len(), "{locked}");
    for (name, image) in images {
        assert_ne!(image["evidence"]["class"], "none", "{name}: {image}");
        let held = image["anchor"]["digest"].as_str().or(image["anchor"]["config"].as_str());
        let held = held.unwrap_or_default();
        assert!(held.starts_with("sha256:") && held.len() == 71, "{name}: {image}");
    }
    let again = home.json("images lock --profile quickstart");
    assert_eq!((&again["changed"], &again["images"]), (&Value::Bool(false), &locked["images"]));
    home.ok("images lock --profile quickstart --check");
}
