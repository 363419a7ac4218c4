{{/*
The administrator's password: given, else what the Secret holds since the first installation, else a new one. Computed
once per rendering, since a namespace's key is derived from it.
*/}}
{{- define "syntrial.minioPassword" -}}
{{- if not (hasKey .Values.minio "computedPassword") -}}
{{- $password := .Values.minio.rootPassword -}}
{{- if not $password -}}
{{- $secret := lookup "v1" "Secret" .Release.Namespace (printf "%s-minio" .Release.Name) | default dict -}}
{{- $password = get ($secret.data | default dict) "MINIO_ROOT_PASSWORD" | b64dec | default (randAlphaNum 40) -}}
{{- end -}}
{{- $_ := set .Values.minio "computedPassword" $password -}}
{{- end -}}
{{- .Values.minio.computedPassword -}}
{{- end }}

{{/* The secret key of a namespace's user; give (dict "root" $ "namespace" NAME). */}}
{{- define "syntrial.tenantKey" -}}
{{- printf "%s/%s" (include "syntrial.minioPassword" .root) .namespace | sha256sum | trunc 40 -}}
{{- end }}
