package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/render"
	"github.com/fnhost/fnhost/host/delivery"
)

// An entry is a stream entry as it is shown.
type entry struct {
	Stream string    `json:"stream"`
	Entry  string    `json:"entry"` // its id in the stream
	Time   time.Time `json:"time"`
	Type   string    `json:"type"`
	Status string    `json:"status"` // of a result; or a dead letter's reason
	// Data is JSON, or else a string; of bytes that are no text, DataBase64.
	Data       json.RawMessage   `json:"data"`
	DataBase64 []byte            `json:"data_base64,omitempty"`
	Attributes map[string]string `json:"attributes"` // all other fields; of equal names the first

	fields []string // names and values of the attributes, in their order
}

var entryColumns = []render.Column[entry]{
	{Key: "entry", Cell: func(e entry) string { return e.Entry }, Width: 20},
	{Key: "time", Cell: func(e entry) string { return e.Time.Local().Format("15:04:05.000") }, Width: 12},
	{Key: "type", Cell: func(e entry) string { return e.Type }, Width: 24},
	{Key: "status", Cell: func(e entry) string { return e.Status }, Width: 10},
	{Key: "data", Cell: entry.summary, Width: 100},
}

// show gives an entry as it is shown.
func show(stream string, raw delivery.Entry) entry {
	m := delivery.Read(&raw)
	e := entry{Stream: stream, Entry: raw.ID, Time: delivery.IDTime(raw.ID).UTC(), Type: m.Type, Attributes: map[string]string{}, fields: m.Attributes}
	for i := 0; i+1 < len(m.Attributes); i += 2 {
		if _, twice := e.Attributes[m.Attributes[i]]; !twice {
			e.Attributes[m.Attributes[i]] = m.Attributes[i+1]
		}
	}
	e.Status = e.Attributes["dlqreason"]
	if e.Status == "" {
		e.Status = e.Attributes["status"]
	}
	if m.HasData {
		e.Data, e.DataBase64 = jsonOf(m.Data)
	}
	return e
}

// jsonOf gives data as JSON: as it is, or as a string, or else as bytes.
func jsonOf(data string) (json.RawMessage, []byte) {
	if json.Valid([]byte(data)) {
		return json.RawMessage(data), nil
	}
	if !utf8.ValidString(data) {
		return nil, []byte(data)
	}
	b, err := json.Marshal(data)
	if err != nil { // strings always marshal
		panic(err)
	}
	return b, nil
}

// enough is more than any cell shows.
const enough = 400

// summary is what went wrong, or the data, or else the attributes that have no
// column of their own, in the room of a cell.
func (e entry) summary() string {
	for _, name := range []string{"dlqerror", "error"} {
		if text := e.Attributes[name]; text != "" {
			return text
		}
	}
	switch {
	case e.Data != nil:
		return string(e.Data[:min(len(e.Data), enough)])
	case e.DataBase64 != nil:
		return "(bytes)"
	}
	var text strings.Builder
	for i := 0; i+1 < len(e.fields) && text.Len() < enough; i += 2 {
		if name := e.fields[i]; name != "type" && name != "status" && name != "time" {
			fmt.Fprintf(&text, "%s=%s ", name, e.fields[i+1])
		}
	}
	return strings.TrimSpace(text.String())
}
