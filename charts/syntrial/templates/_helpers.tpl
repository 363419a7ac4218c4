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

{{/* A namespace's key to an external store, as JSON; give (dict "root" $ "namespace" NAME). */}}
{{- define "syntrial.storeKey" -}}
{{- $store := .root.Values.store -}}
{{- if hasKey $store.keys .namespace -}}
{{- get $store.keys .namespace | toJson -}}
{{- else if eq (len (include "syntrial.namespaces" .root | fromJson).list) 1 -}}
{{- dict "accessKey" $store.accessKey "secretKey" $store.secretKey | toJson -}}
{{- else -}}
{}
{{- end -}}
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
{{ ternary "https" "http" (ne .Values.minio.tls.secret "") }}://{{ .Release.Name }}-minio.{{ .Release.Namespace }}.svc:9000
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
{{- if .Values.minio.enabled -}}
{{- $minio := .Values.minio -}}
{{- $namespaces := (include "syntrial.namespaces" . | fromJson).list -}}
{{- range $namespace, $_ := merge (dict) $minio.quotas $minio.tenantKeys -}}
{{- if not (has $namespace $namespaces) -}}
{{- fail (printf "minio.quotas or minio.tenantKeys names %s, which is not in watchNamespaces." $namespace) -}}
{{- end -}}
{{- end -}}
{{- range $namespace, $_ := $minio.quotas -}}
{{- if gt (len (printf "%s-%s" $minio.bucket $namespace)) 63 -}}
{{- fail (printf "minio.quotas: the bucket %s-%s has a name of more than 63 characters. Shorten minio.bucket." $minio.bucket $namespace) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if .Values.store.url -}}
{{- $root := . -}}
{{- $namespaces := (include "syntrial.namespaces" . | fromJson).list -}}
{{- $owners := dict -}}
{{- range $namespaces -}}
{{- $key := include "syntrial.storeKey" (dict "root" $root "namespace" .) | fromJson -}}
{{- if not (and $key.accessKey $key.secretKey) -}}
{{- if gt (len $namespaces) 1 -}}
{{- fail (printf "store.url with several namespaces needs a key for each, and store.keys has none for %s: one key for all would open every namespace's artifacts to each. Give store.keys.%s, or a Secret in each namespace with store.existingSecret." . .) -}}
{{- end -}}
{{- fail "store.url needs store.accessKey and store.secretKey; or name a Secret that has them with store.existingSecret." -}}
{{- end -}}
{{- if hasKey $owners $key.accessKey -}}
{{- fail (printf "store.keys gives %s and %s one access key: it would open each one's artifacts to the other. Give each a key of its own." (get $owners $key.accessKey) .) -}}
{{- end -}}
{{- $_ := set $owners $key.accessKey . -}}
{{- end -}}
{{- range $namespace, $_ := .Values.store.keys -}}
{{- if not (has $namespace $namespaces) -}}
{{- fail (printf "store.keys has a key for %s, which is not in watchNamespaces." $namespace) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range concat .Values.networkPolicies.storePeers .Values.networkPolicies.downloadPeers .Values.networkPolicies.trackingPeers -}}
{{- with .ipBlock -}}
{{- if regexMatch "/[0-7]$" .cidr -}}
{{- fail (printf "networkPolicies: a peer of storePeers, downloadPeers or trackingPeers is a place, and %s is most of the internet, with the metadata services of clouds in it. Name narrower ones; public addresses are reached where storePeers is empty, and by publicDownloads." .cidr) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if .Values.stageServices.enabled -}}
{{- $namespace := .Values.stageServices.namespace | default .Release.Namespace -}}
{{- if not (has $namespace (include "syntrial.namespaces" . | fromJson).list) -}}
{{- fail (printf "stageServices.namespace is %s, which is not in watchNamespaces and so has no store." $namespace) -}}
{{- end -}}
{{- end -}}
{{- end }}
