{{- define "hookline.name" -}}
{{- if contains "hookline" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-hookline" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* Of everything: (dict "root" $ "stage" "ingest"). Without a stage it is of all of them. */}}
{{- define "hookline.selector" -}}
app.kubernetes.io/name: hookline
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .stage }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{- define "hookline.labels" -}}
{{ include "hookline.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "hookline.image" -}}
{{- $image := .root.Values.image -}}
{{- $tag := .tag | default $image.tag | default .root.Chart.AppVersion -}}
{{ $image.repository }}:{{ $tag }}{{ with $image.digest }}{{ if not $.tag }}@{{ . }}{{ end }}{{ end }}
{{- end }}

{{- define "hookline.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "hookline.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{/* A key of a ConfigMap has no slash: rules/growth.toml is rules__growth.toml there, and itself again where it is mounted. */}}
{{- define "hookline.config" -}}
hookline.toml: {{ required "config: the text of hookline.toml is missing (deploy/hookline.example.toml shows all of it)" .Values.config | toJson }}
{{- range $path, $text := .Values.files }}
{{ $path | replace "/" "__" }}: {{ $text | toJson }}
{{- end }}
{{- end }}

{{/* What a pod of any kind has: (dict "root" $ "config" NAME "data" "claim" | "empty" | ""). */}}
{{- define "hookline.volumes" -}}
- name: config
  configMap:
    name: {{ .config }}
    items:
      - { key: hookline.toml, path: hookline.toml }
      {{- range $path, $text := .root.Values.files }}
      - { key: {{ $path | replace "/" "__" | quote }}, path: {{ $path | quote }} }
      {{- end }}
{{- range .root.Values.secrets.files }}
- name: secret-{{ . }}
  secret: { secretName: {{ . }}, defaultMode: 0440 }
{{- end }}
- name: tmp
  emptyDir: { sizeLimit: 64Mi }
{{- if eq .data "empty" }}
- name: data
  emptyDir: {}
{{- end }}
{{- end }}

{{- define "hookline.mounts" -}}
- { name: config, mountPath: /etc/hookline, readOnly: true }
{{- range .root.Values.secrets.files }}
- { name: secret-{{ . }}, mountPath: /etc/hookline-secrets/{{ . }}, readOnly: true }
{{- end }}
- { name: tmp, mountPath: /tmp }
{{- if .data }}
- { name: data, mountPath: /var/lib/hookline }
{{- end }}
{{- end }}

{{- define "hookline.environment" -}}
env:
  - { name: HOOKLINE_LOG, value: {{ .root.Values.log.level | quote }} }
  {{- if eq .root.Values.log.format "json" }}
  - { name: HOOKLINE_LOG_FORMAT, value: json }
  {{- end }}
  {{- if .data }}
  - { name: HOOKLINE_PROCESS_DATA, value: /var/lib/hookline }
  {{- end }}
  {{- if .numbered }}
  - name: NUMBER
    valueFrom: { fieldRef: { fieldPath: "metadata.labels['apps.kubernetes.io/pod-index']" } }
  {{- end }}
  {{- range .root.Values.env }}
  - {{ toJson . }}
  {{- end }}
{{- with .root.Values.secrets.env }}
envFrom:
  {{- range . }}
  - secretRef: { name: {{ . }} }
  {{- end }}
{{- end }}
{{- end }}

{{- define "hookline.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "hookline.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
capabilities: { drop: [ALL] }
{{- end }}

{{/* Variables of other Services of the namespace (enableServiceLinks) would look like overrides of the configuration. */}}
{{- define "hookline.podCommon" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- include "hookline.podSecurity" . | nindent 2 }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}
