package config

import (
	"fmt"
	"strings"
)

//go:generate go run ./gendocs ../../docs/config.md

// Markdown is docs/config.md, made from [Settings].
func Markdown() string {
	var b strings.Builder
	b.WriteString(docsHead)
	b.WriteString("| variable | flag | default | meaning |\n|---|---|---|---|\n")
	for _, s := range Settings {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", s.Name, s.flagCell(), s.defaultCell(), cell(s.Help))
	}
	b.WriteString(docsFile)
	b.WriteString("| key | meaning |\n|---|---|\n")
	for _, key := range fileKeys {
		fmt.Fprintf(&b, "| `roles.<role>.%s` | %s |\n", key.name, cell(key.help))
	}
	fmt.Fprintf(&b, "| `replies` | %s |\n", cell(repliesHelp))
	b.WriteString(docsExample)
	return b.String()
}

func (s *Setting) flagCell() string {
	if s.Flag == "" {
		return "none"
	}
	return "`--" + s.Flag + "`"
}

// defaultCell gives the default with its unit, unless it brings its own.
func (s *Setting) defaultCell() string {
	switch {
	case s.Default == "":
		return "none"
	case s.start() == "":
		return strings.Trim(s.Default, "()")
	case bareNumber.MatchString(s.Default) && s.Unit != "":
		return "`" + s.Default + "` (" + s.Unit + ")"
	}
	return "`" + s.Default + "`"
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

const docsHead = `<!-- Made by go generate in host/config. Do not edit. -->

# Settings

Settings come from the environment; flags say the same and win over it; ` + "`fnhost.yaml`" + ` has what is set per role, and wins over both for
its role. ` + "`fnhost config show --origin`" + ` says where each value came from.

- An empty variable is as none, but for ` + "`REDIS_STREAM_DLQ` and `REDIS_STREAM_DLQ_WRITE`" + `, where it means that the role has no dead letters.
- Durations are written as ` + "`1500ms`, `30s`, `5m` or `2h`" + `; a bare number is in the unit of its setting (in brackets below, or else seconds).
- Yes and no are written as 1 and 0; ` + "`true false yes no on off`" + ` are understood.
- A ` + "`REDIS_*`, `OPS_*`, `FNHOST_*` or `ENABLE_*`" + ` variable within two letters of a setting is an error; an unknown one further off is warned of.
- Variables that Kubernetes makes for its services (` + "`REDIS_PORT=tcp://...`, `REDIS_SERVICE_HOST`" + `, ...) are ignored.

## Environment and flags

`

const docsFile = `
## fnhost.yaml

` + "`./fnhost.yaml`" + `, or the file that ` + "`FNHOST_CONFIG`" + ` names. What it says of a role wins over the plugin's own description, which wins over
the environment. An unknown key is an error that names its line.

`

const docsExample = `
` + "```yaml" + `
replies: ["web:answers"]
roles:
  rag:
    concurrency: 8
    timeout: 2m
    emits: [persist]
    plugin:
      settings:
        endpoint: http://embedder:8080
        api_key: ${env:EMBEDDER_KEY}
` + "```" + `

## Not available yet

The host checks these and refuses to start when they ask for it: ` + "`processes` above 1,\n`swap`, `plugin.limits`" + `, and the URLs of Redis Cluster and Sentinel.
`
