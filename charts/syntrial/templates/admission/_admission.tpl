{{/* Name of a policy, which has no namespace; give (dict "root" $ "for" NAME). */}}
{{- define "syntrial.policyName" -}}
{{ .root.Release.Name }}-{{ .root.Release.Namespace }}-{{ .for }}
{{- end }}

{{/* CEL: whether a text is in a list of `admission.allowed`; give (dict "root" $ "list" NAME "of" CEL). */}}
{{- define "syntrial.isAllowed" -}}
{{ get .root.Values.admission.allowed .list | toJson }}.exists(known, known == {{ .of }} || (known.endsWith('*') && {{ .of }}.startsWith(known.substring(0, size(known) - 1))))
{{- end }}

{{/* CEL: a list that may be absent or null; give (dict "of" CEL "field" NAME "none" CEL). */}}
{{- define "syntrial.orNone" -}}
(has({{ .of }}.{{ .field }}) && {{ .of }}.{{ .field }} != null ? {{ .of }}.{{ .field }} : {{ .none }})
{{- end }}

{{/* Words for what a list allows. */}}
{{- define "syntrial.allowedWords" -}}
{{ get .root.Values.admission.allowed .list | join ", " | default "none" }}
{{- end }}
