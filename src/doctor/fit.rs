//! Whether the components fit here: the CPU, the platforms of their images, asynchronous I/O, memory.
//!
//! One that may be left out and does not fit is left out, the first in the profile's order staying;
//! any other stands in the way. What runs already has its room.

use super::needs::{ForeignImage, ImageSource, NeededComponent};
use super::remedy::{self, amount};
use super::{Facts, Finding, Needs, codes};
use crate::world::facts::HostFacts;
use crate::world::host::Host;

#[cfg(test)]
mod tests;

/// A component that is left out, because the profile says that it may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The component.
    pub component: String,
    /// Why, for people.
    pub why: String,
    /// Whether others would have to make room for it.
    pub for_room: bool,
}

/// What can stay of a cluster's components.
#[derive(Debug, Default)]
struct Fit<'a> {
    left_out: Vec<LeftOut>,
    /// Those that are still to be had, and can.
    stay: Vec<&'a NeededComponent>,
    /// Those that must stay and cannot.
    faults: Vec<(&'a NeededComponent, Fault<'a>)>,
}

/// Why a component does not fit, whatever else there is.
#[derive(Clone, Debug)]
enum Fault<'a> {
    /// What the CPU lacks.
    Cpu(Vec<&'a str>),
    Image(&'a ForeignImage),
}

/// Bytes of memory that the nodes and the components that stay ask for.
pub(super) fn memory_asked(facts: &Facts) -> u64 {
    let stay = fit(&facts.needs, &facts.host.host).stay;
    facts.needs.memory() + stay.iter().map(|component| component.memory).sum::<u64>()
}

/// Components that are left out here, in the profile's order.
pub fn left_out(needs: &Needs, host: &Host) -> Vec<LeftOut> {
    fit(needs, host).left_out
}

/// Whether every component that does not run yet can.
pub fn all_fit(needs: &Needs, host: &Host) -> bool {
    let fit = fit(needs, host);
    let stay = || fit.stay.iter().copied();
    let roomy = memory_lacks(needs, stay(), host).is_none() && aio_lacks(stay(), host).is_none();
    roomy && fit.faults.is_empty() && fit.left_out.is_empty()
}

pub(super) fn examine(facts: &Facts) -> Vec<Finding> {
    let needs = &facts.needs;
    let fit = fit(needs, &facts.host.host);
    let mut findings: Vec<Finding> =
        fit.faults.iter().map(|(component, fault)| refused(needs, component, fault)).collect();
    findings.extend(aio(&fit.stay, &facts.host));
    findings.extend(memory(needs, &fit.stay, &facts.host.host));
    findings.extend(promise(needs));
    findings.extend(fit.left_out.iter().map(|left| {
        let what = format!("component {} will be skipped: {}", left.component, left.why);
        Finding::new(codes::COMPONENT_SKIPPED, what)
            .remedy(format!("do without it, or run pipe where {} fits", left.component))
    }));
    findings
}

fn fit<'a>(needs: &'a Needs, host: &Host) -> Fit<'a> {
    let mut fit = Fit::default();
    let mut optional = Vec::new();
    for component in &needs.components {
        match (fault(component, host), component.optional) {
            (Some(fault), true) => fit.left_out.push(LeftOut {
                component: component.name.clone(),
                why: fault.words(component, needs),
                for_room: false,
            }),
            (Some(fault), false) => fit.faults.push((component, fault)),
            (None, _) if component.runs => {}
            (None, true) => optional.push(component),
            (None, false) => fit.stay.push(component),
        }
    }
    // What must stay comes first.
    for component in optional {
        let with = || fit.stay.iter().copied().chain([component]);
        let memory = memory_lacks(needs, with(), host).filter(|_| component.memory > 0);
        let aio = aio_lacks(with(), host).filter(|_| component.aio > 0);
        let why = match (memory, aio) {
            (Some((room, _)), _) => Some(format!(
                "its pods ask for {} of memory, more than the nodes and others leave ({room})",
                amount(component.memory)
            )),
            (None, Some(seen)) => Some(format!(
                "its server needs {} events of asynchronous I/O, and there is no room for them \
                 ({seen})",
                component.aio
            )),
            (None, None) => None,
        };
        match why {
            None => fit.stay.push(component),
            Some(why) => {
                let component = component.name.clone();
                fit.left_out.push(LeftOut { component, why, for_room: true });
            }
        }
    }
    let place = |name: &str| needs.components.iter().position(|component| component.name == name);
    fit.left_out.sort_by_key(|left| place(&left.component));
    fit
}

fn fault<'a>(component: &'a NeededComponent, host: &Host) -> Option<Fault<'a>> {
    if let Some(foreign) = component.foreign.first() {
        return Some(Fault::Image(foreign));
    }
    let there = host.cpu_features.as_ref()?;
    let lacking = component.cpu.iter().filter(|feature| !there.contains(*feature));
    let lacking: Vec<&str> = lacking.map(String::as_str).collect();
    (!lacking.is_empty()).then_some(Fault::Cpu(lacking))
}

impl Fault<'_> {
    /// As the reason why a component is left out.
    fn words(&self, component: &NeededComponent, needs: &Needs) -> String {
        match self {
            Fault::Cpu(lacking) => format!(
                "{} needs a CPU with {}, which this one has not",
                component.images.join(", "),
                lacking.join(", ")
            ),
            Fault::Image(foreign) => format!(
                "{} is made for {}, and nodes are {}",
                foreign.image,
                foreign.platforms.join(", "),
                needs.platform
            ),
        }
    }
}

fn refused(needs: &Needs, component: &NeededComponent, fault: &Fault<'_>) -> Finding {
    let name = &component.name;
    let finding = match fault {
        Fault::Cpu(lacking) => {
            let what = format!("component {name} cannot run on this CPU");
            Finding::new(codes::CPU_FEATURE, what)
                .seen(format!("it has no {}", lacking.join(", no ")))
                .needed(format!("{} for {}", component.cpu.join(", "), component.images.join(", ")))
                .remedy("use a machine with a newer CPU; of a virtual one, let it see the CPU of its host (QEMU: -cpu host)")
        }
        Fault::Image(foreign) => {
            let ForeignImage { image, platforms, source } = foreign;
            let platform = needs.platform.as_str();
            let what = format!("{image} of component {name} is not made for the nodes");
            let knows = match source {
                ImageSource::Lock => "pipe.lock",
                ImageSource::Engine => "the engine's store",
            };
            let arch = platform.split('/').nth(1).unwrap_or(platform);
            let finding = Finding::new(codes::IMAGE_ARCHITECTURE, what)
                .seen(format!("{knows} has it for {}", platforms.join(", ")))
                .needed(format!(
                    "{platform}, which {} really are; a label arch= makes no other CPU of a node",
                    needs.names.join(", ")
                ));
            match source {
                ImageSource::Lock => finding
                    .remedy("name a tag that is made for this CPU, and lock it: pipe images lock"),
                ImageSource::Engine => {
                    finding.remedy(format!("get the right one: podman pull --arch {arch} {image}"))
                }
            }
        }
    };
    finding.remedy(leave_out(name))
}

fn leave_out(name: &str) -> String {
    format!("or leave {name} out of the profile, or have it skipped: whenUnavailable: skip")
}

/// Servers that make their events when they start end at once where there is no room for them.
fn aio(stay: &[&NeededComponent], host: &HostFacts) -> Option<Finding> {
    let seen = aio_lacks(stay.iter().copied(), &host.host)?;
    let takes = stay.iter().filter(|component| component.aio > 0);
    let names: Vec<&str> = takes.clone().map(|component| component.name.as_str()).collect();
    let needed: u64 = takes.map(|component| component.aio).sum();
    let what = format!("there is no room for the asynchronous I/O of {}", names.join(" and "));
    let finding = Finding::new(codes::AIO_FULL, what)
        .seen(seen)
        .needed(needed.to_string())
        .remedy(remedy::sysctl(host, "fs.aio-max-nr", 1_048_576));
    Some(names.into_iter().fold(finding, |finding, name| finding.remedy(leave_out(name))))
}

/// What is there, where it is too little.
fn aio_lacks<'a>(
    components: impl Iterator<Item = &'a NeededComponent>,
    host: &Host,
) -> Option<String> {
    let needed: u64 = components.map(|component| component.aio).sum();
    let (limit, used) = (host.aio_max?, host.aio_used.unwrap_or(0));
    let lacks = needed > 0 && limit.saturating_sub(used) < needed;
    lacks.then(|| format!("fs.aio-max-nr {limit}, {used} in use"))
}

fn memory(needs: &Needs, stay: &[&NeededComponent], host: &Host) -> Option<Finding> {
    let (room, missing) = memory_lacks(needs, stay.iter().copied(), host)?;
    let asked: u64 = stay.iter().map(|component| component.memory).sum();
    let who = if asked > 0 { "nodes and components do" } else { "nodes do" };
    let nodes = (needs.nodes_in_words(), needs.memory());
    let components = stay.iter().map(|component| (component.name.clone(), component.memory));
    let parts = [nodes].into_iter().chain(components).filter(|(_, bytes)| *bytes > 0);
    let parts: Vec<String> =
        parts.map(|(who, bytes)| format!("{} for {who}", amount(bytes))).collect();
    let finding =
        Finding::new(codes::MEMORY_SHORT, format!("the {who} not fit into this host's memory"))
            .seen(room)
            .needed(format!("{}: {}", amount(needs.memory() + asked), parts.join(", ")))
            .remedy("end programs, remove other clusters (pipe list), or give the machine more");
    Some(match drop_largest(stay, missing) {
        Some(names) => finding.remedy(leave_out(&names.join(" and "))),
        None => finding.remedy("or take a cluster with fewer nodes: pipe up single"),
    })
}

/// What there is and how many bytes are missing, where it is too little. Swap counts: slow is not
/// impossible.
fn memory_lacks<'a>(
    needs: &Needs,
    components: impl Iterator<Item = &'a NeededComponent>,
    host: &Host,
) -> Option<(String, u64)> {
    let asked: u64 = components.map(|component| component.memory).sum();
    let (free, swap) = (host.memory_available?, host.swap_free.unwrap_or(0));
    let missing = (needs.memory() + asked).checked_sub(free + swap).filter(|bytes| *bytes > 0)?;
    let swap = match swap {
        0 => String::new(),
        swap => format!(" and {} of swap", amount(swap)),
    };
    Some((format!("{} available{swap}", amount(free)), missing))
}

/// The fewest components, the largest first, without which the rest has its memory; none where even
/// all would not do.
fn drop_largest<'a>(stay: &[&'a NeededComponent], missing: u64) -> Option<Vec<&'a str>> {
    let mut largest = stay.to_vec();
    largest.sort_by_key(|component| std::cmp::Reverse(component.memory));
    // One alone, as small as it can be, is better than the largest.
    if let Some(one) = largest.iter().rev().find(|component| component.memory >= missing) {
        return Some(vec![one.name.as_str()]);
    }
    let mut freed = 0;
    let mut names = Vec::new();
    for component in largest {
        names.push(component.name.as_str());
        freed += component.memory;
        if freed >= missing {
            return Some(names);
        }
    }
    None
}

/// The profile against itself, on whatever host.
fn promise(needs: &Needs) -> Option<Finding> {
    let (promised, taken) = (needs.promise?, needs.memory_at_most());
    (taken > promised).then(|| {
        let what = "the profile takes more memory than the machines have that it is made for";
        Finding::new(codes::MEMORY_PROMISE, what)
            .seen(format!("memory: {} in the profile", amount(promised)))
            .needed(format!(
                "{} for {} nodes and all that components may take",
                amount(taken),
                needs.names.len()
            ))
            .remedy("lower the limits of its components, leave some out, or write a larger memory:")
    })
}
