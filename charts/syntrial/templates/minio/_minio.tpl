{{/* A Secret of MinIO's as it is in the cluster, decoded; none where there is none or nothing can be looked up. */}}
{{- define "syntrial.minioSecret" -}}
{{- $secret := lookup "v1" "Secret" .root.Release.Namespace .name | default dict -}}
{{- $found := dict -}}
{{- range $key, $value := $secret.data | default dict }}{{ $_ := set $found $key ($value | b64dec) }}{{ end -}}
{{- dict "data" $found "annotations" (dig "metadata" "annotations" dict $secret) | toJson -}}
{{- end }}

{{/*
Credentials, computed once per rendering: the administrator's password and the key of each namespace's user are given,
else what the Secrets hold, else random. The revision is a word that changes with the administrator's credentials and
says nothing of them: MinIO reads them when it starts.
*/}}
{{- define "syntrial.minioCredentials" -}}
{{- if not (hasKey .Values.minio "computed") -}}
{{- $minio := .Values.minio -}}
{{- $name := printf "%s-minio" .Release.Name -}}
{{- $old := include "syntrial.minioSecret" (dict "root" . "name" $name) | fromJson -}}
{{- $password := $minio.rootPassword | default (get $old.data "MINIO_ROOT_PASSWORD") | default (randAlphaNum 40) -}}
{{- $revision := get $old.annotations "syntrial.dev/credentials-revision" | default "first" -}}
{{- if $old.data -}}
{{- if not (and (eq $password (get $old.data "MINIO_ROOT_PASSWORD")) (eq $minio.rootUser (get $old.data "MINIO_ROOT_USER"))) -}}
{{- $revision = randAlphaNum 8 -}}
{{- end -}}
{{- end -}}
{{- $tenants := include "syntrial.minioSecret" (dict "root" . "name" (printf "%s-tenants" $name)) | fromJson -}}
{{- $keys := dict -}}
{{- range (include "syntrial.namespaces" . | fromJson).list -}}
{{- $_ := set $keys . (get $minio.tenantKeys . | default (get $tenants.data .) | default (randAlphaNum 40)) -}}
{{- end -}}
{{- $_ := set $minio "computed" (dict "password" $password "revision" $revision "keys" $keys) -}}
{{- end -}}
{{- .Values.minio.computed | toJson -}}
{{- end }}

{{/* The bucket of a namespace's store; give (dict "root" $ "namespace" NAME). MinIO limits buckets, so a quota has its own. */}}
{{- define "syntrial.minioBucket" -}}
{{- $minio := .root.Values.minio -}}
{{- if hasKey $minio.quotas .namespace }}{{ $minio.bucket }}-{{ .namespace }}{{ else }}{{ $minio.bucket }}{{ end -}}
{{- end }}
