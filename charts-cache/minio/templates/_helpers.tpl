{{/* What never changes during a release's life; selectors are immutable. */}}
{{- define "minio.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Without the chart's version, so that a new chart alone does not restart a pod. */}}
{{- define "minio.podLabels" -}}
{{ include "minio.selectorLabels" . }}
app.kubernetes.io/component: object-store
app.kubernetes.io/version: {{ .Values.image.tag | trunc 63 | quote }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "minio.labels" -}}
{{ include "minio.podLabels" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "minio.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* One server: its folder. Several: every server's, so that each object is spread over all. */}}
{{- define "minio.volumes" -}}
{{- if gt (int .Values.replicas) 1 -}}
http://{{ .Release.Name }}-{0...{{ sub (int .Values.replicas) 1 }}}.{{ .Release.Name }}-headless.{{ .Release.Namespace }}.svc:9000/data
{{- else -}}
/data
{{- end -}}
{{- end }}
