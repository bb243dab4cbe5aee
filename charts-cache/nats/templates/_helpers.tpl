{{/* What never changes during a release's life; selectors are immutable. */}}
{{- define "nats.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Without the chart's version, so that a new chart alone does not restart a pod. */}}
{{- define "nats.podLabels" -}}
{{ include "nats.selectorLabels" . }}
app.kubernetes.io/component: messaging
app.kubernetes.io/version: {{ .Values.image.tag | quote }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "nats.labels" -}}
{{ include "nats.podLabels" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "nats.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* Used by the ConfigMap, and by the pod template to restart on a change. */}}
{{- define "nats.config" -}}
{{- $headless := printf "%s-headless.%s.svc" .Release.Name .Release.Namespace -}}
# $NAME is read from the environment, which the StatefulSet sets.
server_name: $SERVER_NAME
port: 4222
http_port: 8222
pid_file: /var/run/nats/nats.pid

# On a pod's deletion: tell clients to go, wait, then close what is left.
lame_duck_grace_period: 2s
lame_duck_duration: 30s

jetstream {
  store_dir: /data
  max_file_store: {{ .Values.jetstream.maxFileStore }}
  max_memory_store: {{ .Values.jetstream.maxMemoryStore }}
}

authorization {
  users: [
    {user: $NATS_USERNAME, password: $NATS_PASSWORD}
  ]
}
{{- if gt (int .Values.replicas) 1 }}

cluster {
  name: {{ .Release.Name }}
  port: 6222
  # Pod addresses mean nothing to a client outside the cluster.
  no_advertise: true
  routes: [
  {{- range $i := until (int .Values.replicas) }}
    nats://{{ $.Release.Name }}-{{ $i }}.{{ $headless }}:6222
  {{- end }}
  ]
}
{{- end }}
{{- end }}
