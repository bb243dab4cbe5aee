{{/* What never changes during a release's life; selectors are immutable. */}}
{{- define "clickhouse.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Without the chart's version, so that a new chart alone does not restart a pod. */}}
{{- define "clickhouse.podLabels" -}}
{{ include "clickhouse.selectorLabels" . }}
app.kubernetes.io/component: database
app.kubernetes.io/version: {{ .Values.image.tag | trunc 63 | quote }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "clickhouse.labels" -}}
{{ include "clickhouse.podLabels" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "clickhouse.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* Old servers want another name for the outermost element. */}}
{{- define "clickhouse.root" -}}
{{ ternary "yandex" "clickhouse" .Values.legacyConfiguration }}
{{- end }}

{{/* Used by the ConfigMap, and by the pod template to restart on a change. The whole configuration:
     what the image brings in /etc/clickhouse-server is not read. */}}
{{- define "clickhouse.config" -}}
<{{ include "clickhouse.root" . }}>
  <logger>
    <level>information</level>
    <console>1</console>
  </logger>
  <listen_host>0.0.0.0</listen_host>
  <http_port>8123</http_port>
  <tcp_port>9000</tcp_port>
  <path>/var/lib/clickhouse/</path>
  <tmp_path>/var/lib/clickhouse/tmp/</tmp_path>
  <user_files_path>/var/lib/clickhouse/user_files/</user_files_path>
  <format_schema_path>/var/lib/clickhouse/format_schemas/</format_schema_path>
  <users_config>/etc/clickhouse-pipe/users.xml</users_config>
  <default_profile>default</default_profile>
  <default_database>default</default_database>
  <mark_cache_size>{{ .Values.server.markCacheBytes | int64 }}</mark_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <max_concurrent_queries>{{ .Values.server.maxConcurrentQueries }}</max_concurrent_queries>
  <background_pool_size>{{ .Values.server.backgroundPoolSize }}</background_pool_size>
  {{- if not .Values.legacyConfiguration }}
  <!-- Of the real memory limit, which ClickHouse reads from the control group. -->
  <max_server_memory_usage_to_ram_ratio>0.8</max_server_memory_usage_to_ram_ratio>
  <background_schedule_pool_size>8</background_schedule_pool_size>
  <background_common_pool_size>2</background_common_pool_size>
  <mlock_executable>false</mlock_executable>
  <!-- With a small pool these must be small too, or the server refuses to start. -->
  <merge_tree>
    <number_of_free_entries_in_pool_to_lower_max_size_of_merge>1</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
    <number_of_free_entries_in_pool_to_execute_mutation>1</number_of_free_entries_in_pool_to_execute_mutation>
    <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>1</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
  </merge_tree>
  {{- end }}
</{{ include "clickhouse.root" . }}>
{{- end }}

{{/* One user, the one of the Secret; `default` does not exist. */}}
{{- define "clickhouse.users" -}}
<{{ include "clickhouse.root" . }}>
  <profiles>
    <default>
      <max_memory_usage>{{ .Values.server.maxQueryMemoryBytes | int64 }}</max_memory_usage>
    </default>
  </profiles>
  <quotas>
    <default/>
  </quotas>
  <users>
    <{{ .Values.credentials.username }}>
      <password from_env="CLICKHOUSE_PASSWORD"/>
      <networks>
        <ip>::/0</ip>
      </networks>
      <profile>default</profile>
      <quota>default</quota>
      {{- if not .Values.legacyConfiguration }}
      <access_management>1</access_management>
      {{- end }}
    </{{ .Values.credentials.username }}>
  </users>
</{{ include "clickhouse.root" . }}>
{{- end }}
