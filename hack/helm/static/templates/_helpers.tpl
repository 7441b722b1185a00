{{- /* The manager's arguments: the flags, those of the profiles, and what the user adds. */ -}}
{{- define "beskar7.args" -}}
{{- range .Values.args }}
- {{ tpl . $ | quote }}
{{- end }}
{{- if .Values.profiles }}
- --config-map=beskar7-config
{{- range .Values.profiles }}
- --config-map=beskar7-config-{{ . }}
{{- end }}
{{- end }}
{{- with .Values.watchNamespace }}
- --namespace={{ . }}
{{- end }}
{{- range .Values.extraArgs }}
- {{ tpl . $ | quote }}
{{- end }}
{{- end }}

{{- define "beskar7.nodePort" -}}
{{- with .Values.media.service.nodePort }}nodePort: {{ . }}{{ end }}
{{- end }}

{{- /* A Pod in its node's network asks the cluster's DNS only when told to. */ -}}
{{- define "beskar7.hostNetwork" -}}
{{- if .Values.hostNetwork }}hostNetwork: true
dnsPolicy: ClusterFirstWithHostNet{{ end }}
{{- end }}
