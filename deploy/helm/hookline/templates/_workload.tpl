{{/*
A service: (dict "root" $ "stage" "process" "kind" "StatefulSet" "args" (list …)), and with "data" "claim" | "empty" a folder,
with "numbered" the number of the pod as $(NUMBER), with "scaled" no number of replicas, with "ports" further ports.
*/}}
{{- define "hookline.workload" -}}
{{- $root := .root }}
{{- $values := index $root.Values .stage }}
{{- $name := printf "%s-%s" (include "hookline.name" $root) .stage }}
{{- $set := eq .kind "StatefulSet" }}
apiVersion: apps/v1
kind: {{ .kind }}
metadata:
  name: {{ $name }}
  labels:
    {{- include "hookline.labels" . | nindent 4 }}
  {{- with .because }}
  annotations: { kube-score/ignore: deployment-replicas }   # {{ . }}
  {{- end }}
spec:
  {{- if not .scaled }}
  replicas: {{ .replicas | default $values.replicas }}
  {{- end }}
  {{- if $set }}
  serviceName: {{ $name }}-metrics
  podManagementPolicy: Parallel
  {{- if .numbered }}
  ordinals: { start: 1 }
  {{- end }}
  persistentVolumeClaimRetentionPolicy: { whenDeleted: Retain, whenScaled: Retain }
  {{- else if eq .stage "ingest" }}
  strategy: { type: RollingUpdate, rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } }
  {{- else }}
  # One leaves before one comes, so that lanes move once.
  strategy: { type: RollingUpdate, rollingUpdate: { maxUnavailable: 1, maxSurge: 0 } }
  {{- end }}
  selector:
    matchLabels:
      {{- include "hookline.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "hookline.labels" . | nindent 8 }}
        {{- with $root.Values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        checksum/config: {{ include "hookline.config" $root | sha256sum }}
        {{- with $root.Values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "hookline.serviceAccount" $root }}
      {{- include "hookline.podCommon" $root | nindent 6 }}
      terminationGracePeriodSeconds: {{ $root.Values.terminationGracePeriodSeconds }}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: topology.kubernetes.io/zone
          whenUnsatisfiable: {{ $root.Values.spread.zones }}
          labelSelector:
            matchLabels:
              {{- include "hookline.selector" . | nindent 14 }}
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: {{ $root.Values.spread.nodes }}
          labelSelector:
            matchLabels:
              {{- include "hookline.selector" . | nindent 14 }}
      affinity:
        podAntiAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
            - weight: 100
              podAffinityTerm:
                topologyKey: kubernetes.io/hostname
                labelSelector:
                  matchLabels:
                    {{- include "hookline.selector" . | nindent 20 }}
      containers:
        - name: {{ .stage }}
          image: {{ include "hookline.image" (dict "root" $root "tag" $values.tag) | quote }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          args: {{ concat (list .stage "--config" "/etc/hookline/hookline.toml" "--metrics" "0.0.0.0:9464") (.args | default list) | toJson }}
          {{- include "hookline.environment" . | nindent 10 }}
          ports:
            - { name: metrics, containerPort: 9464 }
            {{- range .ports }}
            - {{ toJson . }}
            {{- end }}
          # /livez: a restart helps. /readyz: send it traffic. Not /healthz: it is 503 while a lane stands on purpose, and a
          # restart would only disturb the others.
          startupProbe: { httpGet: { path: /livez, port: metrics }, periodSeconds: 2, failureThreshold: 60 }
          livenessProbe: { httpGet: { path: /livez, port: metrics }, periodSeconds: 10, timeoutSeconds: 3, failureThreshold: 3 }
          readinessProbe: { httpGet: { path: /readyz, port: metrics }, periodSeconds: 5, timeoutSeconds: 3, failureThreshold: 2 }
          {{- if .ports }}
          # Until every proxy knows that this pod is leaving.
          lifecycle: { preStop: { sleep: { seconds: 5 } } }
          {{- end }}
          resources: {{ toJson $values.resources }}
          securityContext:
            {{- include "hookline.containerSecurity" $root | nindent 12 }}
          volumeMounts:
            {{- include "hookline.mounts" (dict "root" $root "data" .data) | nindent 12 }}
      volumes:
        {{- include "hookline.volumes" (dict "root" $root "config" (include "hookline.name" $root) "data" (.data | default "")) | nindent 8 }}
  {{- if eq (.data | default "") "claim" }}
  volumeClaimTemplates:
    - metadata:
        name: data
        labels:
          {{- include "hookline.selector" . | nindent 10 }}
      spec:
        accessModes: [ReadWriteOnce]
        {{- with $values.persistence.storageClass }}
        storageClassName: {{ . }}
        {{- end }}
        resources: { requests: { storage: {{ $values.persistence.size }} } }
  {{- end }}
{{- end }}
