//! Buckets that a profile names: made in the component's S3 store, through its host port.

use std::collections::BTreeMap;
use std::time::Duration;

use super::context::Context;
use super::wait::Seen;
use crate::plan::Reservation;
use crate::spec::Component;
use crate::world::s3::{self, Call, Store};
use crate::{Error, Result};

/// A ready pod's port may take this long to reach it: node ports are programmed by another program.
const WITHIN: Duration = Duration::from_secs(60);

/// Makes the buckets that are not there, and asks for each afterwards.
pub(super) async fn make(context: &Context, id: &str, component: &Component) -> Result<()> {
    let credentials = super::credentials::ensure(context, component)?;
    let store = store(component, context.reservation()?, &credentials)?;
    for bucket in &component.buckets {
        let what = format!("bucket {bucket} could not be made in {}", component.name);
        let attempt = || async {
            match ensure(&store, bucket.as_str()).await {
                Ok(()) => Seen::Ready(()),
                Err(why) => Seen::NotYet(why),
            }
        };
        context.wait(id, "bucket-not-made", what, WITHIN).until(attempt).await?;
    }
    Ok(())
}

async fn ensure(store: &Store, bucket: &str) -> std::result::Result<(), String> {
    if store.has(bucket).await? {
        return Ok(());
    }
    let reply = store.call(bucket, Call::CreateBucket).await?;
    match store.has(bucket).await? {
        true => Ok(()),
        false => Err(s3::describe(&reply)),
    }
}

/// Whether every bucket of a component is there now; no answer is a no.
pub(super) async fn all_there(
    component: &Component,
    reservation: &Reservation,
    credentials: &BTreeMap<String, String>,
) -> bool {
    let Ok(store) = store(component, reservation, credentials) else { return false };
    for bucket in &component.buckets {
        if store.has(bucket.as_str()).await != Ok(true) {
            return false;
        }
    }
    true
}

/// The component's store: at the port, and with the credentials, that prove it too.
fn store(
    component: &Component,
    reservation: &Reservation,
    credentials: &BTreeMap<String, String>,
) -> Result<Store> {
    let port = component.smoke_port().and_then(|port| reservation.ports.get(port));
    let login = ["accessKey", "secretKey"].map(|key| credentials.get(key).map(String::as_str));
    let (Some(port), [Some(key), Some(secret)]) = (port, login) else {
        return Err(Error::failed(
            "no-store",
            format!("the buckets of {} cannot be reached", component.name),
        )
        .because("its component file has no S3 port, or no accessKey and secretKey")
        .hint(format!("see profiles/components/{}.yaml", component.name)));
    };
    Store::new(&format!("127.0.0.1:{port}"), Some((key, secret)))
}
