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
{{- range .Values.extraArgs }}
- {{ tpl . $ | quote }}
{{- end }}
{{- end }}
