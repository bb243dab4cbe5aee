//! The programs of FoundationDB's image, of an image or a folder that a test makes: the fake database
//! behind a socket, with its table in a file, and who talks to it. They take exactly what the chart and
//! our scripts give the real ones, and are told apart by name.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

#[allow(dead_code, reason = "lies are for the tests without a pod")]
#[path = "foundationdb.rs"]
mod fake;
#[path = "foundationdb_backup.rs"]
mod backup;

use fake::{Database, Lie};

/// Between the words of a command line on the socket.
const SEPARATOR: char = '\u{1f}';

fn main() {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    let arguments: Vec<String> = arguments.collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let code = match program.rsplit('/').next() {
        Some("fdbserver") => server(&words),
        Some("fdbcli") => cli(&words),
        Some("backup_agent") => backup::agent(&words),
        Some("fdbbackup") => backup::fdbbackup(&words),
        Some("fdbrestore") => backup::fdbrestore(&words),
        Some("df") => full_disk(),
        other => panic!("nothing is called {other:?} here"),
    };
    std::process::exit(code);
}

/// The coordinator of the cluster file that the environment names.
fn coordinator() -> String {
    let file = std::env::var("FDB_CLUSTER_FILE").expect("FDB_CLUSTER_FILE");
    let text = std::fs::read_to_string(&file).expect("a cluster file");
    let (name, address) = text.trim().split_once('@').expect("NAME:ID@ADDRESS");
    assert_eq!(name, "pipe:pipe");
    address.to_owned()
}

/// What the server answers on both streams.
fn ask(words: &[&str]) -> (String, String) {
    let mut server = TcpStream::connect(coordinator()).expect("the coordinator");
    server.write_all(words.join(&SEPARATOR.to_string()).as_bytes()).expect("it listens");
    server.shutdown(Shutdown::Write).expect("it listens");
    let mut answer = String::new();
    server.read_to_string(&mut answer).expect("it answers");
    let (out, errors) = answer.split_once(SEPARATOR).expect("both streams");
    (out.to_owned(), errors.to_owned())
}

fn server(arguments: &[&str]) -> i32 {
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
            let words: Vec<&str> = command.iter().map(String::as_str).collect();
            let (out, errors) = match words.split_first() {
                Some((&"work", words)) => database.work(words),
                _ => database.fdbcli(&command),
            };
            save(&database, &file);
            let mut client = client;
            let _client_gone = write!(client, "{out}{SEPARATOR}{errors}");
        }
    }
    0
}

fn asked(mut client: &TcpStream) -> Option<Vec<String>> {
    client.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut text = String::new();
    client.read_to_string(&mut text).ok()?;
    (!text.is_empty()).then(|| text.split(SEPARATOR).map(str::to_owned).collect())
}

fn cli(arguments: &[&str]) -> i32 {
    let (out, errors) = ask(&[&["fdbcli"], arguments].concat());
    print!("{out}");
    eprint!("{errors}");
    0
}

/// What `df -Pk` says of a disk that has nearly nothing left.
fn full_disk() -> i32 {
    println!("Filesystem 1024-blocks Used Available Capacity Mounted on");
    println!("/dev/disk 100000 95904 4096 96% /tmp");
    0
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
    database.pairs = fake::pairs(lines);
}

fn save(database: &Database, file: &str) {
    if !database.configured {
        return;
    }
    let table = database.table();
    let (_version, pairs) = table.split_once('\n').expect("a version");
    let text = format!("{} {}\n{pairs}", database.version, database.generation);
    std::fs::write(format!("{file}.new"), text).expect("the table is written");
    std::fs::rename(format!("{file}.new"), file).expect("the table is written");
}
