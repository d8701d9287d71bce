package dsl

import (
	_ "embed"
	"fmt"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/fnhost/fnhost/plugins/orchestrator/internal/jq"
)

// Schema is the JSON Schema of the profile, for editors and other tools.
//
//go:embed profile.schema.json
var Schema []byte

var profile = sync.OnceValue(func() *jsonschema.Schema {
	value, err := jq.Decode(Schema)
	if err != nil {
		panic("dsl: " + err.Error())
	}
	c := jsonschema.NewCompiler()
	const url = "profile.schema.json"
	if err := c.AddResource(url, value); err != nil {
		panic("dsl: " + err.Error())
	}
	return c.MustCompile(url)
})

// violations are what the schema finds, without what is known already.
func violations(value any, known Problems) (p Problems) {
	err := profile().Validate(value)
	if err == nil {
		return nil
	}
	invalid, ok := err.(*jsonschema.ValidationError)
	if !ok {
		return Problems{{"", err.Error()}}
	}
	for _, found := range leaves(invalid) {
		if !known.cover(found.Pointer) {
			p = append(p, found)
		}
	}
	return p
}

// cover says whether there is a problem at the place already, or above it.
func (p Problems) cover(pointer string) bool {
	for _, known := range p {
		if pointer == known.Pointer || strings.HasPrefix(pointer, known.Pointer+"/") {
			return true
		}
	}
	return false
}

// leaves gives the innermost causes, each at its place.
func leaves(e *jsonschema.ValidationError) (p Problems) {
	for _, cause := range e.Causes {
		p = append(p, leaves(cause)...)
	}
	if len(e.Causes) > 0 {
		return p
	}
	at := pointer(e.InstanceLocation)
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			p.add(at+"/"+jq.Escape(name), "%q is not known here", name)
		}
	case *kind.Pattern:
		p.add(at, "%q does not have the form %s", k.Got, k.Want)
	case *kind.Not:
		p.add(at, "the name is taken by the specification; choose another")
	default:
		p.add(at, "%s", e.ErrorKind.LocalizedString(message.NewPrinter(language.English)))
	}
	return p
}

func pointer(tokens []string) string {
	var b strings.Builder
	for _, token := range tokens {
		fmt.Fprintf(&b, "/%s", jq.Escape(token))
	}
	return b.String()
}
