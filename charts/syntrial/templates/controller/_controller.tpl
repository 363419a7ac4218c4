{{/* Whose Experiments. A release's own namespace is read from the pod, so that the manifests serve in any. */}}
{{- define "syntrial.scopeArgs" -}}
{{- if .Values.clusterWide -}}
- --cluster-wide
{{- else if .Values.watchNamespaces -}}
- --namespaces={{ join "," (include "syntrial.namespaces" . | fromJson).list }}
{{- else -}}
- --namespaces=$(POD_NAMESPACE)
{{- end -}}
{{- end }}

{{/* "true" where a namespace has a budget of GPU-hours. */}}
{{- define "syntrial.hasGpuHours" -}}
{{- $hours := .Values.controller.gpuHours -}}
{{- if not (kindIs "invalid" $hours.perNamespace) -}}true{{- else if $hours.namespaces -}}true{{- end -}}
{{- end }}

{{/* What the controller is told: where to look, what to start, whose store. */}}
{{- define "syntrial.controllerArgs" -}}
{{- include "syntrial.scopeArgs" . }}
- --image-repository={{ .Values.image.repository }}
- --image-tag={{ .Values.image.tag | default .Chart.AppVersion }}
{{- range $part, $digest := .Values.image.digests }}
- --image-digest={{ $part }}={{ $digest }}
{{- end }}
- --image-pull-policy={{ .Values.image.pullPolicy }}
- --store-secret={{ include "syntrial.storeSecret" . }}
- --step-limit={{ int .Values.controller.stepLimit }}
- --jobs-per-experiment={{ int .Values.controller.jobs.perExperiment }}
- --jobs-per-namespace={{ int .Values.controller.jobs.perNamespace }}
{{- if include "syntrial.hasGpuHours" . }}
- {{ printf "--gpu-hours=%s" (toJson .Values.controller.gpuHours) | squote }}
- --gpu-ledger=$(POD_NAMESPACE)/{{ .Release.Name }}-gpu-hours
{{- end }}
- {{ printf "--pods=%s" (toJson .Values.pods) | squote }}
- {{ printf "--allowed=%s" (include "syntrial.allowed" .) | squote }}
{{- end }}

{{/* What the controller may do in a namespace with Experiments, and no more. */}}
{{- define "syntrial.controllerRules" -}}
- apiGroups: [syntrial.dev]
  resources: [experiments]
  verbs: [get, list, watch]
- apiGroups: [syntrial.dev]
  resources: [experiments/status]
  verbs: [patch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
# Written to say what happens, read to say why a Job has no pod (quota) or a pod does not start.
- apiGroups: [""]
  resources: [events]
  verbs: [get, list, create, patch]
# Whether a claim that a source names may be read.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get]
# The store's Secret, and no other.
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ include "syntrial.storeSecret" . }}]
  verbs: [get]
{{- end }}
