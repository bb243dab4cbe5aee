{{/* What never changes during a release's life; selectors are immutable. */}}
{{- define "scylladb.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Without the chart's version, so that a new chart alone does not restart a pod. */}}
{{- define "scylladb.podLabels" -}}
{{ include "scylladb.selectorLabels" . }}
app.kubernetes.io/component: database
app.kubernetes.io/version: {{ .Values.image.tag | trunc 63 | quote }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "scylladb.labels" -}}
{{ include "scylladb.podLabels" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "scylladb.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* Used by the ConfigMap, and by the pod template to restart on a change. The whole configuration:
     what the image brings in /etc/scylla is not read. */}}
{{- define "scylladb.config" -}}
cluster_name: {{ .Release.Name }}
# One server, which talks to itself alone: whatever address its pod has, the cluster stays the same.
listen_address: 127.0.0.1
seed_provider:
- class_name: org.apache.cassandra.locator.SimpleSeedProvider
  parameters:
  - seeds: 127.0.0.1
# Clients come from anywhere; what they are told to dial is the node's address, known when the pod starts.
rpc_address: 0.0.0.0
native_transport_port: 9042
# Whoever is not let in there may not be let in here.
api_address: 127.0.0.1
maintenance_socket: ignore
authenticator: PasswordAuthenticator
authorizer: CassandraAuthorizer
endpoint_snitch: GossipingPropertyFileSnitch
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
num_tokens: 256
murmur3_partitioner_ignore_msb_bits: 12
commitlog_sync: periodic
commitlog_sync_period_in_ms: 10000
commitlog_segment_size_in_mb: 32
tablets_mode_for_new_keyspaces: enabled
strict_is_not_null_in_views: true
audit: none
{{- end }}

{{/* Where this server stands, in the words of its snitch. */}}
{{- define "scylladb.rack" -}}
dc={{ .Values.server.datacenter }}
rack={{ .Values.server.rack }}
{{- end }}
