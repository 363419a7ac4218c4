{{/* Egress to DNS. */}}
{{- define "syntrial.egressDns" -}}
- to: {{- toYaml .Values.networkPolicies.dnsPeers | nindent 4 }}
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end }}

{{/* Egress to the object store; give (dict "root" $ "namespace" NAME). */}}
{{- define "syntrial.egressStore" -}}
{{- $values := .root.Values -}}
{{- if $values.minio.enabled -}}
- to:
    - podSelector:
        matchLabels: {{- include "syntrial.selector" (dict "root" .root "component" "minio") | nindent 10 }}
      {{- if ne .namespace .root.Release.Namespace }}
      namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: {{ .root.Release.Namespace }}}
      {{- end }}
  ports:
    - {protocol: TCP, port: 9000}
{{- else -}}
- ports:
    {{- range $port := include "syntrial.storePorts" .root | fromJsonArray }}
    - {protocol: TCP, port: {{ $port }}}
    {{- end }}
  {{- with $values.networkPolicies.storePeers }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
{{- end }}

{{/* Ports of an external store, as JSON. */}}
{{- define "syntrial.storePorts" -}}
{{- if .Values.store.url -}}
{{- $parts := urlParse .Values.store.endpoint -}}
{{- $port := regexFind "[0-9]+$" (regexFind ":[0-9]+$" $parts.host) -}}
{{- list (int ($port | default (ternary "443" "80" (eq $parts.scheme "https")))) | toJson -}}
{{- else -}}
{{- .Values.networkPolicies.storePorts | toJson -}}
{{- end -}}
{{- end }}

{{/* Egress to the API server. */}}
{{- define "syntrial.egressApi" -}}
- ports:
    {{- range .Values.networkPolicies.apiServerPorts }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- with .Values.networkPolicies.apiServerPeers }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* Egress to where users' data may lie. */}}
{{- define "syntrial.egressDownloads" -}}
- to: {{- toYaml .Values.networkPolicies.downloadPeers | nindent 4 }}
  ports:
    {{- range .Values.networkPolicies.downloadPorts }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}
