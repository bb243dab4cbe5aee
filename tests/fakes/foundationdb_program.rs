//! `fdbserver` and `fdbcli` of an image that a test builds: the fake database behind a socket, with its
//! table in a file. It takes exactly what the chart gives the real ones, and is told apart by name.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

#[allow(dead_code, reason = "lies are for the tests without a pod")]
#[path = "foundationdb.rs"]
mod fake;

use fake::{Database, Lie};

/// Between the words of a command line on the socket.
const SEPARATOR: char = '\u{1f}';

fn main() {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    let arguments: Vec<String> = arguments.collect();
    match program.rsplit('/').next() {
        Some("fdbserver") => server(&arguments),
        Some("fdbcli") => cli(&arguments),
        other => panic!("nothing is called {other:?} here"),
    }
}

/// The coordinator of the cluster file that the environment names.
fn coordinator() -> String {
    let file = std::env::var("FDB_CLUSTER_FILE").expect("FDB_CLUSTER_FILE");
    let text = std::fs::read_to_string(&file).expect("a cluster file");
    let (name, address) = text.trim().split_once('@').expect("NAME:ID@ADDRESS");
    assert_eq!(name, "pipe:pipe");
    address.to_owned()
}

fn server(arguments: &[String]) {
    let options: BTreeMap<&str, &str> = arguments
        .iter()
        .map(|word| word.strip_prefix("--").and_then(|word| word.split_once('=')).expect("--x=y"))
        .collect();
    let address = options["public_address"];
    assert_eq!(address, coordinator(), "a client dials what the server says");
    assert_eq!(options["listen_address"], "public");
    assert_eq!(options["knob_disable_posix_kernel_aio"], "1");
    for size in ["memory", "cache_memory", "logsize", "maxlogssize"] {
        assert!(options[size].ends_with("MiB"), "{size}");
    }
    std::fs::write(format!("{}/trace.xml", options["logdir"]), "<Trace/>\n").expect("a log");
    let file = format!("{}/fake.table", options["datadir"]);
    let mut database = Database::new(Lie::None, options["locality_instance_id"], address);
    load(&mut database, &file);
    let listener = TcpListener::bind(address).expect("the node's own address");
    println!("fake fdbserver at {address}, generation {}", database.generation);
    for client in listener.incoming().flatten() {
        // A probe that only knocks says nothing.
        if let Some(command) = asked(&client) {
            let (out, errors) = database.fdbcli(&command);
            save(&database, &file);
            let mut client = client;
            let _client_gone = write!(client, "{out}{SEPARATOR}{errors}");
        }
    }
}

fn asked(mut client: &TcpStream) -> Option<Vec<String>> {
    client.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut text = String::new();
    client.read_to_string(&mut text).ok()?;
    (!text.is_empty()).then(|| text.split(SEPARATOR).map(str::to_owned).collect())
}

fn cli(arguments: &[String]) {
    let mut server = TcpStream::connect(coordinator()).expect("the coordinator");
    let command = ["fdbcli".to_owned()].iter().chain(arguments).cloned().collect::<Vec<_>>();
    server.write_all(command.join(&SEPARATOR.to_string()).as_bytes()).expect("it listens");
    server.shutdown(Shutdown::Write).expect("it listens");
    let mut answer = String::new();
    server.read_to_string(&mut answer).expect("it answers");
    let (out, errors) = answer.split_once(SEPARATOR).expect("both streams");
    print!("{out}");
    eprint!("{errors}");
}

/// First the numbers, then a key and its value on each line.
fn load(database: &mut Database, file: &str) {
    let Ok(text) = std::fs::read_to_string(file) else {
        database.configured = false;
        return;
    };
    let mut lines = text.lines();
    let numbers = lines.next().expect("numbers").split(' ').map(|word| word.parse().expect("one"));
    let [version, generation] = numbers.collect::<Vec<u64>>()[..] else { panic!("two numbers") };
    database.version = version;
    // Each start is a recovery.
    database.generation = generation + 1;
    let pairs = lines.filter_map(|line| line.split_once(' '));
    database.pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
}

fn save(database: &Database, file: &str) {
    if !database.configured {
        return;
    }
    let mut text = format!("{} {}\n", database.version, database.generation);
    for (key, value) in &database.pairs {
        text += &format!("{key} {value}\n");
    }
    std::fs::write(format!("{file}.new"), text).expect("the table is written");
    std::fs::rename(format!("{file}.new"), file).expect("the table is written");
}
