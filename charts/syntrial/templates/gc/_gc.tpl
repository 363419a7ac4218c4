{{- define "syntrial.gcArgs" -}}
- gc
{{ include "syntrial.scopeArgs" . }}
- --store-secret={{ include "syntrial.storeSecret" . }}
- --older-than-days={{ .Values.gc.olderThanDays }}
{{- end }}

{{/* The collector reads which Experiments there are, the store's Secret, and the namespace's UID: whose store it is. */}}
{{- define "syntrial.gcRules" -}}
- apiGroups: [syntrial.dev]
  resources: [experiments]
  verbs: [get, list]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ include "syntrial.storeSecret" . }}]
  verbs: [get]
{{- if .Values.clusterWide }}
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get, list]
{{- end }}
{{- end }}
