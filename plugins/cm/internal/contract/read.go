package contract

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// A Start is a valid campaign.start.
type Start struct {
	ID       string
	Name     string
	Workflow json.RawMessage // {"inline": ...} or {"yaml": "..."}
	Input    json.RawMessage // nil: none
	Labels   map[string]string
	// Hash identifies the content: all but the id, whatever its order and spacing.
	Hash string
}

// A Cancel is a valid campaign.cancel.
type Cancel struct{ ID, Reason string }

const maxNameBytes = 200

var campaignID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// ReadStart reads the data of a campaign.start and lists everything that is
// wrong with it. id is the campaign's id unless the data has one.
func ReadStart(data []byte, id string) (Start, []Problem) {
	r := read(data, "campaign_id", "name", "workflow", "input", "labels")
	s := Start{ID: r.campaignID(id), Input: r.fields["input"]}
	r.require("name", "what the campaign is, in a few words")
	if name, ok := r.text("name"); ok && (strings.TrimSpace(name) == "" || len(name) > maxNameBytes) {
		r.wrong("/name", "has %d bytes; want a text of 1 to %d", len(name), maxNameBytes)
	} else {
		s.Name = name
	}
	s.Workflow = r.workflow()
	s.Labels = r.labels()
	if len(r.problems) > 0 {
		return s, r.problems
	}
	s.Hash = r.hash()
	return s, nil
}

// ReadCancel reads the data of a campaign.cancel.
func ReadCancel(data []byte) (Cancel, []Problem) {
	r := read(data, "campaign_id", "reason")
	r.require("campaign_id", "the id of the campaign to cancel")
	c := Cancel{ID: r.campaignID("")}
	c.Reason, _ = r.text("reason")
	return c, r.problems
}

// ReadStatus reads the data of a campaign.status: the campaign's id.
func ReadStatus(data []byte) (string, []Problem) {
	r := read(data, "campaign_id")
	r.require("campaign_id", "the id of the campaign to tell of")
	return r.campaignID(""), r.problems
}

// reader reads a JSON object and remembers all that is wrong with it.
type reader struct {
	fields   map[string]json.RawMessage
	broken   bool // it is no object, and there is no more to say
	problems []Problem
}

func read(data []byte, known ...string) *reader {
	r := &reader{}
	if err := json.Unmarshal(data, &r.fields); err != nil || r.fields == nil {
		r.broken = true
		r.wrong("", "is not a JSON object%s", because(err))
		return r
	}
	for _, name := range slices.Sorted(maps.Keys(r.fields)) {
		if !slices.Contains(known, name) {
			r.wrong("/"+escape(name), "is not known; the fields are %s", strings.Join(known, ", "))
		}
		if string(r.fields[name]) == "null" {
			delete(r.fields, name) // as not given
		}
	}
	return r
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

// escape makes a name a token of a JSON pointer.
func escape(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

func (r *reader) wrong(pointer, format string, args ...any) {
	r.problems = append(r.problems, Problem{pointer, fmt.Sprintf(format, args...)})
}

func (r *reader) has(name string) bool { return r.fields[name] != nil }

func (r *reader) require(name, what string) {
	if !r.broken && !r.has(name) {
		r.wrong("/"+name, "is missing: %s", what)
	}
}

// text gives a field's text; ok is false if it is not there, or is something
// else, which is then a problem.
func (r *reader) text(name string) (value string, ok bool) {
	if !r.has(name) {
		return "", false
	}
	if json.Unmarshal(r.fields[name], &value) != nil {
		r.wrong("/"+name, "is a JSON %s, want text", kind(r.fields[name]))
		return "", false
	}
	return value, true
}

// campaignID gives the id in the data, or else the one given; "" if there is none.
func (r *reader) campaignID(id string) string {
	if r.has("campaign_id") {
		given, ok := r.text("campaign_id")
		if !ok {
			return ""
		}
		id = given
	} else if id == "" {
		return ""
	}
	if !campaignID.MatchString(id) {
		r.wrong("/campaign_id", "is %.120q; want 1 to 100 letters, digits, '.', '_' and '-', a letter or digit first", id)
	}
	return id
}

// workflow checks that there is one definition. What it says is for role
// orchestrator to judge.
func (r *reader) workflow() json.RawMessage {
	const want = `want {"inline": <definition>} or {"yaml": "<text of one>"}`
	if r.require("workflow", want); !r.has("workflow") {
		return nil
	}
	var w map[string]json.RawMessage
	if json.Unmarshal(r.fields["workflow"], &w) != nil {
		r.wrong("/workflow", "is a JSON %s; %s", kind(r.fields["workflow"]), want)
		return nil
	}
	if len(w) != 1 || w["inline"] == nil && w["yaml"] == nil {
		r.wrong("/workflow", "has the fields [%s]; %s", strings.Join(slices.Sorted(maps.Keys(w)), " "), want)
	}
	if got := kind(w["inline"]); w["inline"] != nil && got != "object" {
		r.wrong("/workflow/inline", "is a JSON %s, want the definition as an object", got)
	}
	if got := kind(w["yaml"]); w["yaml"] != nil && got != "string" {
		r.wrong("/workflow/yaml", "is a JSON %s, want the definition's text", got)
	}
	return r.fields["workflow"]
}

func (r *reader) labels() map[string]string {
	if !r.has("labels") {
		return nil
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(r.fields["labels"], &all) != nil {
		r.wrong("/labels", "is a JSON %s, want an object of texts", kind(r.fields["labels"]))
		return nil
	}
	labels := make(map[string]string, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		var value string
		if json.Unmarshal(all[name], &value) != nil {
			r.wrong("/labels/"+escape(name), "is a JSON %s, want text", kind(all[name]))
		}
		labels[name] = value
	}
	return labels
}

// hash is that of the content in one form: keys sorted, no spaces, numbers as
// they were written.
func (r *reader) hash() string {
	content := make(map[string]any, len(r.fields))
	for name, raw := range r.fields {
		if name == "campaign_id" {
			continue
		}
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		var v any
		_ = d.Decode(&v) // it has been decoded before
		content[name] = v
	}
	text, err := json.Marshal(content)
	if err != nil { // what was JSON is JSON again
		panic(err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// kind names what a JSON value is.
func kind(raw json.RawMessage) string {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	return "number"
}
