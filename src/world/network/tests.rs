use proptest::prelude::*;

use super::*;

fn subnet(text: &str) -> Subnet {
    text.parse().unwrap()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("node-{i}")).collect()
}

#[test]
fn subnets_parse_and_show() {
    assert_eq!(subnet("10.89.3.7/24").to_string(), "10.89.3.0/24");
    for bad in ["10.89.0.0", "10.89.0.0/33", "x/24", "fc00::/64", ""] {
        assert!(bad.parse::<Subnet>().is_err(), "{bad}");
    }
    assert!(subnet("0.0.0.0/0").overlaps(subnet("10.0.0.0/8")));
    assert!(!subnet("10.88.0.0/16").overlaps(subnet("10.89.0.0/24")));
}

#[test]
fn the_lowest_free_network_is_chosen() {
    assert_eq!(choose_subnet(&[]).unwrap().to_string(), "10.89.0.0/24");
    let used = [subnet("10.88.0.0/16"), subnet("10.89.0.0/23"), subnet("10.89.3.128/25")];
    assert_eq!(choose_subnet(&used).unwrap().to_string(), "10.89.2.0/24");
    assert_eq!(choose_subnet(&[subnet("10.89.0.0/16")]).unwrap().to_string(), "10.90.0.0/24");
    let vpn = subnet("10.0.0.0/8");
    assert_eq!(choose_subnet(&[vpn]).unwrap().to_string(), "172.24.0.0/24");
    let all = [vpn, subnet("172.16.0.0/12"), subnet("192.168.0.0/16")];
    assert_eq!(choose_subnet(&all).unwrap_err().code, "no-free-subnet");
}

#[test]
fn ipv6_network_is_kinds_own() {
    // What every installation of kind has for its network of that name.
    assert_eq!(kind_ipv6_subnet("kind", 0), "fc00:f853:ccd:e793::/64");
    assert_ne!(kind_ipv6_subnet("kind", 1), kind_ipv6_subnet("kind", 0));
}

#[test]
fn addresses_come_from_the_top_and_stay() {
    let network = subnet("10.89.0.0/24");
    let first = assign_addresses(network, &names(2), &BTreeSet::new(), &BTreeMap::new()).unwrap();
    assert_eq!(first["node-0"], Ipv4Addr::new(10, 89, 0, 254));
    assert_eq!(first["node-1"], Ipv4Addr::new(10, 89, 0, 253));
    let more = assign_addresses(network, &names(3), &BTreeSet::new(), &first).unwrap();
    assert_eq!((more["node-0"], more["node-1"]), (first["node-0"], first["node-1"]));
    assert_eq!(more["node-2"], Ipv4Addr::new(10, 89, 0, 252));
    // Gone elsewhere in the meantime: a new one.
    let used = BTreeSet::from([first["node-0"]]);
    let moved = assign_addresses(network, &names(1), &used, &first).unwrap();
    assert_eq!(moved["node-0"], Ipv4Addr::new(10, 89, 0, 252));
}

#[test]
fn a_full_network_is_an_error() {
    let assign = |text, count| {
        assign_addresses(subnet(text), &names(count), &BTreeSet::new(), &BTreeMap::new())
    };
    assert_eq!(assign("10.89.0.0/24", 127).unwrap().len(), 127);
    assert_eq!(assign("10.89.0.0/24", 128).unwrap_err().code, "no-free-address");
    assert_eq!(assign("10.89.0.0/29", 3).unwrap().len(), 3);
    for tiny in ["10.89.0.0/31", "10.89.0.0/32"] {
        assert!(assign(tiny, 1).is_err());
    }
}

prop_compose! {
    fn any_subnet()(bits: u32, prefix in 8_u8..=32) -> Subnet {
        Subnet::new(Ipv4Addr::from_bits(bits), prefix)
    }
}

/// A subnet in or around the range we choose from.
fn nearby_subnet() -> impl Strategy<Value = Subnet> {
    (87_u8..=97, any::<u8>(), 12_u8..=28).prop_map(|(second, third, prefix)| {
        Subnet::new(Ipv4Addr::new(10, second, third, 0), prefix)
    })
}

proptest! {
    #[test]
    fn overlap_is_symmetric_and_means_a_common_address(a in any_subnet(), b in any_subnet()) {
        prop_assert_eq!(a.overlaps(b), b.overlaps(a));
        let base = |s: Subnet| Ipv4Addr::from_bits(s.base);
        prop_assert_eq!(a.overlaps(b), a.contains(base(b)) || b.contains(base(a)));
        prop_assert_eq!(a.to_string().parse::<Subnet>().unwrap(), a);
    }

    #[test]
    fn a_chosen_network_is_free(used in prop::collection::vec(nearby_subnet(), 0..40)) {
        if let Ok(chosen) = choose_subnet(&used) {
            prop_assert!(used.iter().all(|other| !other.overlaps(chosen)));
            prop_assert!(!chosen.overlaps(subnet("10.96.0.0/12")));
        }
    }

    #[test]
    fn assigned_addresses_are_distinct_free_and_stable(
        prefix in 22_u8..=27,
        count in 1_usize..12,
        used_hosts in prop::collection::btree_set(0_u32..256, 0..12),
        kept_hosts in prop::collection::vec(0_u32..256, 0..12),
    ) {
        let network = Subnet::new(Ipv4Addr::new(10, 89, 0, 0), prefix);
        let address = |host: u32| Ipv4Addr::from_bits(network.base + host);
        let used: BTreeSet<Ipv4Addr> = used_hosts.into_iter().map(address).collect();
        let nodes = names(count);
        let reserved: BTreeMap<String, Ipv4Addr> =
            names(kept_hosts.len()).into_iter().zip(kept_hosts.into_iter().map(address)).collect();
        let Ok(assigned) = assign_addresses(network, &nodes, &used, &reserved) else { return Ok(()) };

        let distinct: BTreeSet<_> = assigned.values().collect();
        prop_assert_eq!(distinct.len(), count);
        for (node, address) in &assigned {
            prop_assert!(network.contains(*address) && !used.contains(address));
            let others = reserved.iter().filter(|(other, _)| *other != node);
            if reserved.get(node) != Some(address) {
                prop_assert!(others.into_iter().all(|(_, theirs)| theirs != address));
            }
        }
        // Asking again with what was assigned changes nothing.
        let again = assign_addresses(network, &nodes, &used, &assigned).unwrap();
        prop_assert_eq!(again, assigned);
    }
}
