{{/* Name of a policy, which has no namespace; give (dict "root" $ "for" NAME). */}}
{{- define "syntrial.policyName" -}}
{{ .root.Release.Name }}-{{ .root.Release.Namespace }}-{{ .for }}
{{- end }}

{{/* What experiments may ask of the cluster, as JSON: `admission.allowed`, and the servers of `tracking`. */}}
{{- define "syntrial.allowed" -}}
{{- $servers := list -}}
{{- range .Values.tracking.servers }}{{ $servers = append $servers .address }}{{ end -}}
{{- set (deepCopy .Values.admission.allowed) "mlflowServers" $servers | toJson -}}
{{- end }}

{{/* CEL: whether a text is in a list of what is allowed; give (dict "root" $ "list" NAME "of" CEL). */}}
{{- define "syntrial.isAllowed" -}}
{{ get (include "syntrial.allowed" .root | fromJson) .list | toJson }}.exists(known, known == {{ .of }} || (known.endsWith('*') && {{ .of }}.startsWith(known.substring(0, size(known) - 1))))
{{- end }}

{{/* CEL: a list that may be absent or null; give (dict "of" CEL "field" NAME "none" CEL). */}}
{{- define "syntrial.orNone" -}}
(has({{ .of }}.{{ .field }}) && {{ .of }}.{{ .field }} != null ? {{ .of }}.{{ .field }} : {{ .none }})
{{- end }}

{{/* Words for what a list allows. */}}
{{- define "syntrial.allowedWords" -}}
{{ get (include "syntrial.allowed" .root | fromJson) .list | join ", " | default "none" }}
{{- end }}
