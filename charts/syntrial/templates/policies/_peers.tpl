{{/* Labels of the pods that share a step with others. */}}
{{- define "syntrial.ranks" -}}
app.kubernetes.io/name: syntrial
app.kubernetes.io/managed-by: syntrial-controller
syntrial.dev/ranks: several-pods
{{- end }}

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
- to:
    {{- with $values.networkPolicies.storePeers }}
    {{- toYaml . | nindent 4 }}
    {{- else }}
    {{- include "syntrial.publicPeers" .root | nindent 4 }}
    {{- end }}
  ports:
    {{- range $port := include "syntrial.storePorts" .root | fromJsonArray }}
    - {protocol: TCP, port: {{ $port }}}
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

{{/*
The addresses of the internet, as peers: none that is private, link-local or reserved, hence no metadata service of a
cloud (169.254.0.0/16; Alibaba's 100.100.100.200; Azure's 168.63.129.16; Oracle's 192.0.0.192; of IPv6, where only global
addresses are let through, all under fd00::/8 and fe80::/10), and none of the cluster's own.
*/}}
{{- define "syntrial.publicPeers" -}}
- ipBlock:
    cidr: 0.0.0.0/0
    except:
      - 0.0.0.0/8
      - 10.0.0.0/8
      - 100.64.0.0/10
      - 127.0.0.0/8
      - 168.63.129.16/32
      - 169.254.0.0/16
      - 172.16.0.0/12
      - 192.0.0.0/24
      - 192.168.0.0/16
      - 198.18.0.0/15
      - 224.0.0.0/4
      - 240.0.0.0/4
      {{- range .Values.networkPolicies.clusterCIDRs }}{{ if not (contains ":" .) }}
      - {{ . }}
      {{- end }}{{ end }}
- ipBlock:
    # Of these, the two ranges that lead on to an address of IPv4 are left out.
    cidr: 2000::/3
    except:
      - 2001::/32
      - 2002::/16
      {{- range .Values.networkPolicies.clusterCIDRs }}{{ if regexMatch "^[23][0-9A-Fa-f]{3}:" . }}
      - {{ . | quote }}
      {{- end }}{{ end }}
{{- end }}

{{/* Egress to MLflow. */}}
{{- define "syntrial.egressTracking" -}}
- to:
    {{- with .Values.networkPolicies.trackingPeers }}
    {{- toYaml . | nindent 4 }}
    {{- else }}
    {{- include "syntrial.publicPeers" . | nindent 4 }}
    {{- end }}
  ports:
    {{- range $port := include "syntrial.trackingPorts" . | fromJsonArray }}
    - {protocol: TCP, port: {{ $port }}}
    {{- end }}
{{- end }}

{{/* Egress to where users' data may lie. */}}
{{- define "syntrial.egressDownloads" -}}
- to:
    {{- if .Values.networkPolicies.publicDownloads }}
    {{- include "syntrial.publicPeers" . | nindent 4 }}
    {{- end }}
    {{- with .Values.networkPolicies.downloadPeers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    {{- range .Values.networkPolicies.downloadPorts }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}
