//! Frames of the CQL protocol, version 4: as much of them as one small server reads and writes.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub const STARTUP: u8 = 0x01;
pub const OPTIONS: u8 = 0x05;
pub const QUERY: u8 = 0x07;
pub const PREPARE: u8 = 0x09;
pub const EXECUTE: u8 = 0x0A;
pub const REGISTER: u8 = 0x0B;
pub const AUTH_RESPONSE: u8 = 0x0F;

const ERROR: u8 = 0x00;
const READY: u8 = 0x02;
const AUTHENTICATE: u8 = 0x03;
const SUPPORTED: u8 = 0x06;
const RESULT: u8 = 0x08;
const AUTH_SUCCESS: u8 = 0x10;

pub const SYNTAX: i32 = 0x2000;
pub const BAD_CREDENTIALS: i32 = 0x0100;
pub const UNAVAILABLE: i32 = 0x1000;
pub const INVALID: i32 = 0x2200;

/// What a client sent.
pub struct Request {
    stream: [u8; 2],
    pub opcode: u8,
    body: Vec<u8>,
    at: usize,
}

impl Request {
    /// The next one; `None` at the end, and for other versions than ours.
    pub async fn read(socket: &mut TcpStream) -> Option<Request> {
        let mut header = [0; 9];
        socket.read_exact(&mut header).await.ok()?;
        let [version, _flags, first, second, opcode, length @ ..] = header;
        if version != 4 {
            return None;
        }
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        socket.read_exact(&mut body).await.ok()?;
        Some(Request { stream: [first, second], opcode, body, at: 0 })
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let taken = self.body[self.at..self.at + count].to_vec();
        self.at += count;
        taken
    }

    fn short(&mut self) -> usize {
        u16::from_be_bytes(self.take(2).try_into().unwrap()).into()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = u32::from_be_bytes(self.take(4).try_into().unwrap());
        self.take(length as usize)
    }

    pub fn long_string(&mut self) -> String {
        String::from_utf8(self.bytes()).unwrap()
    }

    /// Name and password, of an answer to the only question that is asked.
    pub fn login(&mut self) -> (String, String) {
        let token = self.long_string();
        let (name, password) = token.trim_start_matches('\0').split_once('\0').unwrap();
        (name.to_owned(), password.to_owned())
    }

    /// The statement's id, the values that are bound, and from where on rows are asked for.
    pub fn execution(&mut self) -> (String, Vec<Vec<u8>>, Vec<u8>) {
        let length = self.short();
        let id = String::from_utf8(self.take(length)).unwrap();
        let _consistency = self.short();
        let flags = self.take(1)[0];
        let count = if flags & 1 == 1 { self.short() } else { 0 };
        let values = (0..count).map(|_| self.bytes()).collect();
        if flags & 4 == 4 {
            let _rows_of_a_page = self.take(4);
        }
        let from = if flags & 8 == 8 { self.bytes() } else { Vec::new() };
        (id, values, from)
    }
}

/// The types of columns here, by their numbers in the protocol.
#[derive(Clone, Copy)]
pub enum Type {
    Bigint = 0x02,
    Boolean = 0x04,
    Int = 0x09,
    Uuid = 0x0C,
    Text = 0x0D,
    Inet = 0x10,
    SetOfText = 0x22,
}

pub type Column = (&'static str, Type);

/// What a server says, without its header.
pub struct Answer {
    opcode: u8,
    body: Vec<u8>,
}

impl Answer {
    fn new(opcode: u8) -> Answer {
        Answer { opcode, body: Vec::new() }
    }

    fn result(kind: i32) -> Answer {
        Answer::new(RESULT).int(kind)
    }

    fn raw(mut self, bytes: &[u8]) -> Answer {
        self.body.extend(bytes);
        self
    }

    fn int(self, number: i32) -> Answer {
        self.raw(&number.to_be_bytes())
    }

    fn short(self, number: usize) -> Answer {
        self.raw(&u16::try_from(number).unwrap().to_be_bytes())
    }

    fn string(self, text: &str) -> Answer {
        self.short(text.len()).raw(text.as_bytes())
    }

    fn bytes(self, bytes: &[u8]) -> Answer {
        self.int(i32::try_from(bytes.len()).unwrap()).raw(bytes)
    }

    pub fn ready() -> Answer {
        Answer::new(READY)
    }

    pub fn authenticate() -> Answer {
        Answer::new(AUTHENTICATE).string("org.apache.cassandra.auth.PasswordAuthenticator")
    }

    pub fn authenticated() -> Answer {
        Answer::new(AUTH_SUCCESS).int(-1)
    }

    pub fn supported() -> Answer {
        Answer::new(SUPPORTED).short(1).string("CQL_VERSION").short(1).string("3.4.7")
    }

    pub fn error(code: i32, message: &str) -> Answer {
        let answer = Answer::new(ERROR).int(code).string(message);
        match code {
            // A quorum, of which two are required and one is alive.
            UNAVAILABLE => answer.short(4).int(2).int(1),
            _ => answer,
        }
    }

    pub fn void() -> Answer {
        Answer::result(1)
    }

    pub fn rows(columns: &[Column], rows: &[Vec<Vec<u8>>]) -> Answer {
        let mut answer = Answer::result(2).columns(columns);
        answer = answer.int(i32::try_from(rows.len()).unwrap());
        for value in rows.iter().flatten() {
            answer = answer.bytes(value);
        }
        answer
    }

    /// Some rows of a table, in which nothing may stand, and from where on the others are.
    pub fn page(columns: &[Column], rows: &[Vec<Option<Vec<u8>>>], next: Option<u8>) -> Answer {
        let flags = if next.is_some() { 3 } else { 1 };
        let count = i32::try_from(columns.len()).unwrap();
        let mut answer = Answer::result(2).int(flags).int(count);
        if let Some(next) = next {
            answer = answer.bytes(&[next]);
        }
        answer = answer.string("k").string("t").specifications(columns);
        answer = answer.int(i32::try_from(rows.len()).unwrap());
        for value in rows.iter().flatten() {
            answer = match value {
                Some(value) => answer.bytes(value),
                None => answer.int(-1),
            };
        }
        answer
    }

    /// The same without its last bytes.
    pub fn cut(mut self, bytes: usize) -> Answer {
        self.body.truncate(self.body.len() - bytes);
        self
    }

    pub fn prepared(id: &str, bound: &[Column], columns: &[Column]) -> Answer {
        let mut answer = Answer::result(4).string(id).int(1);
        answer = answer.int(i32::try_from(bound.len()).unwrap()).int(0);
        answer.string("k").string("t").specifications(bound).columns(columns)
    }

    pub fn schema_changed(keyspace: &str) -> Answer {
        Answer::result(5).string("UPDATED").string("KEYSPACE").string(keyspace)
    }

    fn columns(self, columns: &[Column]) -> Answer {
        let count = i32::try_from(columns.len()).unwrap();
        self.int(1).int(count).string("k").string("t").specifications(columns)
    }

    fn specifications(mut self, columns: &[Column]) -> Answer {
        for (name, kind) in columns {
            self = self.string(name).short(*kind as usize);
            if let Type::SetOfText = kind {
                self = self.short(Type::Text as usize);
            }
        }
        self
    }

    pub async fn write(self, request: &Request, socket: &mut TcpStream) -> Option<()> {
        let mut frame = vec![0x84, 0, request.stream[0], request.stream[1], self.opcode];
        frame.extend(u32::try_from(self.body.len()).unwrap().to_be_bytes());
        frame.extend(self.body);
        socket.write_all(&frame).await.ok()
    }
}
