{{/* Labels of an object; give (dict "root" $ "component" NAME). */}}
{{- define "syntrial.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: syntrial
{{ include "syntrial.selector" . }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Labels that select the pods of a component, and never change. */}}
{{- define "syntrial.selector" -}}
app.kubernetes.io/name: syntrial
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Labels of a pod. */}}
{{- define "syntrial.podLabels" -}}
{{ include "syntrial.selector" . }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The address of a part's image; give (dict "root" $ "part" NAME). */}}
{{- define "syntrial.image" -}}
{{- $image := .root.Values.image -}}
{{- $name := printf "%s/syntrial-%s" $image.repository .part -}}
{{- with get $image.digests .part -}}
{{ $name }}@{{ . }}
{{- else -}}
{{ $name }}:{{ $image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The namespaces with Experiments that the chart looks after, as JSON {"list": […]}. */}}
{{- define "syntrial.namespaces" -}}
{{- $names := .Values.watchNamespaces | default (list .Release.Namespace) -}}
{{- dict "list" ($names | uniq | sortAlpha) | toJson -}}
{{- end }}

{{/* Name of the Secret with the store's address and credentials in each namespace. */}}
{{- define "syntrial.storeSecret" -}}
{{ .Values.store.existingSecret | default "syntrial-store" }}
{{- end }}

{{/* A pod's part of Pod Security's "restricted". */}}
{{- define "syntrial.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* A container's part of it. */}}
{{- define "syntrial.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "syntrial.pullSecrets" -}}
{{- with .Values.image.pullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Environment of a container with a read-only root: everything that is written goes to /tmp. */}}
{{- define "syntrial.scratchEnvironment" -}}
- {name: HOME, value: /tmp}
- {name: SYNTRIAL_CACHE_DIR, value: /tmp/cache}
{{- end }}

{{/* Where the bundled MinIO answers, as seen from any namespace. */}}
{{- define "syntrial.minioEndpoint" -}}
http://{{ .Release.Name }}-minio.{{ .Release.Namespace }}.svc:9000
{{- end }}

{{/* What would otherwise fail late or puzzle: exactly one store, and served stages where there is one. */}}
{{- define "syntrial.check" -}}
{{- $stores := list -}}
{{- if .Values.minio.enabled }}{{ $stores = append $stores "minio.enabled" }}{{ end -}}
{{- if .Values.store.existingSecret }}{{ $stores = append $stores "store.existingSecret" }}{{ end -}}
{{- if .Values.store.url }}{{ $stores = append $stores "store.url" }}{{ end -}}
{{- if ne (len $stores) 1 -}}
{{- fail (printf "Exactly one store is needed: minio.enabled, store.existingSecret or store.url; set are: %s." (join ", " $stores | default "none")) -}}
{{- end -}}
{{- if and .Values.store.url (not (and .Values.store.accessKey .Values.store.secretKey)) -}}
{{- fail "store.url needs store.accessKey and store.secretKey; or name a Secret that has them with store.existingSecret." -}}
{{- end -}}
{{- if .Values.stageServices.enabled -}}
{{- $namespace := .Values.stageServices.namespace | default .Release.Namespace -}}
{{- if not (has $namespace (include "syntrial.namespaces" . | fromJson).list) -}}
{{- fail (printf "stageServices.namespace is %s, which is not in watchNamespaces and so has no store." $namespace) -}}
{{- end -}}
{{- end -}}
{{- end }}
