//! An S3 store: what is put is read back unchanged and listed, damage on the way is refused, and so
//! is everybody without the right key.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::recorder::Outcome;
use super::{Options, Recorder, Surroundings, Target, door};
use crate::Result;
use crate::world::http::Reply;
use crate::world::s3::{self, Call, Listed, Store};

/// Objects of the first round, one of them empty, and what the restart adds.
const OBJECTS: [(&str, usize); 3] =
    [("first/one megabyte+a bit", 1_048_577), ("first/empty", 0), ("second/small", 1000)];
const LATER_OBJECT: (&str, usize) = ("second/after the restart", 70_000);

/// The checks that need a bucket.
struct Session {
    store: Store,
    anybody: Store,
    bucket: String,
    run_id: String,
    reach: Duration,
}

pub(super) async fn run(
    target: &Target,
    options: Options,
    surroundings: &Surroundings<'_>,
    recorder: &mut Recorder,
) -> Result<()> {
    let (key, secret) = (target.credential("accessKey")?, target.credential("secretKey")?);
    let store = Store::new(&target.address(), Some((key, secret)))?;
    let session = Session {
        anybody: store.with_login(None),
        store,
        bucket: format!("pipe-smoke-{}", target.run_id),
        run_id: target.run_id.clone(),
        reach: options.reach,
    };

    let tried = format!("ask {} for a bucket that is not there, with our key", target.address());
    if recorder.check("connect", tried, session.connect()).await.is_none() {
        // Another program holds the port, or nothing does: nothing may be made there.
        return Ok(());
    }
    let wrong_secret = format!("{secret}x");
    let wrong = session.store.with_login(Some((key, &wrong_secret)));
    let tried = "ask with a wrong secret and be refused";
    let refused = session.refused(&wrong, "SignatureDoesNotMatch");
    recorder.check("wrong-secret", tried, refused).await;
    let wrong_key = format!("{key}x");
    let wrong = session.store.with_login(Some((&wrong_key, secret)));
    let tried = "ask with an unknown key and be refused";
    recorder.check("wrong-key", tried, session.refused(&wrong, "InvalidAccessKeyId")).await;
    let tried = "ask without a key and be refused";
    recorder.check("no-key", tried, session.refused(&session.anybody, "AccessDenied")).await;
    if !target.buckets.is_empty() {
        let tried = format!("find the profile's buckets: {}", target.buckets.join(", "));
        recorder.check("buckets", tried, session.buckets(&target.buckets)).await;
    }

    let tried = format!("make bucket {}", session.bucket);
    let mut stored = Vec::new();
    if recorder.check("bucket", tried, session.create()).await.is_some() {
        let restart = options.restart.then_some(surroundings);
        session.with_bucket(restart, recorder, &mut stored).await;
    }
    // What failed in the middle of being made is there too.
    let tried = format!("delete bucket {} with all in it and find it gone", session.bucket);
    recorder.clean_up("clean-up", tried, session.delete(&stored)).await;
    Ok(())
}

impl Session {
    /// Everything between making and removing the bucket. Stops at the first failure: the later
    /// checks count on the objects before. `stored` is what may be there to remove.
    async fn with_bucket(
        &self,
        restart: Option<&Surroundings<'_>>,
        recorder: &mut Recorder,
        stored: &mut Vec<(&'static str, usize)>,
    ) -> Option<()> {
        stored.extend(OBJECTS);
        let tried = format!("put {} objects, each with its SHA-256", OBJECTS.len());
        recorder.check("put", tried, self.put(&OBJECTS)).await?;
        let tried = "get them and compare every byte";
        recorder.check("read-back", tried, self.read(&OBJECTS)).await?;
        let tried = "list those below first/, with their lengths";
        recorder.check("list", tried, self.list("first/", stored)).await?;
        let tried = "put an object with the SHA-256 of another and be refused, nothing stored";
        let damaged = recorder.check("wrong-checksum", tried, self.damaged()).await;
        let tried = "get an object without a key and be refused";
        let private = recorder.check("private", tried, self.private()).await;

        let ((), (), Some(surroundings)) = (damaged?, private?, restart) else { return None };
        let tried = "delete the pod and be answered by its successor";
        recorder.check("restart", tried, self.restart(surroundings)).await?;
        let tried = "get the objects of before the restart and compare every byte";
        recorder.check("read-again", tried, self.read(&OBJECTS)).await?;
        stored.push(LATER_OBJECT);
        let tried = "put one more object and list all";
        recorder.check("put-more", tried, self.put_more(stored)).await
    }

    /// Waits for the port if need be. Only the store that we mean knows the key.
    async fn connect(&self) -> Outcome<()> {
        let missing = Call::List { prefix: "" };
        let reply = self.reached(missing, |reply| s3::code(reply).is_some()).await?;
        match s3::code(&reply).as_deref() {
            Some("NoSuchBucket") if reply.status == 404 => {
                let server = reply.headers.get("server").map_or("a server", String::as_str);
                Ok(((), format!("{server} accepted the key: {}", s3::describe(&reply))))
            }
            _ => Err(format!("{} instead of 404 NoSuchBucket", s3::describe(&reply))),
        }
    }

    /// Asks until a store answers: what is no answer of a store comes from somebody in between.
    async fn reached(
        &self,
        call: Call<'_>,
        is_store: impl Fn(&Reply) -> bool,
    ) -> std::result::Result<Reply, String> {
        let attempt = || async {
            let reply = self.store.call(&self.bucket, call).await?;
            match is_store(&reply) {
                true => Ok(reply),
                false => Err(format!("{}, which is no answer of an S3 store", reply.status)),
            }
        };
        door::reach(self.reach, attempt).await
    }

    /// Passes only if the store says no, and why.
    async fn refused(&self, store: &Store, code: &str) -> Outcome<()> {
        let reply = store.call(&self.bucket, Call::List { prefix: "" }).await?;
        match (reply.status, s3::code(&reply)) {
            (403, Some(found)) if found == code => Ok(((), s3::describe(&reply))),
            _ => Err(format!("{} instead of 403 {code}", s3::describe(&reply))),
        }
    }

    async fn buckets(&self, wanted: &[String]) -> Outcome<()> {
        for bucket in wanted {
            if !self.store.has(bucket).await.map_err(|why| format!("bucket {bucket}: {why}"))? {
                return Err(format!("no bucket {bucket}"));
            }
        }
        Ok(((), format!("{} of {} are there", wanted.len(), wanted.len())))
    }

    async fn create(&self) -> Outcome<()> {
        expect(200, &self.store.call(&self.bucket, Call::CreateBucket).await?)?;
        match self.store.has(&self.bucket).await? {
            true => Ok(((), "made, and there".to_owned())),
            false => Err("made, and not there".to_owned()),
        }
    }

    async fn put(&self, objects: &[(&str, usize)]) -> Outcome<()> {
        for (key, length) in objects {
            let content = self.content(key, *length);
            let sha256 = Sha256::digest(&content);
            let put = Call::Put { key, content: &content, sha256: sha256.as_slice() };
            let reply = self.store.call(&self.bucket, put).await;
            expect(200, &reply.map_err(|why| format!("{key}: {why}"))?)
                .map_err(|why| format!("{key}: {why}"))?;
        }
        let bytes: usize = objects.iter().map(|(_, length)| length).sum();
        Ok(((), format!("{bytes} bytes stored")))
    }

    async fn read(&self, objects: &[(&str, usize)]) -> Outcome<()> {
        for (key, length) in objects {
            let reply = self.store.call(&self.bucket, Call::Get { key }).await;
            let reply = reply.map_err(|why| format!("{key}: {why}"))?;
            expect(200, &reply).map_err(|why| format!("{key}: {why}"))?;
            let sent = Sha256::digest(self.content(key, *length));
            let received = Sha256::digest(&reply.body);
            if sent != received {
                return Err(format!(
                    "{key} with other content: {} bytes of digest {} instead of {length} of {}",
                    reply.body.len(),
                    short(received.as_slice()),
                    short(sent.as_slice()),
                ));
            }
        }
        Ok(((), format!("{} objects, every byte as it was put", objects.len())))
    }

    /// Exactly what lies below `prefix`, in the order of keys.
    async fn list(&self, prefix: &str, stored: &[(&str, usize)]) -> Outcome<()> {
        let reply = self.store.call(&self.bucket, Call::List { prefix }).await?;
        expect(200, &reply)?;
        let found = s3::listed(&reply)?;
        let below = stored.iter().filter(|(key, _)| key.starts_with(prefix));
        let mut wanted: Vec<Listed> = below
            .map(|(key, length)| Listed {
                key: (*key).to_owned(),
                size: u64::try_from(*length).ok(),
            })
            .collect();
        wanted.sort_by(|one, other| one.key.cmp(&other.key));
        if found != wanted {
            let names = |list: &[Listed]| {
                let of = |item: &Listed| match item.size {
                    Some(size) => format!("{} ({size})", item.key),
                    None => item.key.clone(),
                };
                list.iter().map(of).collect::<Vec<_>>().join(", ")
            };
            return Err(format!("listed: {}; there are: {}", names(&found), names(&wanted)));
        }
        Ok(((), format!("{} objects with their lengths", found.len())))
    }

    /// What arrives damaged must not be stored.
    async fn damaged(&self) -> Outcome<()> {
        let key = "first/damaged";
        let sha256 = Sha256::digest("another");
        let put = Call::Put { key, content: b"one", sha256: sha256.as_slice() };
        let reply = self.store.call(&self.bucket, put).await?;
        if reply.status != 400 {
            return Err(format!("{} instead of 400", s3::describe(&reply)));
        }
        let after = self.store.call(&self.bucket, Call::Head { key }).await?;
        match after.status {
            404 => Ok(((), format!("{}, nothing stored", s3::describe(&reply)))),
            status => Err(format!("{}, and stored all the same ({status})", s3::describe(&reply))),
        }
    }

    async fn private(&self) -> Outcome<()> {
        let (key, _) = OBJECTS[0];
        let reply = self.anybody.call(&self.bucket, Call::Get { key }).await?;
        match reply.status {
            403 => Ok(((), s3::describe(&reply))),
            _ => Err(format!("{} instead of 403: {} bytes", reply.status, reply.body.len())),
        }
    }

    async fn restart(&self, surroundings: &Surroundings<'_>) -> Outcome<()> {
        (surroundings.restart)().await.map_err(|error| error.to_string())?;
        // An answer to HEAD has no code; this one has, or a list.
        let is_store = |reply: &Reply| s3::code(reply).is_some() || s3::listed(reply).is_ok();
        let reply = self.reached(Call::List { prefix: "" }, is_store).await?;
        expect(200, &reply)?;
        Ok(((), "another pod answered, and it has the bucket".to_owned()))
    }

    async fn put_more(&self, stored: &[(&str, usize)]) -> Outcome<()> {
        self.put(&[LATER_OBJECT]).await?;
        self.list("", stored).await
    }

    async fn delete(&self, stored: &[(&str, usize)]) -> Outcome<()> {
        // What was put only by mistake, too.
        let keys = stored.iter().map(|(key, _)| *key).chain(["first/damaged"]);
        for key in keys.filter(|_| !stored.is_empty()) {
            let reply = self.store.call(&self.bucket, Call::Delete { key }).await?;
            expect(204, &reply).map_err(|why| format!("{key}: {why}"))?;
        }
        let reply = self.store.call(&self.bucket, Call::DeleteBucket).await?;
        if reply.status != 404 {
            expect(204, &reply)?;
        }
        match self.store.has(&self.bucket).await? {
            true => Err("deleted, and still there".to_owned()),
            false => Ok(((), "deleted and gone".to_owned())),
        }
    }

    /// Different for every run and key, so that nothing old or repeated passes for it.
    fn content(&self, key: &str, length: usize) -> Vec<u8> {
        let mut block = Sha256::digest(format!("{} {key}", self.run_id)).to_vec();
        let mut content = Vec::with_capacity(length + block.len());
        while content.len() < length {
            content.extend_from_slice(&block);
            block = Sha256::digest(&block).to_vec();
        }
        content.truncate(length);
        content
    }
}

fn expect(status: u16, reply: &Reply) -> std::result::Result<(), String> {
    match reply.status == status {
        true => Ok(()),
        false => Err(format!("{} instead of {status}", s3::describe(reply))),
    }
}

fn short(digest: &[u8]) -> String {
    crate::digest::hex(digest.get(..6).unwrap_or(digest))
}
