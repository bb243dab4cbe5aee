{{/* What never changes during a release's life; selectors are immutable. */}}
{{- define "foundationdb.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Without the chart's version, so that a new chart alone does not restart a pod. */}}
{{- define "foundationdb.podLabels" -}}
{{ include "foundationdb.selectorLabels" . }}
app.kubernetes.io/component: database
app.kubernetes.io/version: {{ .Values.image.tag | quote }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "foundationdb.labels" -}}
{{ include "foundationdb.podLabels" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "foundationdb.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/*
The first half of every cluster file. Coordinators keep their state under it: a change would make an
existing database one that nobody finds.
*/}}
{{- define "foundationdb.cluster" -}}
pipe:pipe
{{- end }}

{{/* The port that clients dial and the one that the server says must be the same. */}}
{{- define "foundationdb.port" -}}
4500
{{- end }}

{{/* Used by the ConfigMap, and by the pod template to restart on a change. */}}
{{- define "foundationdb.scripts" -}}
start.sh: |
  #!/bin/sh
  # Runs the server. The image's own entry point would take the address of the pod, fix the zone to
  # the pod's name and forget the setting that asynchronous I/O needs on such volumes.
  set -eu
  address="$NODE_ADDRESS"
  case "$address" in *:*) address="[$address]" ;; esac
  # The only coordinator is this very process, and it knows itself by the address it is given. Written
  # at every start, so that a node with another address is no obstacle.
  printf '%s@%s:%s\n' '{{ include "foundationdb.cluster" . }}' "$address" "$FDB_SERVER_PORT" > "$FDB_CLUSTER_FILE.new"
  mv "$FDB_CLUSTER_FILE.new" "$FDB_CLUSTER_FILE"
  exec fdbserver \
    --cluster_file="$FDB_CLUSTER_FILE" \
    --public_address="$address:$FDB_SERVER_PORT" \
    --listen_address=public \
    --datadir=/var/fdb/data \
    --logdir=/var/fdb/logs \
    --logsize=10MiB \
    --maxlogssize=100MiB \
    --class=unset \
    --locality_instance_id="$POD_NAME" \
    --locality_machineid="$NODE_NAME" \
    --locality_zoneid="$NODE_NAME" \
    --memory={{ .Values.memory }} \
    --cache_memory={{ .Values.cacheMemory }} \
    --knob_disable_posix_kernel_aio=1
available.sh: |
  #!/bin/sh
  # Whether the database takes transactions. fdbcli's exit code does not say so; its words do.
  said=$(fdbcli --timeout 5 --exec 'status minimal' 2>&1) || true
  case "$said" in *'The database is available'*) exit 0 ;; esac
  printf '%s\n' "$said"
  exit 1
configure.sh: |
  #!/bin/sh
  # Makes the database, once: where there is one already, the server says so and changes nothing.
  deadline=$(( $(date +%s) + {{ .Values.configureSeconds }} ))
  until said=$(/bin/sh /etc/foundationdb-scripts/available.sh); do
    made=$(fdbcli --timeout 10 --exec 'configure new single ssd' 2>&1) || true
    if [ "$(date +%s)" -ge "$deadline" ]; then
      printf 'no database within {{ .Values.configureSeconds }} s; status: %s; configure: %s\n' "$said" "$made" >&2
      exit 1
    fi
    sleep 0.5
  done
{{- end }}
