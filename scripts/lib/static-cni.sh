#!/usr/bin/env bash
# A pod network without any pod, for a kind cluster made with disableDefaultCNI: each node gets a CNI configuration from
# its podCIDR, routes to the other nodes' pods, and masquerade outwards. Idempotent. Routes do not survive a restart of
# the node: run it again then.
#   static-cni.sh CLUSTER [SECONDS]      SECONDS: how long to wait for the nodes and their podCIDRs (60)
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source=scripts/lib/log.sh
. "$here/log.sh"
# shellcheck source=scripts/lib/engine.sh
. "$here/engine.sh"

case ${1:-} in '' | -h | --help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 2 ;; esac
cluster=$1 seconds=${2:-60}

members() { # ROLE: the cluster's containers of a kind role
  engine ps --filter "label=io.x-k8s.kind.cluster=$cluster" --filter "label=io.x-k8s.kind.role=$1" --format '{{.Names}}'
}

mapfile -t control_planes < <(members control-plane)
mapfile -t workers < <(members worker)
[ ${#control_planes[@]} -gt 0 ] || die "no running kind cluster called $cluster"
expected=$((${#control_planes[@]} + ${#workers[@]}))

# name podCIDR address, one node a line.
nodes() {
  engine exec "${control_planes[0]}" kubectl --kubeconfig=/etc/kubernetes/admin.conf get nodes --no-headers -o \
    'custom-columns=NAME:.metadata.name,CIDR:.spec.podCIDR,ADDRESS:.status.addresses[?(@.type=="InternalIP")].address'
}

deadline=$(($(date +%s) + seconds))
until table=$(nodes 2>/dev/null) && [ "$(grep -c ' [0-9a-f.:]*/[0-9]* .*[0-9]' <<<"$table")" -ge "$expected" ]; do
  [ "$(date +%s)" -lt "$deadline" ] || die "after $seconds s not every node of $cluster has a podCIDR and an address" "$table"
  sleep 0.3
done
pod_subnet=$(engine exec "${control_planes[0]}" sed -n 's/^ *podSubnet: *"\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' /kind/kubeadm.conf | head -n 1)
pod_subnet=${pod_subnet%%,*}
[ -n "$pod_subnet" ] || die "/kind/kubeadm.conf of ${control_planes[0]} names no podSubnet"

# On the node, from standard input. A ptp link per pod needs no bridge, so no br_netfilter in the host's kernel either.
node_script() {
  local name=$1 own other cidr address
  own=$(awk -v name="$name" '$1 == name {print $2}' <<<"$table")
  cat <<EOF
set -eu
mkdir -p /etc/cni/net.d
cat >/etc/cni/net.d/10-pipe.conflist.new <<'CONF'
{"cniVersion": "1.0.0", "name": "pipe", "plugins": [
  {"type": "ptp", "ipMasq": false, "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam-state",
    "ranges": [[{"subnet": "$own"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
CONF
mv /etc/cni/net.d/10-pipe.conflist.new /etc/cni/net.d/10-pipe.conflist
iptables -w -t nat -N PIPE-MASQUERADE 2>/dev/null || iptables -w -t nat -F PIPE-MASQUERADE
iptables -w -t nat -A PIPE-MASQUERADE -d $pod_subnet -j RETURN
iptables -w -t nat -A PIPE-MASQUERADE -j MASQUERADE
iptables -w -t nat -C POSTROUTING -s $pod_subnet -m addrtype ! --dst-type LOCAL -j PIPE-MASQUERADE 2>/dev/null ||
  iptables -w -t nat -A POSTROUTING -s $pod_subnet -m addrtype ! --dst-type LOCAL -j PIPE-MASQUERADE
EOF
  while read -r other cidr address; do
    [ "$other" = "$name" ] || echo "ip route replace $cidr via ${address%%,*}"
  done <<<"$table"
}

jobs=()
for name in "${control_planes[@]}" "${workers[@]}"; do
  node_script "$name" | engine exec -i "$name" sh &
  jobs+=($!)
done
for job in "${jobs[@]}"; do wait "$job"; done
say "$cluster: static network on $expected nodes, pods in $pod_subnet"
