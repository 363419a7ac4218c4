{{- define "syntrial.trackingArgs" -}}
- track
{{ include "syntrial.scopeArgs" . }}
- --store-secret={{ include "syntrial.storeSecret" . }}
{{- $servers := list -}}
{{- range $number, $server := .Values.tracking.servers -}}
{{- $asks := ternary (dict "credentials" (printf "/access/%d" $number)) dict (hasKey $server "secret") -}}
{{- $servers = append $servers (merge (dict "address" $server.address) $asks) -}}
{{- end }}
- {{ printf "--servers=%s" (toJson $servers) | squote }}
{{- end }}

{{/* It reads which Experiments there are and the store's Secret, and writes a condition. */}}
{{- define "syntrial.trackingRules" -}}
- apiGroups: [syntrial.dev]
  resources: [experiments]
  verbs: [get, list]
- apiGroups: [syntrial.dev]
  resources: [experiments/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ include "syntrial.storeSecret" . }}]
  verbs: [get]
{{- end }}

{{/* Ports of the servers, as JSON. */}}
{{- define "syntrial.trackingPorts" -}}
{{- $ports := .Values.networkPolicies.trackingPorts -}}
{{- if not $ports -}}
{{- range .Values.tracking.servers -}}
{{- $parts := urlParse .address -}}
{{- $port := regexFind "[0-9]+$" (regexFind ":[0-9]+$" $parts.host) -}}
{{- $ports = append $ports (int ($port | default (ternary "443" "80" (eq $parts.scheme "https")))) -}}
{{- end -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end }}
